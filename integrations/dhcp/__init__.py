"""DHCP servers: one port, one module for each server that stands behind it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

from integrations.records import DhcpSubnet, Lease, Outcome, Reservation

__all__ = ["DhcpServer"]


class DhcpServer(Protocol):
    """What Rackrise needs of a DHCP server. Every implementation passes the same contract tests.

    All methods raise from ``integrations.errors``: Unavailable (no answer), Refused (wrong
    credentials, address outside its subnet, unknown subnet), Conflict (MAC or address reserved for
    somebody else). MAC addresses are compared without regard to case.
    """

    async def subnets(self) -> list[DhcpSubnet]:
        """All subnets that the server serves."""
        ...

    async def reservations(self, network: IPv4Network) -> list[Reservation]:
        """All reservations of a subnet, static ones included."""
        ...

    async def leases(self, network: IPv4Network) -> list[Lease]:
        """All leases of a subnet that the server still knows, expired ones marked inactive."""
        ...

    async def by_mac(self, network: IPv4Network, mac: str) -> Reservation | None:
        """The reservation of one interface, freshly read."""
        ...

    async def by_ip(self, network: IPv4Network, ip: IPv4Address) -> list[Reservation]:
        """The reservations of one address, freshly read."""
        ...

    async def reserve(self, reservation: Reservation) -> Outcome:
        """Make the reservation exist exactly so: CREATED or ALREADY.

        Never replaces another: one with the same MAC and address but other boot data is a Conflict
        too, to be released by whoever made it.
        """
        ...

    async def release(self, reservation: Reservation) -> Outcome:
        """Remove the reservation if it is still this one: REMOVED or ABSENT, else Conflict."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...
