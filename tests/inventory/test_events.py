from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg  # type: ignore[import-untyped]
import pytest
import sqlalchemy as sa
from sqlmodel import select

from inventory import events, orders
from inventory.builds import close_build, hold, resume
from inventory.database import CHANNEL_CHANGES, Sessions, plain_url
from inventory.events import KINDS
from inventory.hosts import discover, move
from inventory.life import TRANSITIONS, Event, HostState
from inventory.models import Build, BuildOutcome, Host, HostEvent, HostGroup, Step, StepState
from inventory.scope import Scope
from tests.conftest import Database
from tests.inventory.world import WAY, discovered, later, make_group, seen


@pytest.fixture
async def group(database: Database) -> HostGroup:
    async with database.sessions.begin() as session:
        return await make_group(session)


async def published(sessions: Sessions, position: int = 0) -> list[HostEvent]:
    async with sessions.begin() as session:
        await events.publish(session, later(0))
    async with sessions() as session:
        return await events.after(session, position, limit=1000)


def test_each_state_that_can_be_entered_has_a_kind() -> None:
    entered = {f"host.{one.target}" for one in TRANSITIONS if one.event is not Event.RETRY}
    assert set(KINDS) == entered | {"host.retried"}
    assert {"host.discovered", "host.held", "host.in_operation", "host.retired"} <= set(KINDS)


@pytest.mark.usefixtures("group")
async def test_each_state_of_a_way_is_told_once_and_in_order(database: Database) -> None:
    host, build = await discovered(database.sessions)
    for event, _ in WAY:
        async with database.sessions.begin() as session:
            await move(session, await session.get_one(Host, host.id), event, later(1))
            if event is Event.KICKSTART:
                # It stays where it is: no news.
                await move(session, await session.get_one(Host, host.id), event, later(1))
    told = await published(database.sessions)
    assert [one.kind for one in told] == [
        "host.discovered",
        *(f"host.{state.value}" for _, state in WAY),
    ]
    assert [one.position for one in told] == list(range(1, 9))
    assert told[0].data == {
        "was": None,
        "state": "discovered",
        "build": str(build.id),
        "generation": 1,
    }
    assert (told[-1].data["was"], told[-1].site, told[-1].host) == ("first_boot", "lab", host.name)


async def test_an_event_tells_what_a_host_was_selected_for_and_which_build_begins(
    database: Database, group: HostGroup
) -> None:
    host, build = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        host = await session.get_one(Host, host.id)
        await orders.provision(session, host, group, name="web1", asked_by="test", at=later(1))
        for event, _ in WAY[1:]:
            await move(session, host, event, later(2))
        await close_build(session, build, BuildOutcome.IN_OPERATION, later(2))
        await orders.rebuild(session, host, None, asked_by="test", at=later(3))
    selected = [one for one in await published(database.sessions) if one.kind == "host.selected"]
    assert [one.data["generation"] for one in selected] == [1, 2]
    assert {(one.host, one.host_group) for one in selected} == {("web1.example.org", "web")}


@pytest.mark.usefixtures("group")
async def test_a_held_host_is_told_with_why_and_one_that_goes_on_as_retried(
    database: Database,
) -> None:
    _, build = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        await hold(session, build, step=11, reason="no lease", advice="look", at=later(1))
        await hold(session, build, step=12, reason="another", advice="", at=later(2))
    async with database.sessions.begin() as session:
        await resume(session, await session.get_one(Build, build.id), later(3))
    _, held, retried = await published(database.sessions)
    assert held.kind == "host.held"
    assert [held.data[one] for one in ("step", "reason", "advice")] == [11, "no lease", "look"]
    assert held.data["step_text"]
    assert (retried.kind, retried.data["was"], retried.data["state"]) == (
        "host.retried",
        "held",
        "discovered",
    )


@pytest.mark.usefixtures("group")
async def test_a_host_that_comes_back_after_it_was_cancelled_is_told_with_its_new_build(
    database: Database,
) -> None:
    host, build = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        await close_build(session, build, BuildOutcome.CANCELLED, later(1))
        await session.exec(sa.update(Host).values(state=HostState.CANCELLED))
    async with database.sessions.begin() as session:
        again, _, new = await discover(session, seen(1), site_id=None, at=later(2))
        assert (again.id, again.state, new) == (host.id, HostState.DISCOVERED, False)
        await discover(session, seen(1), site_id=None, at=later(3))
    _, told = await published(database.sessions)
    assert (told.kind, told.data["was"], told.data["generation"]) == (
        "host.discovered",
        "cancelled",
        2,
    )


@pytest.mark.usefixtures("group")
async def test_what_is_rolled_back_has_not_happened(database: Database) -> None:
    host, _ = await discovered(database.sessions)
    async with database.sessions() as session:
        await move(session, await session.get_one(Host, host.id), Event.SELECT, later(1))
        await session.rollback()
    assert [one.kind for one in await published(database.sessions)] == ["host.discovered"]


@pytest.mark.usefixtures("group")
async def test_an_event_whose_transaction_ends_later_is_missed_by_nobody(
    database: Database,
) -> None:
    for number in (1, 2):
        await discovered(database.sessions, number)
    last = (await published(database.sessions))[-1].position
    assert last is not None
    async with database.sessions() as slow, database.sessions() as quick:
        await move(slow, await slow.get_one(Host, 1), Event.SELECT, later(1))
        await move(quick, await quick.get_one(Host, 2), Event.SELECT, later(1))
        await quick.commit()
        ids = [one.id for one in await slow.exec(select(HostEvent).order_by(HostEvent.id))]  # type: ignore[arg-type]
        (first,) = await published(database.sessions, last)
        assert first.host_id == 2
        assert first.id > ids[-2], "it began after the one that is still open"
        await slow.commit()
    assert first.position is not None
    (second,) = await published(database.sessions, first.position)
    assert (second.host_id, second.id < first.id) == (1, True)


@pytest.mark.usefixtures("group")
async def test_positions_are_given_once_however_many_give_them(database: Database) -> None:
    for number in range(1, 31):
        await discovered(database.sessions, number)

    async def give() -> int:
        async with database.sessions.begin() as session:
            return await events.publish(session, later(0))

    assert sum(await asyncio.gather(*(give() for _ in range(8)))) == 30
    told = await published(database.sessions)
    assert [one.id for one in told] == sorted(one.id for one in told)
    assert len({one.position for one in told}) == 30


@pytest.mark.usefixtures("group")
async def test_readers_see_positions_in_their_order_while_hosts_move(database: Database) -> None:
    for number in range(1, 21):
        await discovered(database.sessions, number)
    ended = asyncio.Event()

    async def go(host: int) -> None:
        for event, _ in WAY:
            async with database.sessions.begin() as session:
                await move(session, await session.get_one(Host, host), event, later(1))

    async def follow() -> list[int]:
        read: list[int] = []
        while True:
            last = ended.is_set()
            found = await published(database.sessions, read[-1] if read else 0)
            read += [one.position or 0 for one in found]
            if last and not found:
                return read

    followers = [asyncio.create_task(follow()) for _ in range(3)]
    await asyncio.gather(*(go(host) for host in range(1, 21)))
    ended.set()
    for read in await asyncio.gather(*followers):
        assert len(read) == len(set(read)) == 160
        assert read == sorted(read)


@pytest.mark.usefixtures("group")
async def test_a_page_is_of_kinds_and_of_what_may_be_seen(database: Database) -> None:
    host, _ = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        await move(session, await session.get_one(Host, host.id), Event.SELECT, later(1))
    await published(database.sessions)
    async with database.sessions() as session:
        found = await events.after(session, 0, limit=9, kinds=["host.selected"])
        assert [one.kind for one in found] == ["host.selected"]
        for scope, count in (
            (Scope(), 2),
            (Scope(sites=frozenset({"lab", "x"})), 2),
            (Scope(sites=frozenset({"x"})), 0),
            (Scope(host_groups=frozenset({"web"})), 2),
            (Scope(frozenset({"x"}), frozenset({"web"})), 0),
        ):
            found = await events.after(session, 0, limit=9, scope=scope)
            assert len(found) == count
            assert all(scope.admits(one.site, one.host_group) for one in found)


@pytest.mark.usefixtures("group")
async def test_old_events_are_forgotten_once_they_are_published(database: Database) -> None:
    await discovered(database.sessions, 1)
    async with database.sessions.begin() as session:
        assert await events.forget(session, later(0) + timedelta(days=1)) == 0
    await published(database.sessions)
    async with database.sessions.begin() as session:
        assert await events.forget(session, later(0)) == 0
        assert await events.forget(session, later(0) + timedelta(days=1)) == 1
    await discovered(database.sessions, 2)
    # A position is not given again, though none is left.
    assert [one.position for one in await published(database.sessions)] == [2]


class Notices:
    """What is said of changes, transaction by transaction."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def hear(self, *notice: object) -> None:
        self.said.append(str(notice[-1]))


@pytest.mark.usefixtures("group")
async def test_every_change_of_a_host_is_told_once_a_transaction(database: Database) -> None:
    host, build = await discovered(database.sessions)
    _, other = await discovered(database.sessions, 2)
    notices = Notices()
    connection = await asyncpg.connect(plain_url(database.url))
    await connection.add_listener(CHANNEL_CHANGES, notices.hear)

    async def said_of(*statements: str) -> list[str]:
        notices.said.clear()
        async with database.sessions.begin() as session:
            for one in statements:
                await session.exec(sa.text(one))  # type: ignore[call-overload]
        await connection.execute("SELECT 1")
        return notices.said

    try:
        step = f"UPDATE step SET seen = 'x' WHERE build_id = '{build.id}'"
        assert await said_of(step) == ["1"]
        assert await said_of(step, "UPDATE host SET name = 'x' WHERE id = 1") == ["1"]
        assert await said_of("UPDATE build SET trouble = 'x'") == ["1 2"]
        assert await said_of("UPDATE interface SET name = 'x' WHERE host_id = 2") == ["2"]
        assert await said_of(f"UPDATE step SET seen = 'y' WHERE build_id = '{other.id}'") == ["2"]
        assert await said_of("UPDATE host SET name = 'y' WHERE id = 77") == []
        many = (
            "INSERT INTO host (site_id, name, state, state_since, created_at) "
            "SELECT 1, 'many' || n, 'discovered', now(), now() FROM generate_series(1, {}) AS n"
        )
        (few,) = await said_of(many.format(1000))
        assert len(few.split()) == 1000
        assert await said_of("UPDATE host SET state = 'cancelled'") == few_or_all(1002)
        assert await said_of("DELETE FROM host WHERE name LIKE 'many%'", many.format(3000)) == ["*"]
    finally:
        await connection.close()
    assert host.id == 1
    async with database.sessions() as session:
        steps = await session.exec(select(Step.state).where(Step.build_id == build.id))
        assert StepState.PENDING in set(steps)


def few_or_all(count: int) -> list[str]:
    said = " ".join(str(one) for one in range(1, count + 1))
    return [said if len(said) < 8000 else "*"]
