from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sqlmodel import select

from inventory.models import HostEvent
from tasks.means import use
from tasks.tidy import forget_events
from tests.flows.bench import Bench
from tests.inventory.world import T0, discovered


async def test_events_have_their_time_also_where_nobody_follows_them(bench: Bench) -> None:
    await discovered(bench.database.sessions)
    use(replace(bench.means, clock=lambda: T0 + timedelta(days=29)))
    assert await forget_events.fn(30) == 0
    async with bench.database.sessions() as session:
        (kept,) = await session.exec(select(HostEvent))
        assert kept.position == 1
    use(replace(bench.means, clock=lambda: T0 + timedelta(days=31)))
    assert await forget_events.fn(30) == 1
