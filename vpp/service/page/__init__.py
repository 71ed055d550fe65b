"""The operator's page, on the same application as the API; works offline."""

from vpp.service.page.mount import mount_page

__all__ = ["mount_page"]
