from __future__ import annotations

import asyncio
import hashlib

import pytest
from sqlmodel import col, func, select

from inventory.arrows import ARROWS
from inventory.builds import (
    build_by_token,
    close_build,
    current_build,
    hold,
    keep_token,
    lock_build,
    open_build,
    resume,
    set_group,
    token_hash,
)
from inventory.errors import BuildOpen
from inventory.hosts import lock_host, move
from inventory.life import Event, ForbiddenTransition, HostState
from inventory.models import Build, BuildOutcome, Host, HostGroup, StepState
from inventory.steps import states
from tests.conftest import Database
from tests.inventory.world import T0, discovered, later, make_group, make_puppet


@pytest.fixture
async def group(database: Database) -> HostGroup:
    async with database.sessions.begin() as session:
        return await make_group(session)


@pytest.fixture
async def known(database: Database, group: HostGroup) -> tuple[Host, Build]:
    return await discovered(database.sessions)


async def test_of_many_who_open_a_build_at_once_one_succeeds(
    database: Database, known: tuple[Host, Build]
) -> None:
    host, first = known
    async with database.sessions.begin() as session:
        await close_build(session, first, BuildOutcome.SUPERSEDED, later(1))

    async def attempt() -> bool:
        async with database.sessions.begin() as session:
            try:
                await open_build(session, host, group=None, asked_by="test", at=later(2))
            except BuildOpen:
                return False
            return True

    won = await asyncio.gather(*(attempt() for _ in range(20)))
    assert won.count(True) == 1
    async with database.sessions() as session:
        build = await current_build(session, host.id)
        assert build is not None
        assert (build.generation, build.asked_by, build.opened_at) == (2, "test", later(2))
        assert len((await states(session, [build.id]))[build.id]) == len(ARROWS)


async def test_an_open_build_is_named_to_whoever_wants_a_second(
    database: Database, known: tuple[Host, Build]
) -> None:
    host, build = known
    async with database.sessions.begin() as session:
        with pytest.raises(BuildOpen, match=f"{host.name} has an open build .{build.id}"):
            await open_build(session, host, group=None, asked_by=None, at=later(1))
        # The transaction is still good.
        assert await current_build(session, host.id) == build


def not_asked(steps: dict[int, StepState]) -> set[int]:
    return {number for number, state in steps.items() if state is StepState.NOT_ASKED}


async def test_a_group_without_candlepin_and_puppet_does_not_ask_for_their_arrows(
    database: Database, known: tuple[Host, Build], group: HostGroup
) -> None:
    host, build = known
    async with database.sessions.begin() as session:
        build = await lock_build(session, build.id)
        await set_group(session, build, group, "alice")
        steps = (await states(session, [build.id]))[build.id]
    assert not_asked({n: one.state for n, one in steps.items()}) == {
        *(23, 24, 25, 26, 31, 32, 33, 34)
    }
    assert (build.host_group_id, build.asked_by) == (group.id, "alice")
    async with database.sessions.begin() as session:
        assert (await lock_host(session, host.id)).host_group_id == group.id
        group = await session.merge(group)
        group.puppet_id = (await make_puppet(session)).id
        await set_group(session, build, group, "alice")
        steps = (await states(session, [build.id]))[build.id]
    assert not_asked({n: one.state for n, one in steps.items()}) == {23, 25, 26}


async def test_a_build_that_is_opened_for_a_group_asks_for_its_arrows_from_the_start(
    database: Database, known: tuple[Host, Build], group: HostGroup
) -> None:
    host, first = known
    async with database.sessions.begin() as session:
        await close_build(session, first, BuildOutcome.SUPERSEDED, later(1))
        build = await open_build(session, host, group=group, asked_by="rule", at=later(1))
        steps = (await states(session, [build.id]))[build.id]
    assert build.host_group_id == group.id
    assert {23, 24} <= not_asked({n: one.state for n, one in steps.items()})


async def test_a_held_host_says_why_and_goes_back_to_where_it_was(
    database: Database, known: tuple[Host, Build]
) -> None:
    host, build = known
    async with database.sessions.begin() as session:
        await move(session, host, Event.SELECT, later(1))
        await move(session, host, Event.PREPARE, later(2))
        await hold(session, build, step=15, reason="DNS is down", advice="start it", at=later(3))
        await hold(session, build, step=15, reason="still down", advice="start it", at=later(4))
    async with database.sessions.begin() as session:
        host, build = await lock_host(session, host.id), await lock_build(session, build.id)
        assert (host.state, host.state_since) == (HostState.HELD, later(3))
        assert (build.held_from, build.held_step) == (HostState.PREPARING, 15)
        assert (build.held_reason, build.held_advice) == ("still down", "start it")
        await resume(session, build, later(5))
        assert (host.state, host.state_since) == (HostState.PREPARING, later(5))
        assert (build.held_from, build.held_step, build.held_reason) == (None, None, None)
        with pytest.raises(ForbiddenTransition):
            await resume(session, build, later(6))


async def test_a_closed_build_keeps_its_first_outcome(
    database: Database, known: tuple[Host, Build]
) -> None:
    host, build = known
    async with database.sessions.begin() as session:
        await close_build(session, build, BuildOutcome.CANCELLED, later(1))
        await close_build(session, build, BuildOutcome.RETIRED, later(2))
    async with database.sessions.begin() as session:
        build = await lock_build(session, build.id)
        assert (build.outcome, build.closed_at) == (BuildOutcome.CANCELLED, later(1))
        assert await current_build(session, host.id) is None


async def test_only_the_hash_of_a_token_is_kept_and_finds_its_build_when_spent(
    database: Database, known: tuple[Host, Build]
) -> None:
    token = "planted-secret"
    async with database.sessions.begin() as session:
        await keep_token(session, known[1], token)
    async with database.sessions.begin() as session:
        found = await build_by_token(session, token)
        assert found is not None
        assert found.token_hash == token_hash(token) == hashlib.sha256(token.encode()).hexdigest()
        found.token_spent_at = T0
        await close_build(session, found, BuildOutcome.IN_OPERATION, T0)
    async with database.sessions() as session:
        assert await build_by_token(session, token) == found
        assert await build_by_token(session, "another") is None
        kept = select(func.count()).where(col(Build.token_hash).contains("planted"))
        assert (await session.exec(kept)).one() == 0
