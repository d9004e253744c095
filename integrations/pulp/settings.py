"""Where a Pulp is, who we are there, and how patient we are."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

__all__ = ["PulpSettings"]


class PulpSettings(BaseModel):
    """How to reach one Pulp 3."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """e.g. ``https://pulp.example.org``."""
    api_root: str = "/pulp/api/v3/"
    """Where the API begins; with domains on: ``/pulp/DOMAIN/api/v3/``."""
    user: str = ""
    """Reading needs the role rpm.viewer; synchronising and pinning need to write. Empty: nobody."""
    password: SecretStr = SecretStr("")
    ca: Path | None = None
    """CA that signed Pulp's certificate; None: the system's."""
    timeout: float = 60
    """Seconds for one answer: a login alone costs the server over one second."""
    task_timeout: float = 600
    """Seconds for a task other than a sync."""
    sync_timeout: float = 4 * 3600
    """Seconds for a sync."""
    patience: float = 60
    """Seconds without progress of a task after which we look whether its worker is still there."""

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError(f"{value!r} is not an http or https URL")
        return value.rstrip("/")

    @field_validator("api_root")
    @classmethod
    def _between_slashes(cls, value: str) -> str:
        # Without the last slash Pulp answers every call with a redirection.
        return f"/{value.strip('/')}/"
