"""What a proxy must know of its place: servers beside it, listeners, and whom it trusts."""

from __future__ import annotations

import tomllib
from ipaddress import IPv4Network
from pathlib import Path
from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from integrations.dhcp.isc import IscSettings
from integrations.dhcp.kea import KeaSettings
from integrations.dns import DnsSettings

__all__ = [
    "BmcSettings",
    "DhcpSettings",
    "DiscoverySettings",
    "Enabled",
    "FeatureSettings",
    "ListenerSettings",
    "ProxySettings",
    "TftpSettings",
]

Enabled = Literal["false", "true", "http", "https"]
"""On which listener a feature is served; "true" is both."""


class _Settings(BaseModel):
    # Values stay out of messages: any of them may be a secret in the wrong field.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DhcpSettings(_Settings):
    """Which DHCP server stands beside this proxy."""

    kind: Literal["isc", "kea", "none"] = "none"
    isc: IscSettings | None = None
    kea: KeaSettings | None = None
    hold_seconds: PositiveFloat = 1800
    """How long a free address that was given out stays with its MAC address."""

    @model_validator(mode="after")
    def _kind_is_described(self) -> Self:
        if self.kind != "none" and getattr(self, self.kind) is None:
            raise ValueError(f"dhcp.kind {self.kind!r} needs dhcp.{self.kind}: how it is reached")
        return self


class TftpSettings(_Settings):
    """The boot server's files."""

    root: Path
    server_name: str = ""
    """Its address for ``next_server``; empty: clients use the proxy's own name."""


class DiscoverySettings(_Settings):
    """Machines that run the discovery image."""

    networks: tuple[IPv4Network, ...] = ()
    """Only machines in these are ever called: any address can be named in a request."""
    scheme: Literal["http", "https"] = "https"
    port: int = Field(default=8443, ge=1, le=65535)
    timeout: PositiveFloat = 20


class BmcSettings(_Settings):
    """How controllers are spoken to; their credentials come with each request."""

    default_provider: Literal["redfish", "ipmitool", "ssh"] = "redfish"
    redfish_scheme: Literal["http", "https"] = "https"
    redfish_verify: bool | Path = True
    """As in ``RedfishSettings.verify``."""
    ssh_user: str = "root"
    ssh_key: Path | None = None
    ssh_host_keys: dict[str, str] = Field(default_factory=dict)
    """Public key by host, as in ``known_hosts``; a host without one is refused."""


class FeatureSettings(_Settings):
    """Where each feature is served. What changes servers is for TLS only, unless told otherwise."""

    bmc: Enabled = "https"
    dhcp: Enabled = "https"
    discovery: Enabled = "true"
    dns: Enabled = "https"
    httpboot: Enabled = "true"
    logs: Enabled = "https"
    templates: Enabled = "true"
    tftp: Enabled = "https"


class ListenerSettings(_Settings):
    """Where the service listens."""

    http_host: str = "127.0.0.1"
    http_port: int | None = Field(default=8000, ge=0, le=65535)
    """None: no plain listener; 0: any free port."""
    https_host: str = "127.0.0.1"
    https_port: int | None = Field(default=None, ge=0, le=65535)
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    """Signs the certificates of clients; another's fails in the handshake."""

    @model_validator(mode="after")
    def _https_needs_files(self) -> Self:
        if self.https_port is not None and None in (self.certificate, self.key, self.ca):
            raise ValueError("an https_port needs certificate, key and ca")
        if self.http_port is None and self.https_port is None:
            raise ValueError("give http_port, https_port or both: nothing would listen")
        return self


class ProxySettings(BaseSettings):
    """All settings, from arguments, from the environment (``RACKRISE_PROXY_...``), or a TOML file.

    Nested values are spelt with two underscores: ``RACKRISE_PROXY_TFTP__ROOT``.
    """

    model_config = SettingsConfigDict(
        env_prefix="RACKRISE_PROXY_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    foreman_url: str
    """Rackrise's gateway, or a real Foreman: where hosts' requests are passed on to."""
    foreman_ca: Path | None = None
    """CA of the gateway's certificate; None: the system's."""
    foreman_certificate: Path | None = None
    foreman_key: Path | None = None
    template_url: str = ""
    """This proxy's own address as installing hosts see it, e.g. ``http://192.0.2.1:8000``."""
    trusted_hosts: tuple[str, ...] | None = None
    """Names that may change things: a certificate's CN, or over plain HTTP the verified reverse
    name. Empty denies everyone; None accepts any certificate of the CA."""
    forward_verify: bool = True
    """Whether a reverse name must lead back to the address."""
    dhcp: DhcpSettings = DhcpSettings()
    dns: tuple[DnsSettings, ...] = ()
    """One entry for each primary name server, with the zones that it serves."""
    tftp: TftpSettings | None = None
    bmc: BmcSettings = BmcSettings()
    discovery: DiscoverySettings = DiscoverySettings()
    features: FeatureSettings = FeatureSettings()
    listen: ListenerSettings = ListenerSettings()

    @field_validator("foreman_url", "template_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("give an http or https URL, e.g. http://gateway.example.org:8080")
        return value.rstrip("/")

    @field_validator("trusted_hosts")
    @classmethod
    def _in_lower_case(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else tuple(name.lower() for name in value)

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read a TOML file; what it leaves open is taken from the environment.

        Raises:
            ValueError: not TOML, or not valid; names the file, the setting and the reason.
        """
        try:
            return cls(**tomllib.loads(path.read_text()))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: {error}") from error
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
            )
            raise ValueError(f"{path}: {faults}") from error
