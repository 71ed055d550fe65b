"""API keys: 256 random bits, shown once, stored as SHA-256 and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select, update

from adapters.store import schema
from adapters.store.database import Database
from vpp.domain.errors import NotFound

_K = schema.keys.c
_NOBODY = "0" * 64


@dataclass(frozen=True)
class Key:
    """A key as it may be shown: without its secret."""

    id: str
    role: str
    site: str | None
    issuer: str | None
    label: str
    created_at: datetime
    revoked_at: datetime | None


class Access:
    """Who may ask."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def create_key(
        self,
        role: str,
        site: str | None = None,
        label: str = "",
        now: datetime | None = None,
        issuer: str | None = None,
    ) -> tuple[str, str]:
        """(key id, token "id.secret"); the token cannot be read again."""
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        row = {
            "id": key_id, "role": role, "site": site, "issuer": issuer, "label": label,
            "digest": _digest(secret), "created_at": now or datetime.now(UTC),
        }  # fmt: skip
        with self._db.write() as connection:
            connection.execute(schema.keys.insert(), row)
        return key_id, f"{key_id}.{secret}"

    def verify(self, token: str) -> tuple[str, str | None, str | None] | None:
        """(role, site, issuer) of a valid token, else None."""
        key_id, _, secret = token.partition(".")
        wanted = select(_K.role, _K.site, _K.issuer, _K.digest, _K.revoked_at).where(_K.id == key_id)
        with self._db.read() as connection:
            row = connection.execute(wanted).first()
        same = hmac.compare_digest(_digest(secret), _NOBODY if row is None else row.digest)
        if row is None or not same or row.revoked_at is not None:
            return None
        return row.role, row.site, row.issuer

    def revoke(self, key_id: str, now: datetime | None = None) -> None:
        """Refuse the key from now on. Raises NotFound."""
        change = update(schema.keys).where(_K.id == key_id).values(revoked_at=now or datetime.now(UTC))
        with self._db.write() as connection:
            if connection.execute(change).rowcount == 0:
                raise NotFound(f"key {key_id}")

    def list(self) -> list[Key]:
        """Every key in order of creation."""
        columns = [_K[name] for name in Key.__dataclass_fields__]
        with self._db.read() as connection:
            return [Key(*row) for row in connection.execute(select(*columns).order_by(_K.created_at, _K.id))]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
