"""What a Smart Proxy's answers say, as values; the shapes are those of the contract's samples."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from integrations.records import DhcpSubnet, Lease, Reservation

__all__ = [
    "BmcAnswer",
    "BootFileState",
    "Feature",
    "FreeAddress",
    "LogLine",
    "NetworkRecords",
    "ProxyLogs",
    "ProxyVersion",
    "ReservationAnswer",
    "SubnetAnswer",
]


class _Answer(BaseModel):
    """Newer proxies may say more than we know of."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Feature(_Answer):
    """One feature of a proxy: DHCP, DNS, TFTP ..."""

    name: str = ""
    state: str = "running"
    """``uninitialized``, ``loaded``, ``starting``, ``running``, ``failed`` or ``disabled``."""
    http_enabled: bool = False
    https_enabled: bool = False
    capabilities: tuple[str, ...] = ()
    settings: Mapping[str, JsonValue] = Field(default_factory=dict)
    reason: str = ""
    """Why one that has failed does not work; only our own proxy says so."""

    @property
    def running(self) -> bool:
        """Whether it can be used; being listed is no proof that its provider works."""
        return self.state == "running"


class ProxyVersion(_Answer):
    """The proxy's own version and that of each module."""

    version: str
    modules: Mapping[str, str] = Field(default_factory=dict)


class LogLine(_Answer):
    """One line of the proxy's own log."""

    timestamp: datetime
    level: str
    message: str
    request_id: str = ""


class _LogInfo(_Answer):
    failed_modules: Mapping[str, JsonValue] = Field(default_factory=dict)


class ProxyLogs(_Answer):
    """The end of the proxy's log: what it complained about and did not answer."""

    info: _LogInfo = Field(default_factory=_LogInfo)
    logs: tuple[LogLine, ...] = ()


class BootFileState(_Answer):
    """A file below the boot root, as HTTP boot gave it to us."""

    path: str
    size: int
    sha256: str


class FreeAddress(_Answer):
    """The answer of ``unused_ip``; None when the range is exhausted."""

    ip: IPv4Address | None


class BmcAnswer(_Answer):
    """The answer of the bmc feature, which puts errors into a 200."""

    action: str = ""
    result: JsonValue = None
    error: str = ""


class _SubnetOptions(_Answer):
    routers: tuple[IPv4Address, ...] = ()
    domain_name_servers: tuple[IPv4Address, ...] = ()
    range: tuple[IPv4Address, ...] = ()


class SubnetAnswer(_Answer):
    """One subnet of ``GET /dhcp``."""

    network: IPv4Address
    netmask: IPv4Address
    options: _SubnetOptions = Field(default_factory=_SubnetOptions)

    def record(self) -> DhcpSubnet:
        """The subnet as our own value."""
        first, last = (
            (self.options.range[0], self.options.range[-1])
            if self.options.range
            else (
                None,
                None,
            )
        )
        return DhcpSubnet(
            network=IPv4Network(f"{self.network}/{self.netmask}"),
            routers=self.options.routers,
            name_servers=self.options.domain_name_servers,
            range_from=first,
            range_to=last,
        )


class ReservationAnswer(_Answer):
    """A reservation as the proxy reads it back; providers add options of their own."""

    name: str = ""
    ip: IPv4Address
    mac: str
    subnet: IPv4Network
    type: Literal["reservation"] = "reservation"
    deleteable: bool = True
    hostname: str = ""
    filename: str = ""
    next_server: str = Field(default="", alias="nextServer")

    def record(self) -> Reservation:
        """The reservation as our own value."""
        return Reservation(
            mac=self.mac,
            ip=self.ip,
            name=self.name,
            hostname=self.hostname,
            next_server=self.next_server,
            filename=self.filename,
            network=self.subnet,
        )


class _LeaseAnswer(_Answer):
    ip: IPv4Address
    mac: str
    hostname: str = ""
    starts: datetime | None = None
    ends: datetime | None = None
    state: str = "active"

    @field_validator("starts", "ends", mode="before")
    @classmethod
    def _ruby_time(cls, value: object) -> object:
        """Ruby writes ``2026-01-02 03:04:05 UTC``; a lease may also end ``never``."""
        if not isinstance(value, str):
            return value
        if value in ("", "never"):
            return None
        if value.endswith(" UTC"):
            return datetime.fromisoformat(value.removesuffix(" UTC")).replace(tzinfo=UTC)
        return value

    def record(self) -> Lease:
        """The lease as our own value."""
        return Lease(
            mac=self.mac,
            ip=self.ip,
            hostname=self.hostname,
            starts=self.starts,
            ends=self.ends,
            active=self.state == "active",
        )


class NetworkRecords(_Answer):
    """Everything that ``GET /dhcp/<network>`` lists."""

    reservations: tuple[ReservationAnswer, ...] = ()
    leases: tuple[_LeaseAnswer, ...] = ()
