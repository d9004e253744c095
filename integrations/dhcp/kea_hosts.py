"""Reservations by Kea's own commands, one by one, where its ``host_cmds`` hook is loaded."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from integrations.dhcp.kea_channel import Json, KeaChannel, ask
from integrations.dhcp.kea_config import (
    holder,
    is_ours,
    read_config,
    require_subnet,
    to_item,
    to_reservation,
)
from integrations.dhcp.rules import SYSTEM, find_clash
from integrations.errors import Conflict, Refused, Unverified
from integrations.records import Outcome, Reservation

__all__ = ["HostCommands"]


class HostCommands:
    """Adds and removes single reservations; Kea itself keeps MAC and address unique.

    Args:
        channel: the way to Kea.
    """

    COMMANDS = frozenset(
        ("reservation-add", "reservation-del", "reservation-get", "reservation-get-all")
    )

    def __init__(self, channel: KeaChannel) -> None:
        self._channel = channel

    async def items(self, network: IPv4Network, operation: str) -> list[Json]:
        """All reservations of the subnet, in Kea's words."""
        arguments = {"subnet-id": await self._id(network, operation)}
        found = await ask(self._channel, "reservation-get-all", arguments, operation=operation)
        return [] if found is None else list(found.get("hosts", []))

    async def reserve(self, reservation: Reservation, operation: str) -> Outcome:
        """Add the reservation unless it is there."""
        subnet = await self._id(reservation.network, operation)
        if await self._there(subnet, reservation, operation):
            return Outcome.ALREADY
        arguments = {"reservation": {"subnet-id": subnet, **to_item(reservation)}}
        try:
            await ask(self._channel, "reservation-add", arguments, operation=operation)
        except Refused:
            # Another writer may have been quicker: its record decides what this refusal means.
            if await self._there(subnet, reservation, operation):
                return Outcome.ALREADY
            raise
        if not await self._there(subnet, reservation, operation):
            raise self._unverified(operation, "Kea said yes, but the reservation is not there")
        return Outcome.CREATED

    async def release(self, reservation: Reservation, operation: str) -> Outcome:
        """Remove the reservation if it is still this one."""
        subnet = await self._id(reservation.network, operation)
        item = await self._by_mac(subnet, reservation, operation)
        if item is None:
            return Outcome.ABSENT
        if not is_ours(item) or to_reservation(item, reservation.network) != reservation:
            raise Conflict(
                system=SYSTEM,
                address=self._channel.address,
                operation=operation,
                said="the reservation of this MAC is not the one that was made",
                owner=holder(item),
            )
        arguments = {
            "subnet-id": subnet,
            "identifier-type": "hw-address",
            "identifier": reservation.mac,
        }
        if await ask(self._channel, "reservation-del", arguments, operation=operation) is None:
            return Outcome.ABSENT
        if await self._by_mac(subnet, reservation, operation) is not None:
            raise self._unverified(operation, "Kea said yes, but the reservation is still there")
        return Outcome.REMOVED

    async def _id(self, network: IPv4Network, operation: str) -> int:
        config = await read_config(self._channel, operation)
        address = self._channel.address
        return int(require_subnet(config, network, address=address, operation=operation)["id"])

    async def _there(self, subnet: int, wanted: Reservation, operation: str) -> bool:
        items = [
            item
            for item in (
                await self._by_mac(subnet, wanted, operation),
                await self._by_ip(subnet, wanted.ip, operation),
            )
            if item is not None
        ]
        address = self._channel.address
        existing = [to_reservation(item, wanted.network) for item in items]
        for item, known in zip(items, existing, strict=True):
            if known is None:
                raise Conflict(
                    system=SYSTEM,
                    address=address,
                    operation=operation,
                    said=f"{wanted.ip} is reserved",
                    owner=holder(item),
                )
        known_ones = [known for known in existing if known is not None]
        return find_clash(wanted, known_ones, address=address, operation=operation)

    async def _by_mac(self, subnet: int, wanted: Reservation, operation: str) -> Json | None:
        return await self._get(
            {"subnet-id": subnet, "identifier-type": "hw-address", "identifier": wanted.mac},
            operation,
        )

    async def _by_ip(self, subnet: int, ip: IPv4Address, operation: str) -> Json | None:
        return await self._get({"subnet-id": subnet, "ip-address": str(ip)}, operation)

    async def _get(self, arguments: Json, operation: str) -> Json | None:
        # Older versions say "not found" with result 0 and no arguments, newer ones with result 3.
        return await ask(self._channel, "reservation-get", arguments, operation=operation) or None

    def _unverified(self, operation: str, said: str) -> Unverified:
        return Unverified(
            system=SYSTEM, address=self._channel.address, operation=operation, said=said
        )
