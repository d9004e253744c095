"""A process that is stopped in the middle of a transaction blocks others for a while only."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlmodel import select

from inventory import claims
from inventory.arrows import Phase
from inventory.database import (
    DATABASE_ERRORS,
    AsyncSession,
    Sessions,
    is_passing,
    make_engine,
    make_sessions,
    wait_outside,
)
from inventory.hosts import lock_host
from inventory.models import Build, Host
from tests.conftest import Database
from tests.inventory.world import discovered, later, make_group

ROOT = Path(__file__).parents[2]
IDLE = 0.2
"""Seconds by the server's clock, which no test can set."""
SECONDS = 20.0
HOLDER = """
import asyncio, sys
from uuid import UUID
from inventory import claims
from inventory.database import DATABASE_ERRORS, is_passing, make_engine, make_sessions

async def main(url, idle, build, company):
    sessions = make_sessions(make_engine(url, pool_size=1, idle_seconds=float(idle)))
    try:
        async with sessions.begin() as session:
            held = await claims.still_ours(session, [UUID(build)], UUID(company), "w/1")
            print("holds", len(held), flush=True)
            await asyncio.to_thread(sys.stdin.readline)
    except DATABASE_ERRORS as error:
        print("lost, and passing:", is_passing(error), flush=True)
    async with sessions.begin() as session:
        held = await claims.still_ours(session, [UUID(build)], UUID(company), "w/1")
        print("holds", len(held), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def machine(database: Database) -> tuple[Host, Build]:
    async with database.sessions.begin() as session:
        await make_group(session)
    return await discovered(database.sessions)


@asynccontextmanager
async def holder(*given: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that has locked its claim, and waits for a line before it goes on."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, *map(str, given)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS):
        return (await process.stdout.readline()).decode().strip()


async def test_the_dead_are_buried_though_one_was_stopped_with_its_claim_locked(
    database: Database, machine: tuple[Host, Build]
) -> None:
    _, build = machine
    company = uuid4()
    async with database.sessions.begin() as session:
        await claims.claim(session, Phase.INCEPTION, [build.id], company=company, at=later(0))
        await claims.adopt(session, company, "w/1", uuid4())
    async with holder(database.url, IDLE, build.id, company) as process:
        assert await said(process) == "holds 1"
        process.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(SECONDS), database.sessions.begin() as session:
            buried = await claims.bury(session, later(1))
        assert [one.build_id for one in buried] == [build.id]
        process.send_signal(signal.SIGCONT)
        assert process.stdin is not None
        process.stdin.write(b"\n")
        assert await said(process) == "lost, and passing: True"
        assert await said(process) == "holds 0"


async def test_nothing_remains_of_a_transaction_that_idled(
    database: Database, machine: tuple[Host, Build]
) -> None:
    host, _ = machine
    async with idling(database) as sessions:
        with pytest.raises(DATABASE_ERRORS) as lost:
            await rename_and_idle(sessions, host.id)
        assert is_passing(lost.value)
        async with sessions.begin() as session:
            assert (await session.get_one(Host, host.id)).name == host.name


async def rename_and_idle(sessions: Sessions, host_id: int) -> None:
    async with sessions.begin() as session:
        (await lock_host(session, host_id)).name = "another"
        await session.flush()
        await asyncio.sleep(3 * IDLE)


async def test_one_that_waits_for_an_outside_system_keeps_its_locks(
    database: Database, machine: tuple[Host, Build]
) -> None:
    host, _ = machine
    async with idling(database) as sessions:
        async with sessions.begin() as session:
            await wait_outside(session)
            await lock_host(session, host.id)
            await asyncio.sleep(3 * IDLE)
            assert await idle_limit(session) == "15min"
        async with sessions.begin() as session:
            assert await idle_limit(session) == f"{IDLE * 1000:.0f}ms"


async def test_no_engine_lets_a_transaction_idle_for_ever(database: Database) -> None:
    async with database.sessions.begin() as session:
        assert await idle_limit(session) == "30s"


@asynccontextmanager
async def idling(database: Database) -> AsyncIterator[Sessions]:
    """Sessions upon one connection, which may idle for a moment only."""
    engine = make_engine(database.url, pool_size=1, idle_seconds=IDLE)
    yield make_sessions(engine)
    await engine.dispose()


async def idle_limit(session: AsyncSession) -> str:
    limit = select(sa.func.current_setting("idle_in_transaction_session_timeout"))
    return str((await session.exec(limit)).one())
