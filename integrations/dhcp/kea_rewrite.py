"""Reservations without hooks, as in Debian's Kea: read the configuration, change it, set it.

Kea guards nothing here, so this does: one writer at a time on the host; every change is tested
before it is set (a rejected ``config-set`` leaves Kea without sockets), written to Kea's file (else
lost at its next start) and read back. Changes that wait for the lock are made in one set.
"""

from __future__ import annotations

import asyncio
from copy import deepcopy
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Literal, NoReturn

from integrations.dhcp.filelock import file_lock
from integrations.dhcp.kea_channel import Json, KeaChannel, ask
from integrations.dhcp.kea_config import (
    find_subnet,
    holder,
    is_ours,
    read_config,
    require_subnet,
    select,
    to_item,
    to_reservation,
)
from integrations.dhcp.rules import SYSTEM, find_clash
from integrations.errors import Busy, Conflict, OutsideError, Refused, Unverified
from integrations.records import Outcome, Reservation

__all__ = ["ConfigRewriter"]


@dataclass(eq=False)
class _Change:
    """One caller's wish, and where its outcome is awaited."""

    verb: Literal["reserve", "release"]
    reservation: Reservation
    operation: str
    outcome: asyncio.Future[Outcome] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)

    def succeed(self, outcome: Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class ConfigRewriter:
    """Makes changes of many callers in one configuration, each with an outcome of its own.

    Args:
        channel: the way to Kea.
        lock_file: the same for every program on this host that writes to this Kea.
        lock_timeout: seconds to wait for another writer.
    """

    def __init__(self, channel: KeaChannel, lock_file: Path, lock_timeout: float) -> None:
        self._channel = channel
        self._lock_file = lock_file
        self._lock_timeout = lock_timeout
        self._waiting: list[_Change] = []
        self._writer: asyncio.Task[None] | None = None

    async def items(self, network: IPv4Network, operation: str) -> list[Json]:
        """All reservations of the subnet, in Kea's words."""
        config = await read_config(self._channel, operation)
        return list(self._subnet(config, network, operation).get("reservations", []))

    async def reserve(self, reservation: Reservation, operation: str) -> Outcome:
        """Add the reservation unless it is there."""
        return await self._submit(_Change("reserve", reservation, operation))

    async def release(self, reservation: Reservation, operation: str) -> Outcome:
        """Remove the reservation if it is still this one."""
        return await self._submit(_Change("release", reservation, operation))

    async def close(self) -> None:
        """Let a change that is under way come to its end."""
        if self._writer is not None:
            await self._writer

    async def _submit(self, change: _Change) -> Outcome:
        self._waiting.append(change)
        # A task of its own: a caller that is cancelled must not stop a change of others halfway.
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return await change.outcome

    def _take(self) -> list[_Change]:
        taken, self._waiting = self._waiting, []
        return [change for change in taken if not change.outcome.cancelled()]

    async def _write(self) -> None:
        while self._waiting:
            try:
                async with file_lock(self._lock_file, self._lock_timeout):
                    batch = self._take()
                    try:
                        await self._commit(batch)
                    except Exception as error:  # handed to those who wait for it
                        for change in batch:
                            change.fail(error)
            except TimeoutError as error:
                self._fail_waiting(Busy, f"another writer is at work: {error}")
            except OSError as error:
                self._fail_waiting(Refused, f"the lock file cannot be used: {error}")

    def _fail_waiting(self, kind: type[OutsideError], said: str) -> None:
        for change in self._take():
            change.fail(self._error(kind, change.operation, said))

    def _error(self, kind: type[OutsideError], operation: str, said: str) -> OutsideError:
        return kind(system=SYSTEM, address=self._channel.address, operation=operation, said=said)

    async def _commit(self, batch: list[_Change]) -> None:
        operation = f"change {len(batch)} reservations" if len(batch) > 1 else batch[0].operation
        before = await read_config(self._channel, operation)
        after = deepcopy(before)
        made = self._edit(after, batch)
        if after != before and not await self._accepts(after):
            after, made = await self._acceptable(before, [change for change, _ in made])
        if not made:
            return
        try:
            if after != before:
                await self._ask("config-set", {"Dhcp4": after}, operation)
            # Also where nothing changed: a writer may have died between its set and its write.
            await self._ask("config-write", {}, operation)
        except OutsideError as error:
            await self._restore(before, error)
        await self._require_sockets(operation)
        self._verify(await read_config(self._channel, operation), made)

    def _edit(self, config: Json, batch: list[_Change]) -> list[tuple[_Change, Outcome]]:
        made = []
        for change in batch:
            try:
                made.append((change, self._apply(config, change)))
            except OutsideError as error:
                change.fail(error)
        return made

    def _apply(self, config: Json, change: _Change) -> Outcome:
        wanted = change.reservation
        subnet = self._subnet(config, wanted.network, change.operation)
        items: list[Json] = subnet.setdefault("reservations", [])
        if change.verb == "reserve":
            if self._is_there(items, wanted, change.operation):
                return Outcome.ALREADY
            items.append(to_item(wanted))
            return Outcome.CREATED
        for item in select(items, mac=wanted.mac):
            if to_reservation(item, wanted.network) != wanted or not is_ours(item):
                said = "the reservation of this MAC is not the one that was made"
                raise self._conflict(change.operation, said, item)
            items.remove(item)
            return Outcome.REMOVED
        return Outcome.ABSENT

    def _subnet(self, config: Json, network: IPv4Network, operation: str) -> Json:
        return require_subnet(config, network, address=self._channel.address, operation=operation)

    def _is_there(self, items: list[Json], wanted: Reservation, operation: str) -> bool:
        known = []
        for item in select(items, mac=wanted.mac, ip=wanted.ip):
            found = to_reservation(item, wanted.network)
            if found is None:
                raise self._conflict(operation, "another reservation is in the way", item)
            known.append(found)
        return find_clash(wanted, known, address=self._channel.address, operation=operation)

    def _conflict(self, operation: str, said: str, item: Json) -> Conflict:
        return Conflict(
            system=SYSTEM,
            address=self._channel.address,
            operation=operation,
            said=said,
            owner=holder(item),
        )

    async def _accepts(self, config: Json) -> bool:
        try:
            await self._ask("config-test", {"Dhcp4": config}, "test the configuration")
        except Refused:
            return False
        return True

    async def _acceptable(
        self, before: Json, batch: list[_Change]
    ) -> tuple[Json, list[tuple[_Change, Outcome]]]:
        """Find the changes that Kea refuses by testing one after the other; keep the rest."""
        after, kept = before, []
        for change in batch:
            trial = deepcopy(after)
            try:
                outcome = self._apply(trial, change)
                await self._ask("config-test", {"Dhcp4": trial}, change.operation)
            except OutsideError as error:
                change.fail(error)
            else:
                after = trial
                kept.append((change, outcome))
        return after, kept

    async def _restore(self, before: Json, cause: OutsideError) -> NoReturn:
        try:
            await self._ask("config-set", {"Dhcp4": before}, "set the old configuration again")
        except OutsideError as error:
            said = f"{cause.said}; and {error}: Kea may be without DHCP sockets"
            raise self._error(type(cause), cause.operation, said) from cause
        raise cause

    async def _require_sockets(self, operation: str) -> None:
        """Kea says yes to a configuration even where it could open no socket for it."""
        status = await self._ask("status-get", None, operation) or {}
        sockets = status.get("sockets", {})
        if sockets.get("status") == "failed":
            said = f"Kea has no DHCP sockets: {'; '.join(sockets.get('errors', []))}"
            raise self._error(Unverified, operation, said)

    def _verify(self, config: Json, made: list[tuple[_Change, Outcome]]) -> None:
        for change, outcome in made:
            subnet = find_subnet(config, change.reservation.network) or {}
            there = change.reservation in [
                to_reservation(item, change.reservation.network)
                for item in select(subnet.get("reservations", []), mac=change.reservation.mac)
            ]
            if there == (change.verb == "reserve"):
                change.succeed(outcome)
            else:
                said = f"Kea said yes, but the reservation is {'still' if there else 'not'} there"
                change.fail(self._error(Unverified, change.operation, said))

    async def _ask(self, command: str, arguments: Json | None, operation: str) -> Json | None:
        return await ask(self._channel, command, arguments, operation=operation)
