"""What can go wrong, named for what is wrong.

VppError
├── InputFaults        one or more faults of an input, all listed at once (exit 2, HTTP 422)
├── LookAhead          something asked for data that was not known at `issued_at`
├── DataGap            a series has no value where one is needed
├── UnknownElement     a network element or switch nobody models
├── NotConverged       a power flow did not converge
├── NotSolved          a solver was late, infeasible or returned nonsense
├── StaleEpoch         a writer that has been replaced tried to command
├── StaleRevision      a message older than, or unlike, the one of its id that is known
├── SoldTwice          a claim on headroom that other products hold already
└── NotFound           an id that does not exist
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class VppError(Exception):
    """Root of every error this service raises on purpose."""


@dataclass(frozen=True)
class Fault:
    """One fault of one input field: `where` names the asset or file, `field` the field."""

    where: str
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}/{self.field}: {self.reason}" if self.field else f"{self.where}: {self.reason}"


class InputFaults(VppError):
    """All faults of an input at once, at least one. Raises ValueError for none, which would refuse without a word."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        if not faults:
            raise ValueError("input without a fault cannot be refused")
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class LookAhead(VppError):
    """Data were asked for that were not known yet."""


class DataGap(VppError):
    """A series has no value where one is needed."""


class UnknownElement(VppError):
    """A network element, switch or tap setting that nobody models."""


class NotConverged(VppError):
    """A power flow did not converge."""


class NotSolved(VppError):
    """A solver was late, found the problem infeasible, or returned nonsense."""


class StaleEpoch(VppError):
    """A command carried an epoch older than the newest one."""


class StaleRevision(VppError):
    """A revision is older than the one known of its id, or says otherwise under the same number."""


class SoldTwice(VppError):
    """A claim on headroom exceeds what other products have left of it."""


class NotFound(VppError):
    """An id that does not exist."""
