"""How a worker runs: from the environment, ``RACKRISE_…``."""

from __future__ import annotations

import socket
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from integrations.webhook import DENIED

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
    secret_key: SecretStr | None = Field(default=None, min_length=32)
    """Seals the secrets of webhooks in the database; the same for all programs of an installation.
    None: this worker tells no webhook anything."""
    webhook_denied: tuple[IPv4Network | IPv6Network, ...] = DENIED
    """Networks that webhooks may not be in, as JSON; by default what is link-local or metadata."""
    webhook_loopback: bool = False
    """Whether webhooks may be on this machine itself."""
