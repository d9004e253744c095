"""Waves: the canary alone, batches that grow, limits that hold, and a stop in time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from inventory import (
    acts,
    acts_on_waves,
    builds,
    hosts,
    retries,
    wave_advance,
    wave_views,
)
from inventory.errors import (
    Forbidden,
    InventoryError,
    UnfitHosts,
    UnknownWave,
    WaveExists,
    WrongTime,
)
from inventory.models import (
    AuditEntry,
    Build,
    BuildOutcome,
    Door,
    Host,
    HostGroup,
    InstallTree,
    Pulp,
    Role,
    Site,
    Subnet,
    Wave,
    WaveHost,
    WaveState,
)
from inventory.rights import Actor
from inventory.scope import Scope
from inventory.wave_advance import batch_size
from inventory.wave_draft import Draft
from inventory.wave_room import UNDER_WAY
from inventory.wave_rows import WaveRow
from tests.conftest import Database
from tests.inventory.world import WAY, later, make_group, seen

ADA = Actor("ada", Door.CONSOLE, Role.OPERATOR)
ALL = Scope()


async def site(database: Database, count: int) -> tuple[str, ...]:
    """A site with so many discovered hosts; says their names."""
    async with database.sessions.begin() as session:
        await make_group(session)
        return tuple(
            [
                (await hosts.discover(session, seen(one), site_id=None, at=later(0)))[0].name
                for one in range(1, count + 1)
            ]
        )


async def start(database: Database, draft: Draft, actor: Actor = ADA) -> None:
    async with database.sessions.begin() as session:
        await acts_on_waves.start(session, actor, draft, at=later(1))


async def advance(database: Database) -> int:
    async with database.sessions.begin() as session:
        return await wave_advance.advance(session, later(2))


async def row(database: Database, name: str = "spring") -> WaveRow:
    async with database.sessions() as session:
        return (await wave_views.detail(session, ALL, name)).wave


async def under_way(database: Database) -> list[str]:
    async with database.sessions() as session:
        states = col(Host.state).in_(UNDER_WAY)
        return list(await session.exec(select(Host.name).where(states).order_by(col(Host.id))))


async def arrive(database: Database, name: str) -> None:
    """A host that is under way goes into operation."""
    async with database.sessions.begin() as session:
        host = await hosts.named(session, name)
        build = await builds.current_build(session, host.id)
        assert build is not None
        done = [state for _, state in WAY].index(host.state)
        for event, _ in WAY[done + 1 :]:
            await hosts.move(session, host, event, later(3))
        await builds.close_build(session, build, BuildOutcome.IN_OPERATION, later(3))


async def fail(database: Database, name: str, *, after: int = 0, reason: str = "no DHCP") -> None:
    """A host that was just ordered is held, after so many states more of its way."""
    async with database.sessions.begin() as session:
        host = await hosts.named(session, name)
        build = await builds.current_build(session, host.id)
        assert build is not None
        for event, _ in WAY[1 : after + 1]:
            await hosts.move(session, host, event, later(3))
        await builds.hold(session, build, step=8, reason=reason, advice="See to it.", at=later(3))


async def act(database: Database, what: str, actor: Actor = ADA, name: str = "spring") -> None:
    async with database.sessions.begin() as session:
        await getattr(acts_on_waves, what)(session, actor, name, at=later(4))


def wave(canary: int, growth: float, largest: int) -> Wave:
    return Wave(
        name="spring",
        host_group_id=1,
        canary=canary,
        growth=growth,
        largest=largest,
        failure_share=0.1,
        per_subnet=0,
        per_boot_server=0,
        per_pulp=0,
        asked_by="ada",
    )


def test_batches_grow_to_their_limit() -> None:
    assert [batch_size(wave(1, 2, 6), one, 100) for one in range(5)] == [1, 2, 4, 6, 6]
    assert [batch_size(wave(10, 1.1, 0), one, 100) for one in range(3)] == [10, 11, 13]
    assert [batch_size(wave(3, 1, 0), one, 100) for one in (0, 10**9)] == [3, 3]
    assert [batch_size(wave(3, 1e308, 0), one, 20) for one in (0, 1, 10**9)] == [3, 20, 20]


async def test_the_canary_goes_alone_and_each_batch_waits_for_the_one_before(
    database: Database,
) -> None:
    names = await site(database, 7)
    assert await advance(database) == 0
    await start(database, Draft("spring", "web", names))
    sizes = []
    while (await row(database)).state is WaveState.RUNNING:
        ordered = await advance(database)
        going = await under_way(database)
        assert ordered == len(going)
        if going:
            sizes.append(ordered)
            for one in going[1:]:
                await arrive(database, one)
            assert await advance(database) == 0, "the batch is not settled"
            await arrive(database, going[0])
    assert sizes == [1, 2, 4]
    done = await row(database)
    assert (done.state, done.good, done.waiting, done.batch) == (WaveState.DONE, 7, 0, 2)
    assert (done.ended_at, done.progress) == (later(2), 100)
    async with database.sessions() as session:
        asked = set(await session.exec(select(Build.asked_by)))
        free = await session.exec(select(WaveHost).where(col(WaveHost.let_go_at).is_(None)))
        assert (asked, free.all()) == ({"wave spring"}, [])


async def test_too_many_failures_stop_it_until_a_person_forgives_them(database: Database) -> None:
    names = await site(database, 7)
    await start(database, Draft("spring", "web", names, canary=2, failure_share=0.5))
    await advance(database)
    first, second = await under_way(database)
    await fail(database, first)
    await arrive(database, second)
    assert await advance(database) == 4, "half of them may fail"
    going = await under_way(database)
    await fail(database, going[0])
    await fail(database, going[1])
    assert await advance(database) == 0
    stopped = await row(database)
    assert (stopped.state, stopped.failed, stopped.under_way) == (WaveState.STOPPED, 3, 2)
    assert stopped.why.startswith("3 of 4 hosts failed, and 50% may: ")
    assert f"{first}: no DHCP" in stopped.why
    assert await under_way(database) == going[2:]
    for one in going[2:]:
        await arrive(database, one)
    assert await advance(database) == 0
    await act(database, "go_on")
    assert await advance(database) == 1
    async with database.sessions() as session:
        found = await wave_views.detail(session, ALL, "spring")
    assert [one.forgiven for one in found.hosts].count(True) == 3
    assert (found.wave.state, found.wave.why) == (WaveState.RUNNING, "")


async def test_where_none_may_fail_the_first_failure_stops_it(
    database: Database,
) -> None:
    names = await site(database, 3)
    await start(database, Draft("spring", "web", names, failure_share=0))
    await advance(database)
    (going,) = await under_way(database)
    await fail(database, going)
    await advance(database)
    assert (await row(database)).state is WaveState.STOPPED


async def test_a_failed_host_that_is_retried_counts_as_good_again(database: Database) -> None:
    names = await site(database, 2)
    await start(database, Draft("spring", "web", names, failure_share=1))
    await advance(database)
    going = await under_way(database)
    await fail(database, going[0])
    assert await advance(database) == 1
    assert (await row(database)).failed == 1
    async with database.sessions.begin() as session:
        host = await hosts.named(session, going[0])
        build = await builds.current_build(session, host.id)
        assert build is not None
        await retries.resume(session, host, build, at=later(3))
    await advance(database)
    async with database.sessions() as session:
        ends = [one.ended for one in (await wave_views.detail(session, ALL, "spring")).hosts]
    assert ends == ["under way", "under way"]
    for one in await under_way(database):
        await arrive(database, one)
    await advance(database)
    done = await row(database)
    assert (done.state, done.good, done.failed, done.share) == (WaveState.DONE, 2, 0, 0)


async def test_a_host_whose_build_is_given_up_has_failed(database: Database) -> None:
    names = await site(database, 2)
    await start(database, Draft("spring", "web", names, failure_share=0))
    await advance(database)
    (going,) = await under_way(database)
    async with database.sessions.begin() as session:
        await acts.cancel(session, ADA, going, why="wrong rack", at=later(3))
    assert await advance(database) == 0
    stopped = await row(database)
    assert (stopped.state, "wrong rack" in stopped.why) == (WaveState.STOPPED, True)


async def test_a_paused_wave_orders_nothing_and_then_goes_on(database: Database) -> None:
    names = await site(database, 3)
    await start(database, Draft("spring", "web", names))
    await advance(database)
    await act(database, "pause")
    (going,) = await under_way(database)
    await arrive(database, going)
    assert await advance(database) == 0
    paused = await row(database)
    assert (paused.state, paused.good, paused.waiting) == (WaveState.PAUSED, 1, 2)
    with pytest.raises(WrongTime, match="it must be running"):
        await act(database, "pause")
    await act(database, "go_on")
    assert await advance(database) == 2
    with pytest.raises(WrongTime, match="is running"):
        await act(database, "go_on")


async def test_a_cancelled_wave_lets_go_of_the_hosts_that_are_not_ordered(
    database: Database,
) -> None:
    names = await site(database, 3)
    await start(database, Draft("spring", "web", names))
    with pytest.raises(UnfitHosts, match="is in the wave spring"):
        await start(database, Draft("summer", "web", names[1:]))
    await advance(database)
    await act(database, "cancel")
    assert await advance(database) == 0
    cancelled = await row(database)
    assert (cancelled.under_way, cancelled.let_go, cancelled.waiting) == (1, 2, 0)
    assert cancelled.ended_at is None
    await start(database, Draft("summer", "web", names[1:]))
    (going,) = await under_way(database)
    await arrive(database, going)
    assert await advance(database) == 1
    ended = await row(database)
    assert (ended.good, ended.ended_at, ended.state) == (1, later(2), WaveState.CANCELLED)
    with pytest.raises(WrongTime, match="is cancelled"):
        await act(database, "go_on")


async def test_a_refused_host_is_an_outcome_and_no_end(database: Database) -> None:
    names = await site(database, 4)
    await start(database, Draft("spring", "web", names, canary=3, failure_share=0))
    async with database.sessions.begin() as session:
        await acts.provision(session, ADA, names[1], "web", as_name="taken", at=later(1))
    assert await advance(database) == 2
    for one in await under_way(database):
        await arrive(database, one)
    assert await advance(database) == 1
    async with database.sessions() as session:
        found = await wave_views.detail(session, ALL, "spring")
    assert [one.ended for one in found.hosts] == [
        "in operation",
        "refused",
        "in operation",
        "under way",
    ]
    assert "is selected; it can be provisioned when" in found.hosts[1].reason
    assert (found.wave.refused, found.wave.failed, found.wave.batch) == (1, 0, 1)


async def test_nothing_is_made_when_some_hosts_cannot_be_in_it(database: Database) -> None:
    names = await site(database, 3)
    async with database.sessions.begin() as session:
        await acts.provision(session, ADA, names[2], "web", as_name="busy", at=later(1))
    wrong = (names[0], "nobody", "busy.example.org", names[1], names[1], names[0].upper())
    with pytest.raises(UnfitHosts) as refused:
        await start(database, Draft("spring", "web", wrong))
    said = str(refused.value).splitlines()
    assert said[0].endswith("4 of its hosts cannot be in it")
    assert "there is no host 'nobody'" in said[1]
    assert "busy.example.org is selected" in said[2]
    assert "named 2 times" in said[3]
    assert "spelt in two ways" in said[4]
    async with database.sessions() as session:
        assert (await session.exec(select(Wave))).all() == []
        assert (await session.exec(select(WaveHost))).all() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "Spring!"}, "is no name"),
        ({"hosts": ()}, "has no hosts"),
        ({"canary": 0}, "canary is 0"),
        ({"growth": 0.5}, "growth is 0.5"),
        ({"growth": float("nan")}, "growth is nan"),
        ({"failure_share": 1.1}, "share of failures is 1.1"),
        ({"failure_share": float("nan")}, "share of failures is nan"),
        ({"per_pulp": -1}, "the limit per Pulp is -1"),
        ({"largest": 2**40}, "the largest batch is"),
        ({"canary": 5, "largest": 3}, "larger than the largest batch"),
        ({"host_group": "none"}, "there is no host group 'none'"),
    ],
)
async def test_a_draft_that_makes_no_sense_is_refused(
    database: Database, change: dict[str, object], said: str
) -> None:
    names = await site(database, 1)
    draft = replace(Draft("spring", "web", names), **change)  # type: ignore[arg-type]
    with pytest.raises(InventoryError, match=said):
        await start(database, draft)


async def test_two_waves_of_one_name_or_with_one_host_at_the_same_moment(
    database: Database,
) -> None:
    names = await site(database, 2)
    for drafts in (
        [Draft("spring", "web", names[:1]), Draft("spring", "web", names[1:])],
        [Draft("one", "web", names[1:]), Draft("two", "web", names[1:])],
    ):
        told = await asyncio.gather(
            *(start(database, one) for one in drafts), return_exceptions=True
        )
        assert [type(one) for one in told if one is not None] in ([WaveExists], [UnfitHosts])
        async with database.sessions.begin() as session:
            await session.exec(sa.delete(WaveHost))


async def test_waves_are_for_operators_within_their_limits(database: Database) -> None:
    names = await site(database, 2)
    async with database.sessions.begin() as session:
        session.add(Site(name="far", gateway_url="http://192.0.2.3:8000"))
    draft = Draft("spring", "web", names)
    with pytest.raises(Forbidden, match="operator"):
        await start(database, draft, replace(ADA, role=Role.VIEWER))
    with pytest.raises(Forbidden, match="db only"):
        await start(database, draft, replace(ADA, scope=Scope(host_groups=frozenset({"db"}))))
    elsewhere = Scope(sites=frozenset({"far"}))
    with pytest.raises(UnfitHosts, match="there is no host"):
        await start(database, draft, replace(ADA, scope=elsewhere))
    await start(database, draft)
    for scope in (elsewhere, Scope(host_groups=frozenset({"db"}))):
        for what in ("pause", "go_on", "cancel"):
            with pytest.raises(UnknownWave):
                await act(database, what, replace(ADA, scope=scope))
        async with database.sessions() as session:
            assert (await wave_views.overview(session, scope)).waves == []
            with pytest.raises(UnknownWave):
                await wave_views.detail(session, scope, "spring")
    with pytest.raises(Forbidden):
        await act(database, "pause", replace(ADA, role=Role.VIEWER))
    await act(database, "pause", replace(ADA, scope=Scope(sites=frozenset({"lab"}))))
    async with database.sessions() as session:
        found = await session.exec(select(AuditEntry).order_by(col(AuditEntry.id)))
        log = [(one.action, one.about, one.who) for one in found]
    assert log == [("start", "wave spring", "ada"), ("pause", "wave spring", "ada")]


async def two_groups(database: Database, count: int) -> tuple[str, ...]:
    """Groups in subnets of their own, with one boot server and one Pulp."""
    names = await site(database, count)
    async with database.sessions.begin() as session:
        pulp = Pulp(name="pulp", url="https://pulp.example.org", credentials="pulp")
        session.add(pulp)
        await session.flush()
        tree = (await session.exec(select(InstallTree))).one()
        tree.url, tree.pulp_id, tree.base_path = None, pulp.id, "tree"
        lan = (await session.exec(select(Subnet))).one()
        more = {"id": None, "name": "lan2", "network": "198.51.100.0/24"}
        second = Subnet(**(lan.model_dump() | more))
        session.add(second)
        await session.flush()
        web = (await session.exec(select(HostGroup))).one()
        group = {"id": None, "name": "db", "subnet_id": second.id}
        session.add(HostGroup(**(web.model_dump() | group)))
    return names


async def going_by_group(database: Database) -> Counter[str]:
    async with database.sessions() as session:
        found = await session.exec(
            select(HostGroup.name)
            .join(Host, col(Host.host_group_id) == col(HostGroup.id))
            .where(col(Host.state).in_(UNDER_WAY))
        )
        return Counter(found)


@pytest.mark.parametrize("seed", range(3))
async def test_limits_hold_and_each_host_is_ordered_once_whoever_takes_waves_on(
    database: Database, seed: int
) -> None:
    chance = random.Random(seed)
    names = await two_groups(database, 24)
    limits = {"per_subnet": 4, "per_boot_server": 6, "per_pulp": 5, "failure_share": 1.0}
    for name, group, some in (
        ("one", "web", names[:9]),
        ("two", "web", names[9:15]),
        ("three", "db", names[15:23]),
    ):
        await start(database, Draft(name, group, some, canary=2, growth=3, **limits))  # type: ignore[arg-type]
    async with database.sessions.begin() as session:
        await acts.provision(session, ADA, names[23], "web", as_name="single", at=later(1))
    most, ordered = 0, 0
    for _ in range(200):
        ordered += sum(await asyncio.gather(*(advance(database) for _ in range(5))))
        going = await going_by_group(database)
        most = max(most, going.total())
        assert going.total() <= 5, f"seed {seed}"
        assert max(going.values(), default=0) <= 4, f"seed {seed}"
        for one in await under_way(database):
            match chance.choice(("goes on", "goes on", "arrives", "arrives", "fails")):
                case "arrives":
                    await arrive(database, one)
                case "fails":
                    await fail(database, one)
        async with database.sessions() as session:
            if all(
                one.state is WaveState.DONE
                for one in (await wave_views.overview(session, ALL)).waves
            ):
                break
    else:
        pytest.fail(f"seed {seed}: the waves do not end")
    assert (ordered, most) == (23, 5), f"seed {seed}"
    async with database.sessions() as session:
        by_waves = await session.exec(select(Build).where(col(Build.asked_by).startswith("wave ")))
        assert len(by_waves.all()) == 23
        shown = (await wave_views.overview(session, ALL)).waves
    assert sum(one.good + one.failed for one in shown) == 23
    assert sum(one.refused for one in shown) == 0


async def test_two_dispatchers_with_a_wave_each_do_not_both_find_the_same_room(
    database: Database,
) -> None:
    names = await site(database, 4)
    for name, some in (("one", names[:2]), ("two", names[2:])):
        await start(database, Draft(name, "web", some, canary=2, per_subnet=2))
    async with database.sessions() as first, database.sessions() as second:
        async with database.sessions.begin() as holder:
            await holder.exec(select(Wave).where(Wave.name == "two").with_for_update())
            assert await wave_advance.advance(first, later(2)) == 2
        # What the first has ordered is not to be seen yet.
        assert await wave_advance.advance(second, later(2)) == 0
        await first.commit()
        await second.commit()
    assert await advance(database) == 0
    for one in await under_way(database):
        await arrive(database, one)
    assert await advance(database) == 2
