"""The pages of operators and grid desks, on the same application as the API; they work offline."""

from vpp.service.page.mount import mount_page

__all__ = ["mount_page"]
