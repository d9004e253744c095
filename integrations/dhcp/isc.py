"""ISC dhcpd: reservations through OMAPI, everything that is read from its two files.

OMAPI makes a reservation in milliseconds and without a reload, but lists nothing, knows no host by
its address, and accepts a second reservation of an address without a word. So the files decide, and
this makes one change at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, SecretStr

from integrations.dhcp.isc_files import Host, to_lease
from integrations.dhcp.isc_state import IscState, StateReader
from integrations.dhcp.omapi import Algorithm, OmapiClient
from integrations.dhcp.rules import SYSTEM, find_clash, own_subnet, require_well_formed
from integrations.errors import Conflict, Refused, Unverified
from integrations.records import DhcpSubnet, Lease, Outcome, Reservation, normal_mac

__all__ = ["IscDhcp", "IscSettings"]

T = TypeVar("T")


class IscSettings(BaseModel):
    """Where dhcpd is, the key it is spoken to with, and the files it keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = 7911
    """The ``omapi-port``."""
    key_name: str
    """The ``omapi-key``."""
    secret: SecretStr
    """In base64, as in dhcpd.conf."""
    algorithm: Algorithm = "hmac-md5"
    conf_file: Path
    """E.g. ``/etc/dhcp/dhcpd.conf``."""
    leases_file: Path
    """E.g. ``/var/lib/dhcp/dhcpd.leases``."""
    timeout: float = 10
    """Seconds for each of the few answers that one operation needs."""


class IscDhcp:
    """Implements ``DhcpServer`` for ISC dhcpd 4.4, for a program on the same host.

    A MAC address has one reservation in the whole server, and a name too: dhcpd's own rule. An
    instance belongs to one event loop, and all writes of a process should go through one instance:
    its lock keeps two of them from giving an address twice.

    Args:
        settings: where dhcpd is.
        now: the time, for telling expired leases.
    """

    def __init__(
        self,
        settings: IscSettings,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._omapi = OmapiClient(
            settings.host,
            settings.port,
            settings.key_name,
            settings.secret.get_secret_value(),
            settings.algorithm,
            settings.timeout,
        )
        self._reader = StateReader(settings.conf_file, settings.leases_file)
        self._now = now
        self._one_change = asyncio.Lock()

    async def subnets(self) -> list[DhcpSubnet]:
        """All subnets of the configuration file."""
        return await self._read(self._reader.read_subnets, "list the subnets")

    async def reservations(self, network: IPv4Network) -> list[Reservation]:
        """All reservations of a subnet, those written in the configuration file included."""
        state = await self._state(network, f"list the reservations of {network}")
        return [item for host in state.hosts for item in host.reservations(network)]

    async def leases(self, network: IPv4Network) -> list[Lease]:
        """All leases of a subnet from dhcpd's lease file, expired ones marked inactive.

        dhcpd writes no lease for an address that is reserved: a host that took its reserved address
        does not appear here.
        """
        state = await self._state(network, f"list the leases of {network}")
        now = self._now()
        found = [to_lease(block, now) for ip, block in state.leases.items() if ip in network]
        return [lease for lease in found if lease is not None]

    async def by_mac(self, network: IPv4Network, mac: str) -> Reservation | None:
        """The reservation of one interface, freshly read."""
        wanted = normal_mac(mac)
        state = await self._state(network, f"look up {wanted}")
        found = [host for host in state.hosts if host.mac == wanted]
        return next((item for host in found for item in host.reservations(network)), None)

    async def by_ip(self, network: IPv4Network, ip: IPv4Address) -> list[Reservation]:
        """The reservations of one address, freshly read."""
        state = await self._state(network, f"look up {ip}")
        found = [host for host in state.hosts if ip in host.addresses]
        return [item for host in found for item in host.reservations(network) if item.ip == ip]

    async def reserve(self, reservation: Reservation) -> Outcome:
        """Make the reservation exist exactly so: CREATED or ALREADY.

        Raises:
            Conflict: the MAC, the address or the name is reserved otherwise.
            Refused: unknown subnet, an address outside it, a wrong key, or dhcpd's own refusal.
            Unverified: dhcpd said yes, and its lease file does not have it.
        """
        operation = f"reserve {reservation.ip} for {reservation.mac}"
        require_well_formed(reservation, address=self._omapi.address, operation=operation)
        async with self._one_change:
            if await self._there(reservation, operation):
                return Outcome.ALREADY
            try:
                await asyncio.to_thread(self._omapi.add, reservation, operation)
            except Refused:
                # Another program may have been quicker: its record decides what this means.
                if await self._there(reservation, operation):
                    return Outcome.ALREADY
                raise
            try:
                there = await self._there(reservation, operation)
            except Conflict:
                # Another program took the address in the same moment, and dhcpd let both have it.
                await asyncio.to_thread(self._omapi.remove, reservation.name, operation)
                raise
            if not there:
                raise self._unverified(operation, "it is not in the lease file")
        return Outcome.CREATED

    async def release(self, reservation: Reservation) -> Outcome:
        """Remove the reservation if it is still this one: REMOVED or ABSENT.

        Raises:
            Conflict: the MAC has another reservation now, or one of the configuration file, which
                dhcpd would only forget until its next start.
            Unverified: dhcpd said yes, and its lease file still has it.
        """
        operation = f"release {reservation.ip} of {reservation.mac}"
        async with self._one_change:
            host = await self._by_mac(reservation, operation)
            if host is None:
                return Outcome.ABSENT
            if not host.dynamic or host.reservations(reservation.network) != [reservation]:
                raise Conflict(
                    system=SYSTEM,
                    address=self._omapi.address,
                    operation=operation,
                    said="the reservation of this MAC is not the one that was made"
                    if host.dynamic
                    else f"it is written in {self._settings.conf_file}",
                    owner=_owner(host),
                )
            removed = await asyncio.to_thread(self._omapi.remove, host.name, operation)
            if await self._by_mac(reservation, operation) is not None:
                raise self._unverified(operation, "it is still in the lease file")
        return Outcome.REMOVED if removed else Outcome.ABSENT

    async def close(self) -> None:
        """Nothing is kept open between operations."""

    async def _there(self, wanted: Reservation, operation: str) -> bool:
        state = await self._state(wanted.network, operation)
        near = [
            host
            for host in state.hosts
            if host.mac == wanted.mac or host.name == wanted.name or wanted.ip in host.addresses
        ]
        address = self._omapi.address
        existing = [item for host in near for item in host.reservations(wanted.network)]
        there = find_clash(wanted, existing, address=address, operation=operation)
        if near and not there:
            # The name is another MAC's, or the MAC is reserved in another subnet.
            raise Conflict(
                system=SYSTEM,
                address=address,
                operation=operation,
                said=f"the name or the MAC is in use: {near[0].name}",
                owner=_owner(near[0]),
            )
        return there

    async def _by_mac(self, wanted: Reservation, operation: str) -> Host | None:
        state = await self._state(wanted.network, operation)
        return next((host for host in state.hosts if host.mac == wanted.mac), None)

    async def _state(self, network: IPv4Network, operation: str) -> IscState:
        state = await self._read(self._reader.read, operation)
        own_subnet(state.subnets, network, address=self._omapi.address, operation=operation)
        return state

    async def _read(self, read: Callable[[], T], operation: str) -> T:
        try:
            return await asyncio.to_thread(read)
        except (OSError, ValueError) as error:
            said = f"dhcpd's files cannot be read: {error}"
            raise Refused(
                system=SYSTEM, address=self._omapi.address, operation=operation, said=said
            ) from error

    def _unverified(self, operation: str, seen: str) -> Unverified:
        said = f"dhcpd said yes, but {seen}"
        return Unverified(
            system=SYSTEM, address=self._omapi.address, operation=operation, said=said
        )


def _owner(host: Host) -> str:
    return f"{host.name} ({host.mac}, {', '.join(map(str, host.addresses))})"
