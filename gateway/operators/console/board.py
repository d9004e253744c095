"""What open pages show, made once for all of them: two hundred pages ask as much as one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.operators.console.discovered import discovered_piece
from gateway.operators.console.held import held_piece
from gateway.operators.console.host import host_pieces
from gateway.operators.console.pages import fragment
from gateway.operators.context import Operators
from inventory import fleet, wave_views
from inventory.fleet import Counts
from inventory.life import HostState
from inventory.rights import Actor
from inventory.scope import Scope
from inventory.wave_rows import WaveDetail

__all__ = ["Board"]

_REST_SECONDS = 1.0
"""What is about many hosts is made anew at most so often: in a storm it changes all the time."""
_OLD_SECONDS = 2.0
"""What nobody is told of, such as another rule, is seen after so long by whoever comes anew."""
_MOST_KEPT = 1000
Made = TypeVar("Made")


@dataclass
class _Slot:
    """One thing that is shown: whoever comes while it is made waits for it."""

    making: asyncio.Lock = field(default_factory=asyncio.Lock)
    told: int = -1
    """How often the hub had told when it was begun; another number: it may be different now."""
    at: float = 0
    made: Any = None

    def fresh(self, told: int, now: float) -> bool:
        """Whether it can be shown as it is."""
        return self.told == told and now - self.at < _OLD_SECONDS


class Board:
    """Of one gateway; what it has made is good until the hub tells of changes again.

    Pages of people with the same rights share it. Forms in it hold ``FORM``.

    Args:
        gateway: whose inventory and hub.
    """

    def __init__(self, gateway: Operators) -> None:
        self._gateway = gateway
        self._slots: dict[Hashable, _Slot] = {}
        self._making = asyncio.Lock()
        """Held by whoever makes something: one at a time, so that all pages together hold one
        connection, and hosts that call are never behind more than one."""
        self._told = -1
        self._since = 0.0
        self._rows: dict[tuple[Scope, int], str] = {}
        self._drawn: dict[tuple[Scope, HostState | None, bool], tuple[Counts, str]] = {}

    async def rows(self, scope: Scope, hosts: Collection[int]) -> list[str]:
        """Rows of the fleet as pieces of a page; those that are not within a scope are left out."""
        async with self._making:
            self._forget_old()
            missing = [one for one in hosts if (scope, one) not in self._rows]
            if missing:
                async with self._gateway.transaction() as session:
                    found = await fleet.rows(session, scope, missing)
                for row in found:
                    self._rows[scope, row.id] = fragment("fleet_row.html.j2", row=row)
            return [made for one in hosts if (made := self._rows.get((scope, one)))]

    async def waves(self, scope: Scope) -> str:
        """The waves that have not ended, as a piece of the fleet's page."""

        async def make() -> str:
            async with self._gateway.transaction() as session:
                waves = await wave_views.unfinished(session, scope)
            return fragment("waves_glance.html.j2", waves=waves)

        return await self._shared(("waves", scope), make, rest=_REST_SECONDS)

    async def wave(self, scope: Scope, name: str, after: int, most: int) -> WaveDetail:
        """One wave with a page of its hosts.

        Raises:
            UnknownWave: there is none of this name, or not for them.
        """

        async def make() -> WaveDetail:
            async with self._gateway.transaction() as session:
                return await wave_views.detail(session, scope, name, after=after, limit=most)

        return await self._shared(("wave", scope, name, after), make, rest=_REST_SECONDS)

    def _forget_old(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._told != self._gateway.hub.told or now - self._since > _OLD_SECONDS:
            self._rows.clear()
            self._told, self._since = self._gateway.hub.told, now

    async def counts(self, scope: Scope) -> Counts:
        """How many hosts are where."""

        async def make() -> Counts:
            async with self._gateway.transaction() as session:
                return await fleet.counts(session, scope)

        return await self._shared(("counts", scope), make, rest=_REST_SECONDS)

    async def counts_piece(self, scope: Scope, state: HostState | None, trouble: bool) -> str:
        """Counts as a piece of a page that shows only a state, or only hosts in trouble."""
        made = await self.counts(scope)
        known, text = self._drawn.get((scope, state, trouble), (None, ""))
        if known != made:
            wanted = {"state": state or "", "trouble": trouble}
            text = fragment("counts.html.j2", counts=made, states=list(HostState), wanted=wanted)
            self._drawn[scope, state, trouble] = (made, text)
        return text

    async def host(self, actor: Actor, host: int) -> list[str]:
        """The pieces of a host's page.

        Raises:
            UnknownHost: it is not theirs to see.
        """
        key = ("host", actor.role, actor.scope, host)
        return await self._shared(key, lambda: host_pieces(self._gateway, actor, host))

    async def held(self, actor: Actor) -> str:
        """Held hosts in their groups."""
        key = ("held", actor.role, actor.scope)
        return await self._shared(key, lambda: held_piece(self._gateway, actor), rest=_REST_SECONDS)

    async def discovered(self, actor: Actor, text: str, after: str) -> str:
        """One page of discovered hosts."""
        key = ("discovered", actor.role, actor.scope, text, after)
        return await self._shared(
            key, lambda: discovered_piece(self._gateway, actor, text, after), rest=_REST_SECONDS
        )

    async def _shared(
        self, key: Hashable, make: Callable[[], Awaitable[Made]], *, rest: float = 0
    ) -> Made:
        """What was made since the hub told last, or made now, by one for all who want it.

        Args:
            key: what, and with which rights it is seen.
            make: asks the database for it.
            rest: seconds from one making to the next.
        """
        clock, hub = asyncio.get_running_loop().time, self._gateway.hub
        if key not in self._slots and len(self._slots) >= _MOST_KEPT:
            self._slots = {one: slot for one, slot in self._slots.items() if slot.making.locked()}
        slot = self._slots.setdefault(key, _Slot())
        if not slot.fresh(hub.told, clock()) and slot.told != -1:
            await asyncio.sleep(max(0, slot.at + rest - clock()))
        async with slot.making:
            if not slot.fresh(hub.told, clock()):
                # As of before it is asked: what changes meanwhile is told, and asked for, again.
                async with self._making:
                    told, at = hub.told, clock()
                    slot.made = await make()
                slot.told, slot.at = told, at
            made: Made = slot.made
            return made
