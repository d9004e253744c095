"""What open pages show, made once for all of them: two hundred pages ask as much as one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from gateway.operators.console.pages import fragment
from gateway.operators.context import Operators
from inventory import fleet, wave_views
from inventory.fleet import Counts
from inventory.scope import Scope
from inventory.wave_rows import WaveDetail, WaveRow

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
        self._making = asyncio.Lock()
        self._told = -1
        self._rows: dict[tuple[Scope, int], str] = {}
        self._waves: dict[Scope, list[WaveRow]] = {}
        self._wave: dict[tuple[Scope, str, int], WaveDetail] = {}
        self._counts: dict[Scope, tuple[float, Counts]] = {}

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

    async def waves(self, scope: Scope) -> list[WaveRow]:
        """The waves that have not ended."""
        async with self._making:
            self._forget_old()
            if scope not in self._waves:
                async with self._gateway.transaction() as session:
                    self._waves[scope] = await wave_views.unfinished(session, scope)
            return self._waves[scope]

    async def wave(self, scope: Scope, name: str, after: int, most: int) -> WaveDetail:
        """One wave with a page of its hosts.

        Raises:
            UnknownWave: there is none of this name, or not for them.
        """
        key = (scope, name, after)
        async with self._making:
            self._forget_old()
            if key not in self._wave:
                async with self._gateway.transaction() as session:
                    self._wave[key] = await wave_views.detail(
                        session, scope, name, after=after, limit=most
                    )
            return self._wave[key]

    def _forget_old(self) -> None:
        if self._told != self._gateway.hub.told:
            for made in (self._rows, self._waves, self._wave):
                made.clear()
            self._told = self._gateway.hub.told

    async def counts(self, scope: Scope) -> Counts:
        """How many hosts are where, from after this was asked; waited for, so that it is cheap."""
        clock = asyncio.get_running_loop().time
        asked = clock()
        made_at, _ = self._counts.get(scope, (-_COUNTS_SECONDS, Counts()))
        await asyncio.sleep(max(0, made_at + _COUNTS_SECONDS - asked))
        async with self._making:
            made_at, made = self._counts.get(scope, (-_COUNTS_SECONDS, Counts()))
            # Another page that waited as well may have asked meanwhile.
            if made_at < asked:
                made_at = clock()
                async with self._gateway.transaction() as session:
                    made = await fleet.counts(session, scope)
                self._counts[scope] = (made_at, made)
            return made
