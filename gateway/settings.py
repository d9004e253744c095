"""How one gateway runs: from the environment, ``RACKRISE_GATEWAY_…``."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from gateway.oidc_settings import OidcSettings

__all__ = ["GatewaySettings"]

Networks = tuple[IPv4Network | IPv6Network, ...]


class GatewaySettings(OidcSettings):
    """Where the gateway listens, whom it believes, and how much it takes.

    Lists are JSON in the environment: ``RACKRISE_GATEWAY_TRUSTED_PROXIES='["192.0.2.1/32"]'``.
    """

    model_config = SettingsConfigDict(
        env_prefix="RACKRISE_GATEWAY_", frozen=True, populate_by_name=True
    )

    database_url: SecretStr
    """The inventory: ``postgresql://…``."""
    pool_size: int = Field(default=10, ge=1)
    """Database connections kept; as many again in a storm."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    uds: Path | None = None
    """Socket to listen on instead of host and port. Whoever can reach it is a trusted proxy."""
    trusted_proxies: Networks = ()
    """Whose ``X-Forwarded-For`` is believed."""
    tls_host: str = "127.0.0.1"
    tls_port: int | None = Field(default=None, ge=0, le=65535)
    """Where Puppet servers reach it over TLS; None: nowhere, and nobody may speak for hosts."""
    tls_certificate: Path | None = None
    """Ours, signed by the CA that Puppet servers believe: Puppet's own."""
    tls_key: Path | None = None
    """Its private key."""
    tls_ca: Path | None = None
    """Puppet's CA, which has signed whoever may speak for hosts."""
    tls_crl: Path | None = None
    """Puppet's list of revoked certificates, PEM; read anew when it changes. None: nobody looks."""
    rhsm_host: str = "127.0.0.1"
    rhsm_port: int | None = Field(default=None, ge=0, le=65535)
    """Where hosts reach the RHSM front over TLS; None: nowhere, and nobody registers."""
    rhsm_certificate: Path | None = None
    """The front's own, of a CA that hosts believe (``front_ca`` in the site file)."""
    rhsm_key: Path | None = None
    """Its private key."""
    rhsm_ca: Path | None = None
    """Candlepin's CA, which has signed the identities of hosts."""
    candlepin_url: str | None = None
    """The Candlepin behind the front, as the site file has it."""
    candlepin_ca: Path | None = None
    """CA of its certificate; None: the system's."""
    candlepin_oauth_key: str | None = None
    """OAuth: only so may the front speak in the name of a host."""
    candlepin_oauth_secret: SecretStr | None = None
    candlepin_user: str = "admin"
    """Candlepin's user in whose name hosts are registered."""
    candlepin_seconds: float = Field(default=30, gt=0)
    """Longest time that Candlepin may take for an answer."""
    registrations_at_once: int = Field(default=16, ge=1)
    """Hosts that register at a time; others wait for their turn."""
    profiles_at_once: int = Field(default=8, ge=1)
    """Profiles of packages that are read at a time."""
    front_wait_seconds: float = Field(default=60, gt=0)
    """How long a host waits for its turn; with what follows, less than its client's 180."""
    profile_bytes: int = Field(default=8 << 20, gt=0)
    """Largest profile of packages; one of 10,000 packages has 1.2 MB."""
    passed_bytes: int = Field(default=4 << 20, gt=0)
    """Largest body that is passed on to Candlepin."""
    answer_bytes: int = Field(default=64 << 20, gt=0)
    """Largest answer of Candlepin that is passed on to a host."""
    facts_bytes: int = Field(default=4 << 20, gt=0)
    """Largest body of facts; real ones with 3700 facts have some 300 KB."""
    report_bytes: int = Field(default=4 << 20, gt=0)
    """Largest report of Puppet; usual ones have 16 KB, with --debug 77 KB."""
    log_bytes: int = Field(default=16 << 20, gt=0)
    """Largest log that ``failed`` may send; its first 65535 bytes are kept."""
    message_bytes: int = Field(default=64 << 10, gt=0)
    """Largest body of ``built``, ``progress`` and ``report``."""
    kickstart_limit: int = Field(default=5, ge=1)
    """A host that fetches its kickstart more often installs in a loop, and is held."""
    network_boot_limit: int = Field(default=3, ge=1)
    """A host that boots the discovery image so often instead of what it should boot, is held."""
    streams: int = Field(default=500, ge=0)
    """Open pages and followers of events at a time; others are asked to come again."""
    transaction_seconds: float = Field(default=10, gt=0)
    """Longest time that a request may take in the database."""

    console_host: str = "127.0.0.1"
    console_port: int | None = Field(default=None, ge=0, le=65535)
    """Where people reach console and API; None: nowhere. Hosts are not heard there."""
    console_certificate: Path | None = None
    """The console's own; None: plain HTTP, for loopback or behind a proxy that does TLS."""
    console_key: Path | None = None
    """Its private key."""
    console_url: str = ""
    """How browsers reach it where a proxy stands before it: ``https://rackrise.example.org``; an
    OpenID provider sends people back there."""
    prefect_url: str = ""
    """Where browsers reach Prefect's own console; empty: no links to flow runs."""

    secret_key: SecretStr | None = Field(default=None, validation_alias="RACKRISE_SECRET_KEY")
    """What webhooks' secrets are sealed with, the same for all programs; None: none is added. With
    one and the same, any gateway takes people back from an OpenID provider."""

    @model_validator(mode="after")
    def _tls_is_complete(self) -> Self:
        # With a part of them only, nobody would listen, and nobody would say so.
        needed = ("tls_port", "tls_certificate", "tls_key", "tls_ca")
        missing = [one for one in needed if getattr(self, one) is None]
        if missing and len(missing) < len(needed):
            raise ValueError(f"TLS needs {', '.join(needed)}: {', '.join(missing)} not given")
        return self

    @model_validator(mode="after")
    def _rhsm_is_complete(self) -> Self:
        needed = (
            "rhsm_port",
            "rhsm_certificate",
            "rhsm_key",
            "rhsm_ca",
            "candlepin_url",
            "candlepin_oauth_key",
            "candlepin_oauth_secret",
        )
        missing = [one for one in needed if getattr(self, one) is None]
        if missing and len(missing) < len(needed):
            listed = ", ".join(needed)
            raise ValueError(f"the RHSM front needs {listed}: {', '.join(missing)} not given")
        return self

    @model_validator(mode="after")
    def _console_can_be_come_back_to(self) -> Self:
        if self.oidc_issuer and not self.console_url:
            raise ValueError(
                "OpenID needs console_url: the provider sends people back there, and has it "
                "registered"
            )
        return self
