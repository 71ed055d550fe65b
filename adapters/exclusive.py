"""One process at a time runs the clocks of a record: an advisory lock beside it, which ends with the process.

The lock is the operating system's (`flock`), so a killed process leaves none behind; where the system has
no such call, nothing is held.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

from vpp.domain.errors import Fault, InputFaults

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


def hold(record: Path) -> IO[bytes]:
    """The held lock of `record`; closing it lets go. Raises InputFaults where another process holds it."""
    record.parent.mkdir(parents=True, exist_ok=True)
    lock = record.with_name(record.name + ".lock").open("wb")
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise InputFaults([Fault(str(record), "", "another process runs this record")]) from error
    return lock
