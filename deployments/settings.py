"""How a worker runs: from the environment, ``RACKRISE_…``."""

from __future__ import annotations

import socket
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["InventorySettings", "ProxyClientSettings", "WorkerSettings"]


class InventorySettings(BaseSettings):
    """Where the inventory is."""

    model_config = SettingsConfigDict(env_prefix="RACKRISE_", frozen=True)

    database_url: SecretStr
    """``postgresql://…``."""


class ProxyClientSettings(BaseSettings):
    """How Smart Proxies are reached."""

    model_config = SettingsConfigDict(env_prefix="RACKRISE_", frozen=True)

    proxy_file: Path | None = None
    """Settings of a proxy that runs in this process (``local:`` in the site file)."""
    proxy_ca: Path | None = None
    """Certificate authority of the Smart Proxies that are reached over https."""
    proxy_certificate: Path | None = None
    """Client certificate that the Smart Proxies trust."""
    proxy_key: Path | None = None
    """Its key."""


class WorkerSettings(InventorySettings, ProxyClientSettings):
    """What a worker needs; Prefect's own settings (``PREFECT_API_URL``) stand beside these."""

    token_key: SecretStr = Field(min_length=32)
    """Makes the builds' one-time tokens; the same for all workers of an installation."""
    worker_name: str = Field(default_factory=socket.gethostname)
    """How Prefect's UI and messages call this worker."""
    ready_file: Path | None = None
    """Written when the worker takes runs."""
    console_url: str = Field(default="", pattern=r"^(https?://[^\s?#]*[^\s?#/])?$")
    """Of Rackrise's console, without a slash at its end: runs in Prefect link to their hosts' pages
    there. Empty: no link."""
    runs_at_once: int = Field(default=100, ge=1)
    """Flow runs at a time; others wait in the work pool."""
    calls_at_once: int = Field(default=16, ge=1)
    """Calls under way to one outside system at one place."""
