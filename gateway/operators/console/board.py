"""What open pages show, made once for all of them: two hundred pages ask as much as one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from gateway.operators.console.pages import fragment
from gateway.operators.context import Operators
from inventory import fleet
from inventory.fleet import Counts
from inventory.life import HostState
from inventory.scope import Scope

__all__ = ["Board"]

_COUNTS_SECONDS = 1.0
"""Counts are made anew at most so often: in a storm they change with every callback."""


class Board:
    """Of one gateway; what it has made is good until the hub tells of changes again.

    Args:
        gateway: whose inventory and hub.
    """

    def __init__(self, gateway: Operators) -> None:
        self._gateway = gateway
        self.making = asyncio.Lock()
        """Held by whoever makes pieces: one page at a time, so that all of them together hold one
        connection, and hosts that call are never behind more than one."""
        self._told = -1
        self._rows: dict[tuple[Scope, int], str] = {}
        self._counts: dict[Scope, tuple[float, Counts]] = {}
        self._drawn: dict[tuple[Scope, HostState | None, bool], tuple[Counts, str]] = {}

    async def rows(self, scope: Scope, hosts: Collection[int]) -> list[str]:
        """Rows of the fleet as pieces of a page; those that are not within a scope are left out."""
        async with self.making:
            if self._told != self._gateway.hub.told:
                self._rows.clear()
                self._told = self._gateway.hub.told
            missing = [one for one in hosts if (scope, one) not in self._rows]
            if missing:
                async with self._gateway.transaction() as session:
                    found = await fleet.rows(session, scope, missing)
                for row in found:
                    self._rows[scope, row.id] = fragment("fleet_row.html.j2", row=row)
            return [made for one in hosts if (made := self._rows.get((scope, one)))]

    async def counts(self, scope: Scope) -> Counts:
        """How many hosts are where, from after this was asked; waited for, so that it is cheap."""
        clock = asyncio.get_running_loop().time
        asked = clock()
        made_at, _ = self._counts.get(scope, (-_COUNTS_SECONDS, Counts()))
        await asyncio.sleep(max(0, made_at + _COUNTS_SECONDS - asked))
        async with self.making:
            made_at, made = self._counts.get(scope, (-_COUNTS_SECONDS, Counts()))
            # Another page that waited as well may have asked meanwhile.
            if made_at < asked:
                made_at = clock()
                async with self._gateway.transaction() as session:
                    made = await fleet.counts(session, scope)
                self._counts[scope] = (made_at, made)
            return made

    async def counts_piece(self, scope: Scope, state: HostState | None, trouble: bool) -> str:
        """Counts as a piece of a page that shows only a state, or only hosts in trouble."""
        made = await self.counts(scope)
        known, text = self._drawn.get((scope, state, trouble), (None, ""))
        if known != made:
            wanted = {"state": state or "", "trouble": trouble}
            text = fragment("counts.html.j2", counts=made, states=list(HostState), wanted=wanted)
            self._drawn[scope, state, trouble] = (made, text)
        return text
