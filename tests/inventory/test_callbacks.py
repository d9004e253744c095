from __future__ import annotations

import asyncio

import pytest
from sqlmodel import select

from inventory.callbacks import keep
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
        assert len(list(await session.exec(select(Callback)))) == 1


async def test_a_body_that_the_database_cannot_store_is_kept_with_marks(
    database: Database, known: tuple[Host, Build]
) -> None:
    async with database.sessions.begin() as session:
        kept = await tell(session, known, "failed:1", body="log \x00 and \udcff")
    async with database.sessions() as session:
        stored = await session.get_one(Callback, kept)
    assert stored.body == "log \ufffd and \ufffd"
