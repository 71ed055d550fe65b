"""What a command needs of the machine, tried before the work: places to write, a port to listen on, a Redis server.

A try leaves nothing behind: files and folders made for it are taken away again.
"""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

from vpp.domain.errors import Fault, InputFaults
from vpp.service.settings import Settings


def why_no_folder(folder: Path) -> str | None:
    """Why `folder` is not there and cannot be made; None where it is or can."""
    made: list[Path] = []
    try:
        for path in [p for p in (folder, *folder.parents) if not p.exists()][::-1]:
            path.mkdir()
            made.append(path)
        return None if folder.is_dir() else f"{folder} is no folder"
    except OSError as error:
        return f"{folder} cannot be made: {error.strerror}"
    finally:
        for path in reversed(made):
            path.rmdir()


def why_not_writable(file: Path) -> str | None:
    """Why nothing can be written to `file`; None where it can. Its folder must be there."""
    if file.is_dir():
        return "is a folder"
    try:
        if file.exists():
            file.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=file.parent).close()
    except OSError as error:
        return f"cannot be written: {error.strerror}"
    return None


def why_no_database(file: Path) -> str | None:
    """Why `file` cannot be a database, whose folder may still have to be made; None where it can."""
    return why_not_writable(file) if file.parent.is_dir() else why_no_folder(file.parent)


def require_places(settings: Settings, *names: str) -> None:
    """Raises InputFaults for every folder of `settings` among `names` that cannot be had."""
    reasons = [(name, why_no_folder(getattr(settings, name))) for name in names]
    if faults := [Fault("environment", name, reason) for name, reason in reasons if reason is not None]:
        raise InputFaults(faults)


def require_port(host: str, port: int) -> None:
    """Raises InputFaults where nothing can listen on `host` and `port`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise InputFaults([Fault("port", "", f"cannot listen on {host}:{port}: {error.strerror}")]) from error


def require_redis(settings: Settings) -> None:
    """Raises InputFaults where a Redis server is named and does not answer."""
    if settings.redis_url is not None:
        from adapters.redis_bus import ping

        ping(settings.redis_url)
