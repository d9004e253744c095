"""Waves beside people and other waves: nobody's host is lost, none waits for another's lock."""

from __future__ import annotations

import asyncio

import pytest
from sqlmodel import select

from inventory import acts, acts_on_waves, builds, hosts, retries, wave_views
from inventory.errors import UnfitHosts, UnknownWave
from inventory.life import Event, HostState
from inventory.models import BuildOutcome, Door, HostGroup, Role, WaveState
from inventory.orders import group_named
from inventory.rights import Actor
from inventory.rule_orders import Outcome, weigh
from inventory.rule_trials import Would, explain
from inventory.scope import Scope
from inventory.wave_draft import Draft
from tests.conftest import Database
from tests.inventory.test_waves import (
    ADA,
    ALL,
    act,
    advance,
    arrive,
    fail,
    row,
    site,
    start,
    under_way,
)
from tests.inventory.world import later, make_rule, seen


async def ends(database: Database, name: str = "spring") -> list[str]:
    async with database.sessions() as session:
        return [one.ended for one in (await wave_views.detail(session, ALL, name)).hosts]


async def provision(database: Database, name: str) -> None:
    async with database.sessions.begin() as session:
        await acts.provision(session, ADA, name, "web", at=later(1))


async def arrived(database: Database, name: str) -> str:
    """A person has a host built, and it is in operation; says how it is called then."""
    await provision(database, name)
    await arrive(database, f"{name}.example.org")
    return f"{name}.example.org"


async def test_a_host_that_a_person_has_built_meanwhile_is_not_installed_again(
    database: Database,
) -> None:
    names = await site(database, 3)
    await start(database, Draft("spring", "web", names))
    await advance(database)
    mine = await arrived(database, names[1])
    (going,) = await under_way(database)
    await arrive(database, going)
    assert await advance(database) == 1
    async with database.sessions() as session:
        host = await hosts.named(session, mine)
        newest = await builds.latest_build(session, host.id)
    assert newest is not None
    assert (host.state, newest.generation) == (HostState.IN_OPERATION, 1)
    assert await ends(database) == ["in operation", "refused", "under way"]


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_has_a_system_is_built_anew_only_where_it_was_wished_for(
    database: Database, cancelled: bool
) -> None:
    names = await site(database, 1)
    mine = await arrived(database, names[0])
    if cancelled:
        # Before its reboot: what is on its disks is there still.
        async with database.sessions.begin() as session:
            await acts.rebuild(session, ADA, mine, at=later(2))
        async with database.sessions.begin() as session:
            host = await acts.cancel(session, ADA, mine, at=later(2))
            build = await builds.current_build(session, host.id)
            assert build is not None
            await hosts.move(session, host, Event.RECORDS_GONE, later(2))
            await builds.close_build(session, build, BuildOutcome.CANCELLED, later(2))
    with pytest.raises(UnfitHosts, match="unless a rebuild is asked for"):
        await start(database, Draft("spring", "web", (mine,)))
    await start(database, Draft("spring", "web", (mine,), rebuild=True))
    assert await advance(database) == 1
    async with database.sessions() as session:
        host = await hosts.named(session, mine)
        again = await builds.current_build(session, host.id)
    assert again is not None
    assert (again.generation, host.state) == (3 if cancelled else 2, HostState.SELECTED)


async def test_what_starts_from_the_network_keeps_the_system_that_it_has(
    database: Database,
) -> None:
    names = await site(database, 1)
    mine = await arrived(database, names[0])
    async with database.sessions.begin() as session:
        await acts.rebuild(session, ADA, mine, at=later(2))
    async with database.sessions.begin() as session:
        host = await acts.cancel(session, ADA, mine, at=later(2))
        build = await builds.current_build(session, host.id)
        assert build is not None
        await hosts.move(session, host, Event.RECORDS_GONE, later(2))
        await builds.close_build(session, build, BuildOutcome.CANCELLED, later(2))
    async with database.sessions.begin() as session:
        host, _, _ = await hosts.discover(session, seen(1), site_id=None, at=later(3))
        assert host.state is HostState.DISCOVERED
    with pytest.raises(UnfitHosts, match="unless a rebuild is asked for"):
        await start(database, Draft("spring", "web", (mine,)))
    async with database.sessions.begin() as session:
        await make_rule(session, await group_named(session, "web"))
    async with database.sessions.begin() as session:
        told = await weigh(session, host.id, at=later(4))
        (said,) = await explain(session, host)
    assert (said.verdict, said.chosen) == (Would.LEAVES, False)
    assert told.outcome is Outcome.ELSEWHERE
    assert "it has a system" in told.words


async def test_a_host_that_somebody_makes_something_else_of_is_left_to_them(
    database: Database,
) -> None:
    names = await site(database, 2)
    async with database.sessions.begin() as session:
        web = await group_named(session, "web")
        session.add(HostGroup(**(web.model_dump(exclude={"id"}) | {"name": "db"})))
    await start(database, Draft("spring", "web", names[:2]))
    await advance(database)
    async with database.sessions.begin() as session:
        host = await acts.provision(session, ADA, names[1], "db", as_name="db1", at=later(2))
    await fail(database, host.name, after=1)
    for one in await under_way(database):
        await arrive(database, one)
    assert await advance(database) == 0
    async with database.sessions() as session:
        found = await wave_views.detail(session, ALL, "spring")
        build = await builds.current_build(session, host.id)
    assert found.hosts[1].ended == "refused"
    assert "another host group" in found.hosts[1].reason
    assert build is not None
    assert build.generation == 1


async def test_a_wave_over_hosts_of_other_groups_is_nobodys_who_is_limited(
    database: Database,
) -> None:
    names = await site(database, 1)
    mine = await arrived(database, names[0])
    async with database.sessions.begin() as session:
        web = await group_named(session, "web")
        db = HostGroup(**(web.model_dump(exclude={"id"}) | {"name": "db"}))
        session.add(db)
        await session.flush()
        host = await hosts.named(session, mine)
        host.host_group_id = db.id
    await start(database, Draft("spring", "web", (mine,), rebuild=True))
    limited = Scope(host_groups=frozenset({"web"}))
    async with database.sessions() as session:
        assert (await wave_views.overview(session, limited)).waves == []
        with pytest.raises(UnknownWave):
            await acts_on_waves.pause(
                session, Actor("eve", Door.API, Role.OPERATOR, limited), "spring", at=later(2)
            )
        assert len((await wave_views.overview(session, ALL)).waves) == 1


@pytest.mark.parametrize("had", ["nothing", "a system"])
async def test_also_a_rebuild_takes_no_host_that_was_built_since_it_waits(
    database: Database, had: str
) -> None:
    names = await site(database, 3)
    second = names[1] if had == "nothing" else await arrived(database, names[1])
    await start(database, Draft("spring", "web", (names[0], second, names[2]), rebuild=True))
    await advance(database)
    if had == "nothing":
        mine = await arrived(database, second)
    else:
        async with database.sessions.begin() as session:
            await acts.rebuild(session, ADA, second, at=later(2))
        await arrive(database, mine := second)
    for one in await under_way(database):
        await arrive(database, one)
    assert await advance(database) == 1
    async with database.sessions() as session:
        found = await wave_views.detail(session, ALL, "spring")
        assert (await hosts.named(session, mine)).state is HostState.IN_OPERATION
    assert [one.ended for one in found.hosts] == ["in operation", "refused", "under way"]
    assert "after it had come into the wave" in found.hosts[1].reason


async def test_a_batch_of_which_nobody_was_tried_opens_no_larger_one(database: Database) -> None:
    names = await site(database, 9)
    await start(database, Draft("spring", "web", names, canary=2, growth=4))
    for one in names[:3]:
        await provision(database, one)
    assert await advance(database) + await advance(database) == 1
    assert await ends(database) == [*["refused"] * 3, "under way", *["waiting"] * 5]
    await arrive(database, f"{names[3]}.example.org")
    assert await advance(database) == 5
    assert (await row(database)).batch == 1


async def test_waves_take_turns_where_there_is_little_room(database: Database) -> None:
    names = await site(database, 12)
    for name, some in (("one", names[:6]), ("two", names[6:])):
        await start(database, Draft(name, "web", some, canary=6, per_subnet=2))
    turns = list[tuple[int, int]]()
    for _ in range(5):
        await advance(database)
        turns.append(((await row(database, "one")).waiting, (await row(database, "two")).waiting))
        for one in await under_way(database):
            await arrive(database, one)
    assert all(abs(one - two) <= 1 for one, two in turns), turns


async def test_a_host_that_somebody_has_in_hand_is_not_waited_for(database: Database) -> None:
    names = await site(database, 3)
    await start(database, Draft("spring", "web", names, canary=3))
    async with database.sessions.begin() as session:
        host = await hosts.named(session, names[0])
        await hosts.lock_host(session, host.id)
        async with asyncio.timeout(5):
            assert await advance(database) == 2
    assert await ends(database) == ["waiting", "under way", "under way"]
    assert await advance(database) == 1


async def test_what_all_hosts_need_is_not_waited_for_once_for_each(database: Database) -> None:
    names = await site(database, 8)
    await start(database, Draft("spring", "web", names, canary=8))
    async with database.sessions.begin() as session:
        await session.exec(select(HostGroup).with_for_update())
        async with asyncio.timeout(2):
            assert await advance(database) == 0
    assert await advance(database) == 8


async def test_one_transaction_orders_some_hosts_only(database: Database) -> None:
    names = await site(database, 30)
    await start(database, Draft("spring", "web", names, canary=30))
    first = await advance(database)
    assert 0 < first <= 20
    assert first + await advance(database) == 30


async def test_hosts_of_paused_waves_are_not_read(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    names = await site(database, 2)
    await start(database, Draft("spring", "web", names))
    await advance(database)
    await act(database, "pause")
    caplog.set_level("INFO", "sqlalchemy.engine.Engine")
    await advance(database)
    said = [one.getMessage() for one in caplog.records if "FROM wave" in one.getMessage()]
    assert len(said) == 1, said
    assert "wavehost" not in said[0]


@pytest.mark.parametrize("again", ["retry", "rebuild"])
async def test_a_held_host_that_a_person_helps_into_operation_is_good(
    database: Database, again: str
) -> None:
    names = await site(database, 2)
    await start(database, Draft("spring", "web", names[:1], failure_share=0))
    await advance(database)
    (going,) = await under_way(database)
    await fail(database, going, after=3)
    await advance(database)
    assert (await row(database)).state is WaveState.STOPPED
    async with database.sessions.begin() as session:
        if again == "rebuild":
            await acts.rebuild(session, ADA, going, at=later(3))
        else:
            host = await hosts.named(session, going)
            build = await builds.current_build(session, host.id)
            assert build is not None
            await retries.resume(session, host, build, at=later(3))
    assert await ends(database) == ["under way"]
    await arrive(database, going)
    assert await ends(database) == ["in operation"]
    await act(database, "go_on")
    await advance(database)
    done = await row(database)
    assert (done.state, done.good, done.failed, done.share) == (WaveState.DONE, 1, 0, 0)


async def test_forgiven_failures_count_in_no_share(database: Database) -> None:
    names = await site(database, 3)
    await start(database, Draft("spring", "web", names, failure_share=0))
    await advance(database)
    (going,) = await under_way(database)
    await fail(database, going)
    await advance(database)
    assert (await row(database)).share == 1
    await act(database, "go_on")
    forgiven = await row(database)
    assert (forgiven.failed, forgiven.share) == (1, 0)
