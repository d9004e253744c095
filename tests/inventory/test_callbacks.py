from __future__ import annotations

import asyncio

import pytest

from inventory.callbacks import keep, mark_handled, unhandled
from inventory.database import AsyncSession
from inventory.models import Build, Callback, CallbackKind, Host
from tests.conftest import Database
from tests.inventory.world import discovered, later, make_group


@pytest.fixture
async def known(database: Database) -> tuple[Host, Build]:
    async with database.sessions.begin() as session:
        await make_group(session)
    return await discovered(database.sessions)


async def tell(
    session: AsyncSession, known: tuple[Host, Build], key: str, body: str = ""
) -> int | None:
    host, build = known
    return await keep(
        session,
        kind=CallbackKind.BUILT,
        key=key,
        host_id=host.id,
        build_id=build.id,
        remote="192.0.2.20",
        body=body,
        at=later(1),
    )


async def test_the_same_telling_told_many_times_at_once_is_kept_once(
    database: Database, known: tuple[Host, Build]
) -> None:
    async def told() -> bool:
        async with database.sessions.begin() as session:
            return await tell(session, known, "built:1") is not None

    kept = await asyncio.gather(*(told() for _ in range(20)))
    assert kept.count(True) == 1
    async with database.sessions.begin() as session:
        assert len(await unhandled(session, 10)) == 1


async def test_two_dispatchers_never_get_the_same_callback(
    database: Database, known: tuple[Host, Build]
) -> None:
    async with database.sessions.begin() as session:
        for number in range(4):
            await tell(session, known, f"built:{number}")
    async with database.sessions.begin() as one, database.sessions.begin() as two:
        first, second = await unhandled(one, 3), await unhandled(two, 3)
    assert [call.key for call in first] == ["built:0", "built:1", "built:2"]
    assert [call.key for call in second] == ["built:3"]


async def test_what_is_handled_does_not_come_again_and_keeps_its_time(
    database: Database, known: tuple[Host, Build]
) -> None:
    async with database.sessions.begin() as session:
        kept = await tell(session, known, "built:1")
        assert kept is not None
        await mark_handled(session, [kept], later(2))
        await mark_handled(session, [kept], later(3))
        assert await unhandled(session, 10) == []
        assert await tell(session, known, "built:1") is None
        assert await unhandled(session, 10) == []
    async with database.sessions() as session:
        stored = await session.get_one(Callback, kept)
        assert stored.handled_at == later(2)


async def test_a_body_that_the_database_cannot_store_is_kept_with_marks(
    database: Database, known: tuple[Host, Build]
) -> None:
    async with database.sessions.begin() as session:
        kept = await tell(session, known, "failed:1", body="log \x00 and \udcff")
    async with database.sessions() as session:
        stored = await session.get_one(Callback, kept)
    assert stored.body == "log \ufffd and \ufffd"
