"""Free addresses: each given to one interface at a time, and to that one again when it asks again.

Upstream answers the same question with another address each time. Here the place where the search
begins follows from the MAC address, so that even after a restart the answer is the same unless
somebody took it; the memory of what was given out is a courtesy and may be lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from integrations.dhcp import DhcpServer
from integrations.records import DhcpSubnet

__all__ = ["FreeAddresses"]


@dataclass(frozen=True)
class _Hold:
    holder: str
    until: float


class FreeAddresses:
    """Finds free addresses of a DHCP server's subnets.

    Args:
        dhcp: knows reservations and leases.
        hold_seconds: how long an address stays with whom it was given to.
        clock: seconds, growing.
    """

    def __init__(
        self, dhcp: DhcpServer, *, hold_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._dhcp = dhcp
        self._hold_seconds = hold_seconds
        self._clock = clock
        self._held: dict[IPv4Address, _Hold] = {}
        self._locks: defaultdict[IPv4Network, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._nameless = itertools.count()

    async def find(
        self, subnet: DhcpSubnet, mac: str | None, first: IPv4Address, last: IPv4Address
    ) -> IPv4Address | None:
        """An address from ``first`` to ``last`` that nobody has; None: there is none.

        An interface that has a reservation or an active lease in the range gets that address. One
        that names no MAC gets another address each time.
        """
        # Two at once must not be shown the same address as free.
        async with self._locks[subnet.network]:
            return await self._find(subnet, mac, first, last)

    async def give_back(self, subnet: DhcpSubnet, mac: str) -> None:
        """Forget what an interface was given in a subnet: it does not need it."""
        async with self._locks[subnet.network]:
            self._held = {
                ip: hold
                for ip, hold in self._held.items()
                if hold.holder != mac or ip not in subnet.network
            }

    async def _find(
        self, subnet: DhcpSubnet, mac: str | None, first: IPv4Address, last: IPv4Address
    ) -> IPv4Address | None:
        reservations = await self._dhcp.reservations(subnet.network)
        leases = [one for one in await self._dhcp.leases(subnet.network) if one.active]
        used = [(one.mac, one.ip) for one in reservations] + [(one.mac, one.ip) for one in leases]
        for holder_mac, ip in used:
            if holder_mac == mac and first <= ip <= last:
                return ip
        now = self._clock()
        self._held = {ip: hold for ip, hold in self._held.items() if hold.until > now}
        taken = {ip for _, ip in used}
        taken.update(subnet.routers, subnet.name_servers)
        taken.update((subnet.network.network_address, subnet.network.broadcast_address))
        holder = mac if mac is not None else f"nameless {next(self._nameless)}"
        for ip, hold in self._held.items():
            if hold.holder == holder and first <= ip <= last and ip not in taken:
                return ip
        for ip in _from_own_place(holder, first, last):
            if ip not in taken and ip not in self._held:
                self._held[ip] = _Hold(holder, now + self._hold_seconds)
                return ip
        return None


def _from_own_place(holder: str, first: IPv4Address, last: IPv4Address) -> Iterator[IPv4Address]:
    count = int(last) - int(first) + 1
    start = int.from_bytes(hashlib.sha256(holder.encode()).digest()[:8]) % count
    for step in range(count):
        yield first + (start + step) % count
