"""Reservations through a Smart Proxy, each write read back: its 200 is a claim, no proof."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Network
from weakref import WeakValueDictionary

from pydantic import TypeAdapter, ValidationError

from integrations.errors import Conflict, Exhausted
from integrations.records import DhcpSubnet, Lease, Outcome, Reservation, normal_mac
from integrations.smart_proxy.answers import (
    FreeAddress,
    NetworkRecords,
    ReservationAnswer,
    SubnetAnswer,
)
from integrations.smart_proxy.wire import Answer, Wire

__all__ = ["DhcpCalls", "same_reservation"]

_SUBNETS = TypeAdapter(list[SubnetAnswer])
_NETWORK = TypeAdapter(NetworkRecords)
_FREE = TypeAdapter(FreeAddress)
_ONE = TypeAdapter(ReservationAnswer)
_MANY = TypeAdapter(list[ReservationAnswer])


def same_reservation(wanted: Reservation, found: Reservation) -> bool:
    """Whether a reservation is the one that we want, by the fields that we own.

    Providers add options of their own (``hardware_type``), and one without a host name may be read
    back under its record's name; neither makes it somebody else's.
    """
    return (
        found.mac == wanted.mac
        and found.ip == wanted.ip
        and found.name == wanted.name
        and found.next_server == wanted.next_server
        and found.filename == wanted.filename
        and found.hostname in ({wanted.hostname} if wanted.hostname else {"", wanted.name})
    )


class DhcpCalls:
    """The ``/dhcp`` mount (IPv4 only). MAC addresses always leave in lower case.

    Upper-case ones would pass by the proxy's check for conflicts. ``hardware_type`` is never sent:
    where the server does not add it by itself it would become a part of the record and so make ours
    differ from those of others; the repeat that ISC's provider then calls a conflict is settled by
    reading back.
    """

    _wire: Wire
    _claims: WeakValueDictionary[IPv4Address, asyncio.Lock]

    async def subnets(self) -> list[DhcpSubnet]:
        """All subnets that the proxy's DHCP server serves."""
        answer = await self._wire.ask("GET", "/dhcp", operation="list DHCP subnets")
        return [subnet.record() for subnet in answer.parsed(_SUBNETS)]

    async def network(self, net: IPv4Network) -> tuple[list[Reservation], list[Lease]]:
        """All reservations and leases of a subnet."""
        operation = f"list reservations and leases of {net}"
        answer = await self._wire.ask("GET", f"/dhcp/{net.network_address}", operation=operation)
        found = answer.parsed(_NETWORK)
        try:
            reservations = [one.record() for one in found.reservations]
            return reservations, [lease.record() for lease in found.leases]
        except ValidationError as error:
            raise answer.unexpected() from error

    async def unused_ip(
        self, net: IPv4Network, mac: str, first: IPv4Address, last: IPv4Address
    ) -> IPv4Address:
        """Ask for a free address for an interface.

        Keep the answer before using it, and do not ask again: an upstream proxy gives another
        address each time, and holds each back for 30 minutes.

        Raises:
            Exhausted: the range has none left.
        """
        operation = f"find a free address from {first} to {last} for {mac}"
        answer = await self._wire.ask(
            "GET",
            f"/dhcp/{net.network_address}/unused_ip",
            operation=operation,
            query={"mac": normal_mac(mac), "from": str(first), "to": str(last)},
        )
        address = answer.parsed(_FREE).ip
        if address is None:
            raise Exhausted(
                system="Smart Proxy",
                address=self._wire.address,
                operation=operation,
                said="no address is free: release some or widen the range",
            )
        if not first <= address <= last:
            raise self._wire.unverified(operation, f"{address} is outside of what was asked for")
        return address

    async def give_back_ip(self, net: IPv4Network, mac: str) -> None:
        """Say that an interface does not need the free addresses that it was given.

        Raises:
            Unsupported: an upstream proxy holds them back until their time is up.
        """
        await self._wire.ask(
            "DELETE",
            f"/dhcp/{net.network_address}/unused_ip",
            operation=f"give back the free address of {mac} in {net}",
            query={"mac": normal_mac(mac)},
        )

    async def reservation_by_mac(self, net: IPv4Network, mac: str) -> Reservation | None:
        """The reservation of one interface; None: there is none."""
        answer = await self._wire.find(
            f"/dhcp/{net.network_address}/mac/{normal_mac(mac)}",
            operation=f"read the reservation of {mac} in {net}",
            missing="No DHCP record",
        )
        return None if answer is None else _records(answer, answer.parsed(_ONE))[0]

    async def reservations_by_ip(self, net: IPv4Network, ip: IPv4Address) -> list[Reservation]:
        """The reservations of one address; members of a bond share theirs."""
        answer = await self._wire.find(
            f"/dhcp/{net.network_address}/ip/{ip}",
            operation=f"read the reservations of {ip} in {net}",
            missing="No DHCP record",
        )
        return [] if answer is None else _records(answer, *answer.parsed(_MANY))

    async def reserve(self, reservation: Reservation) -> Outcome:
        """Make the reservation exist exactly so and read it back.

        Returns:
            CREATED, or ALREADY when an equal one was there.

        Raises:
            Conflict: the MAC or the address is reserved otherwise; names by whom.
            Refused: the address is not in its network (an upstream proxy would accept it).
            Unverified: the proxy said yes, and the reservation did not show within 10 s.
        """
        net, ip = reservation.network, reservation.ip
        operation = f"reserve {ip} for {reservation.mac} ({reservation.name})"
        if ip not in net:
            raise self._wire.refused(operation, f"{ip} is not in {net}")
        form = {
            "name": reservation.name,
            "hostname": reservation.hostname,
            "ip": str(ip),
            "mac": reservation.mac,
            "network": str(net.network_address),
            "nextServer": reservation.next_server,
            "filename": reservation.filename,
        }
        # The proxy checks, then acts, without a lock: two writers for one address may both pass.
        async with self._claims.setdefault(ip, asyncio.Lock()):
            if await self._holds(reservation):
                return Outcome.ALREADY
            try:
                await self._wire.ask(
                    "POST",
                    f"/dhcp/{net.network_address}",
                    operation=operation,
                    form={key: value for key, value in form.items() if value},
                )
            except Conflict as conflict:
                return await self._settle(reservation, conflict)
            if not await self._wire.read_back(lambda: self._holds(reservation)):
                raise self._wire.unverified(
                    operation, "200, but the reservation cannot be read back"
                )
        return Outcome.CREATED

    async def release(self, reservation: Reservation) -> Outcome:
        """Remove the reservation if it is still this one, and read back that it is gone.

        Returns:
            REMOVED, or ABSENT when there was none.

        Raises:
            Conflict: the MAC is reserved otherwise by now.
            Unverified: the proxy said yes, and it is still there after 10 s.
        """
        net, mac = reservation.network, reservation.mac
        operation = f"release {reservation.ip} of {mac} ({reservation.name})"
        found = await self.reservation_by_mac(net, mac)
        if found is None:
            return Outcome.ABSENT
        if not same_reservation(reservation, found):
            raise self._conflict(operation, "the reservation is another one by now", found)
        # 404 is what other providers say of a record that is gone meanwhile.
        await self._wire.find(
            f"/dhcp/{net.network_address}/mac/{mac}",
            operation=operation,
            missing="No DHCP record",
            method="DELETE",
        )

        async def gone() -> bool:
            return await self.reservation_by_mac(net, mac) is None

        if not await self._wire.read_back(gone):
            raise self._wire.unverified(operation, "200, but the reservation is still there")
        return Outcome.REMOVED

    async def _holds(self, wanted: Reservation) -> bool:
        found = await self.reservation_by_mac(wanted.network, wanted.mac)
        return found is not None and same_reservation(wanted, found)

    async def _settle(self, wanted: Reservation, conflict: Conflict) -> Outcome:
        """ISC's provider calls an identical repeat a conflict too: read back whose it is."""
        by_mac = await self.reservation_by_mac(wanted.network, wanted.mac)
        if by_mac is not None and same_reservation(wanted, by_mac):
            return Outcome.ALREADY
        by_ip = await self.reservations_by_ip(wanted.network, wanted.ip)
        others = [*([by_mac] if by_mac else []), *(one for one in by_ip if one != by_mac)]
        raise self._conflict(conflict.operation, conflict.said, *others) from conflict

    def _conflict(self, operation: str, said: str, *owners: Reservation) -> Conflict:
        named = ", ".join(f"{one.name} ({one.mac}, {one.ip})" for one in owners)
        return Conflict(
            system="Smart Proxy",
            address=self._wire.address,
            operation=operation,
            said=f"{said}; held by {named}" if named else said,
            owner=named or "unknown: the proxy lists no reservation that is in the way",
        )


def _records(answer: Answer, *found: ReservationAnswer) -> list[Reservation]:
    try:
        return [one.record() for one in found]
    except ValidationError as error:
        raise answer.unexpected() from error
