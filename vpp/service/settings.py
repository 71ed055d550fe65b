"""Settings of one running service, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from vpp.domain.errors import InputFaults
from vpp.service.yaml_files import Edge, explained

PREFIX = "VPP_"


class Settings(Edge):
    """Where state lives and what the service listens on; `VPP_<NAME>` in the environment sets each.

    `database_url` None means a SQLite file in `state_dir`; `cache_dir` holds compiled networks and
    `models_dir` trained forecasting models, both of which can be deleted at any time.
    """

    state_dir: Path = Path("var")
    cache_dir: Path = Path(".cache/vpp")
    models_dir: Path = Path(".cache/vpp/models")
    database_url: str | None = None
    redis_url: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)

    @field_validator("database_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None and "://" not in value:
            raise ValueError("must be a URL such as sqlite:///var/vpp.db or postgresql+psycopg://host/name")
        return value

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the record."""
        return self.database_url or f"sqlite:///{(self.state_dir / 'vpp.db').resolve()}"


def from_env(environ: Mapping[str, str]) -> Settings:
    """Settings from `VPP_*` variables. Raises InputFaults for values that do not fit."""
    names = {PREFIX + name.upper(): name for name in Settings.model_fields}
    given = {name: environ[variable] for variable, name in names.items() if variable in environ}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise InputFaults(explained(Settings, error, "environment")) from error
