from __future__ import annotations

import asyncio
import contextlib

import asyncpg  # type: ignore[import-untyped]

from deployments.postgres import embedded_postgres
from inventory.database import make_engine, make_sessions, notify, plain_url
from inventory.listening import listen
from tests.conftest import Database, data_directory

CHANNEL = "rackrise_test"


async def test_a_notification_wakes_when_it_is_committed_and_not_before(
    database: Database,
) -> None:
    async with listen(database.url, CHANNEL) as listener:
        async with database.sessions.begin() as session:
            await notify(session, CHANNEL)
            await notify(session, "another_channel")
            assert not await listener.wait(0.1)
        assert await listener.wait(10)
        assert not await listener.wait(0.05)


async def test_a_notification_that_is_rolled_back_wakes_nobody(database: Database) -> None:
    async with listen(database.url, CHANNEL) as listener:
        async with database.sessions() as session:
            await notify(session, CHANNEL)
            await session.rollback()
        assert not await listener.wait(0.1)


async def test_a_lost_connection_is_made_again_and_wakes_once(database: Database) -> None:
    async with listen(database.url, CHANNEL) as listener:
        await cut(database.url)
        # Something may have been missed meanwhile.
        assert await listener.wait(10)
        assert not await listener.wait(0.05)
        async with database.sessions.begin() as session:
            await notify(session, CHANNEL)
        assert await listener.wait(10)


async def test_a_server_that_was_away_is_found_again() -> None:
    with data_directory() as data:
        async with contextlib.AsyncExitStack() as listening:
            async with embedded_postgres(data, durable=False) as urls:
                listener = await listening.enter_async_context(listen(urls.rackrise, CHANNEL))
            await listener.wait(0)
            assert not await listener.wait(0.3)
            async with embedded_postgres(data, durable=False) as urls:
                assert await listener.wait(20)
                engine = make_engine(urls.rackrise)
                async with make_sessions(engine).begin() as session:
                    await notify(session, CHANNEL)
                await engine.dispose()
                assert await listener.wait(10)


async def test_who_stops_listening_leaves_no_connection(database: Database) -> None:
    async with listen(database.url, CHANNEL):
        assert await listeners(database.url) == 1
    async with asyncio.timeout(10):
        while await listeners(database.url):  # noqa: ASYNC110 the server tells nobody
            await asyncio.sleep(0.01)


async def listeners(url: str) -> int:
    connection = await asyncpg.connect(plain_url(url))
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE $1", f'LISTEN "{CHANNEL}%'
        )
    finally:
        await connection.close()
    return count


async def cut(url: str) -> None:
    connection = await asyncpg.connect(plain_url(url))
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE "
        f"'LISTEN \"{CHANNEL}%'"
    )
    await connection.close()
