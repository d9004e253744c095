"""The records that outside systems hold for a host, as values that may cross from room to room."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, field_validator

__all__ = [
    "BootConfig",
    "BootFile",
    "DhcpSubnet",
    "DnsRecord",
    "Fqdn",
    "Lease",
    "Loader",
    "Mac",
    "Outcome",
    "Reservation",
    "normal_fqdn",
    "normal_mac",
    "reverse_name",
]

_HEX_PAIR = re.compile(r"[0-9a-f]{2}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def normal_mac(text: str) -> str:
    """Return a 6-octet MAC address as lower-case, colon-separated pairs.

    Accepts colons, dashes, dots (Cisco's ``5254.00aa.bb01``) or no separator, in either case, and a
    PXE hardware-type prefix (``01-``). Refuses multicast and all-zero addresses, which no network
    interface may use as its own (IEEE 802).

    Raises:
        ValueError: the text is no usable MAC address.

    >>> normal_mac("52-54-00-AA-BB-01")
    '52:54:00:aa:bb:01'
    """
    raw = text.strip().lower()
    if re.fullmatch(r"01([:-][0-9a-f]{2}){6}", raw):
        raw = raw[3:]
    digits = re.sub(r"[:.\-]", "", raw)
    shapes = (
        r"[0-9a-f]{12}",
        r"[0-9a-f]{2}(:[0-9a-f]{2}){5}",
        r"[0-9a-f]{2}(-[0-9a-f]{2}){5}",
        r"[0-9a-f]{4}(\.[0-9a-f]{4}){2}",
    )
    if not any(re.fullmatch(shape, raw) for shape in shapes):
        raise ValueError(f"{text!r} is not a MAC address such as 52:54:00:aa:bb:01")
    pairs = _HEX_PAIR.findall(digits)
    if digits == "000000000000" or int(pairs[0], 16) & 1:
        raise ValueError(f"{text!r} is not the address of one network interface")
    return ":".join(pairs)


def normal_fqdn(text: str) -> str:
    """Return a host's full name in lower case without the trailing dot (RFC 1123).

    Raises:
        ValueError: the text is no fully qualified host name.

    >>> normal_fqdn("Web01.Example.ORG.")
    'web01.example.org'
    """
    name = text.strip().lower().removesuffix(".")
    labels = name.split(".")
    if len(labels) < 2 or len(name) > 253 or not all(_LABEL.fullmatch(part) for part in labels):
        raise ValueError(f"{text!r} is not a full host name such as web01.example.org")
    return name


def reverse_name(address: IPv4Address | IPv6Address) -> str:
    """Return the name of an address' PTR record, e.g. ``50.2.0.192.in-addr.arpa``."""
    return address.reverse_pointer


Mac = Annotated[str, AfterValidator(normal_mac)]
Fqdn = Annotated[str, AfterValidator(normal_fqdn)]


class Loader(StrEnum):
    """The network boot loader whose configuration a host reads; spelt as in the Smart Proxy API."""

    PXELINUX = "PXELinux"
    GRUB2 = "PXEGrub2"
    IPXE = "iPXE"


class Outcome(StrEnum):
    """What a write turned out to have been."""

    CREATED = "created"
    ALREADY = "already"
    REMOVED = "removed"
    ABSENT = "absent"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DhcpSubnet(_Record):
    """A subnet as the DHCP server knows it, with its dynamic range."""

    network: IPv4Network
    routers: tuple[IPv4Address, ...] = ()
    name_servers: tuple[IPv4Address, ...] = ()
    range_from: IPv4Address | None = None
    range_to: IPv4Address | None = None


class Reservation(_Record):
    """An address kept for one network interface, and what that interface boots."""

    mac: Mac
    ip: IPv4Address
    name: str
    """The record's own name, unique in the server: the full host name."""
    hostname: str = ""
    """Sent to the client as option 12; empty: nothing is sent."""
    next_server: str = ""
    """Boot server's address (``siaddr``); empty: the subnet's own."""
    filename: str = ""
    """Boot file; empty: the subnet's own."""
    network: IPv4Network


class Lease(_Record):
    """An address given to an interface for a time."""

    mac: Mac
    ip: IPv4Address
    hostname: str = ""
    starts: datetime | None = None
    ends: datetime | None = None
    active: bool = True


class DnsRecord(_Record):
    """One resource record. Names are lower case without a trailing dot.

    >>> DnsRecord(name="Web01.Example.org.", type="AAAA", value="2001:DB8::0:1").value
    '2001:db8::1'
    """

    name: str
    type: Literal["A", "AAAA", "PTR"]
    value: str
    """Address in its canonical text form, or the host name that a PTR points to."""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        return name.strip().lower().removesuffix(".")

    @field_validator("value")
    @classmethod
    def _canonical_value(cls, value: str, info: ValidationInfo) -> str:
        match info.data.get("type"):
            case "A":
                return str(IPv4Address(value))
            case "AAAA":
                return str(IPv6Address(value))
        return value.strip().lower().removesuffix(".")


class BootConfig(_Record):
    """What one interface's boot loader is told."""

    loader: Loader
    mac: Mac
    text: str


class BootFile(_Record):
    """A kernel or initrd that must lie, whole, below the boot server's root."""

    path: str
    """Relative to the boot root, e.g. ``boot/labos-1-vmlinuz``."""
    url: str
    sha256: str
    size: int | None = None
    """Bytes; None where the source does not say."""
