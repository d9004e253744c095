"""What the lab's DHCP servers shall serve, in words that fit ISC dhcpd and Kea alike."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network

from pydantic import BaseModel, ConfigDict

from integrations.records import Mac

__all__ = ["BootClass", "Client", "DhcpLab"]


class Client(StrEnum):
    """Who asks, as seen in its request."""

    IPXE = "ipxe"
    """User class iPXE, on BIOS and UEFI alike. QEMU's network ROM for BIOS *is* iPXE: without a
    limit to some MACs this class takes every such machine away from PXELinux."""
    UEFI_HTTP = "uefi-http"
    """UEFI HTTP boot: vendor class HTTPClient."""
    UEFI = "uefi"
    """UEFI PXE on x86-64: architecture 7 or 9."""
    BIOS = "bios"
    """Every other request."""


class BootClass(BaseModel):
    """What one kind of client boots; the first class that fits decides.

    A reservation with a boot file of its own comes before every class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    client: Client
    filename: str
    """A path for TFTP or, for iPXE and UEFI HTTP boot, a URL."""
    macs: tuple[Mac, ...] = ()
    """Only these machines; empty: all."""


class DhcpLab(BaseModel):
    """One subnet on the lab's bridge, and the key and password of the server's control side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: IPv4Network = IPv4Network("192.0.2.0/24")
    range_from: IPv4Address = IPv4Address("192.0.2.100")
    range_to: IPv4Address = IPv4Address("192.0.2.199")
    router: IPv4Address = IPv4Address("192.0.2.1")
    """Also the name server."""
    next_server: IPv4Address = IPv4Address("192.0.2.1")
    boot: tuple[BootClass, ...] = (BootClass(client=Client.BIOS, filename="pxelinux.0"),)
    lease_seconds: int = 600
    key_name: str = "lab"
    """ISC: the OMAPI key; Kea's agent: the user."""
    secret: str = "bGFiLXNlY3JldC1sYWItc2VjcmV0LWxhYg=="
    """ISC: in base64; Kea's agent: the password."""
