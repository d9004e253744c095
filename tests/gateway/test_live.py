"""Open pages hear of changes soon, from one connection, and none makes another wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack

import asyncpg  # type: ignore[import-untyped]
import pytest
import sqlalchemy as sa

from gateway.live import EVERYTHING, MOST_HOSTS, NOTHING, Changes, Hub, hearing
from inventory.database import CHANNEL_CHANGES, notify, plain_url
from inventory.hosts import move
from inventory.life import Event
from inventory.models import Host
from tests.conftest import Database
from tests.inventory.world import discovered, later, make_group


@pytest.fixture
async def hub(database: Database) -> AsyncIterator[Hub]:
    async with database.sessions.begin() as session:
        await make_group(session)
    async with hearing(Hub(500), database.url) as made:
        await hears(made)
        yield made


async def hears(hub: Hub) -> None:
    """Wait until it listens: it tells all then."""
    with hub.subscribe() as one:
        assert await one.next(10) == EVERYTHING


async def ask(url: str, statement: str) -> int:
    connection = await asyncpg.connect(plain_url(url))
    try:
        return int(await connection.fetchval(statement) or 0)
    finally:
        await connection.close()


LISTENERS = f"FROM pg_stat_activity WHERE query ILIKE 'LISTEN \"{CHANNEL_CHANGES}%'"


async def test_two_hundred_pages_hear_of_a_change_within_a_second_over_one_connection(
    hub: Hub, database: Database
) -> None:
    clock = asyncio.get_running_loop().time
    host, _ = await discovered(database.sessions)
    await asyncio.sleep(0.3)
    with ExitStack() as stack:
        pages = [stack.enter_context(hub.subscribe()) for _ in range(200)]
        async with database.sessions.begin() as session:
            await move(session, await session.get_one(Host, host.id), Event.SELECT, later(1))
        committed = clock()
        told = await asyncio.gather(*(one.next(5) for one in pages))
        assert clock() - committed < 1
        assert set(told) == {Changes(frozenset({host.id}))}
        assert await ask(database.url, f"SELECT count(*) {LISTENERS}") == 1


async def test_a_page_of_some_hosts_hears_of_these_only(hub: Hub, database: Database) -> None:
    with hub.subscribe({2, 3}) as some, hub.subscribe() as all_of_them:
        for number in (1, 2):
            await discovered(database.sessions, number)
        assert await some.next(5) == Changes(frozenset({2}))
        assert await all_of_them.next(5) == Changes(frozenset({1, 2}))
        assert await some.next(0.3) == NOTHING


async def test_what_comes_together_is_told_once() -> None:
    hub = Hub()
    with hub.subscribe() as one:
        for number in range(1, 101):
            hub.hear(str(number))
        assert await one.next(5) == Changes(frozenset(range(1, 101)))
        assert hub.told == 1


async def test_a_slow_page_is_told_to_look_at_everything() -> None:
    hub = Hub()
    with hub.subscribe() as slow, hub.subscribe({7}) as other:
        for first in (0, MOST_HOSTS - 1):
            hub.hear(" ".join(str(first + one) for one in range(MOST_HOSTS - 1)))
            await asyncio.sleep(0.25)
        assert await slow.next(5) == EVERYTHING
        assert await other.next(5) == Changes(frozenset({7}))


@pytest.mark.parametrize("said", [None, "*", "nonsense", "1 ; 2"])
async def test_what_is_not_understood_is_looked_into(said: str | None) -> None:
    hub = Hub()
    with hub.subscribe({1}) as one:
        hub.hear(said)
        assert await one.next(5) == EVERYTHING


async def test_after_a_lost_connection_everything_is_looked_at(
    hub: Hub, database: Database
) -> None:
    with hub.subscribe({77}) as one:
        assert await ask(database.url, f"SELECT pg_terminate_backend(pid) {LISTENERS}") == 1
        assert await one.next(10) == EVERYTHING
        async with database.sessions.begin() as session:
            await session.exec(sa.select(sa.func.pg_notify(CHANNEL_CHANGES, "77")))  # type: ignore[call-overload]
        assert await one.next(10) == Changes(frozenset({77}))


async def test_a_database_that_is_away_at_the_start_is_waited_for() -> None:
    async with hearing(Hub(5), "postgresql://nobody@127.0.0.1:1/none") as hub:
        with hub.subscribe() as one:
            assert await one.next(0.3) == NOTHING
            assert not one.closed
        assert not hub.closed.is_set()


async def test_its_end_ends_all_subscriptions_and_its_connection(database: Database) -> None:
    async with hearing(Hub(5), database.url) as hub:
        await hears(hub)
        with hub.subscribe() as one:
            waiting = asyncio.create_task(one.next(30))
            await asyncio.sleep(0)
            hub.close()
            assert await waiting == NOTHING
            assert one.closed
        with hub.subscribe() as late:
            assert late.closed
    async with database.sessions.begin() as session:
        await notify(session, CHANNEL_CHANGES)
    async with asyncio.timeout(10):
        while await ask(database.url, f"SELECT count(*) {LISTENERS}"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_many_pages_are_told_in_turns_so_that_others_are_served_between(hub: Hub) -> None:
    turn = 0
    woken: Counter[int] = Counter()
    done = asyncio.Event()

    async def count() -> None:
        nonlocal turn
        while not done.is_set():
            turn += 1
            await asyncio.sleep(0)

    async def page() -> None:
        with hub.subscribe() as one:
            assert await one.next(10) == Changes(frozenset({7}))
            woken[turn] += 1

    pages = [asyncio.create_task(page()) for _ in range(100)]
    await asyncio.sleep(0)
    counting = asyncio.create_task(count())
    hub.hear("7")
    await asyncio.gather(*pages)
    done.set()
    await counting
    assert sum(woken.values()) == 100
    assert max(woken.values()) <= 8
