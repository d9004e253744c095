"""Hosts that are late: held with what was awaited, and waited for anew when a person says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from inventory import hosts
from inventory.builds import close_build
from inventory.fleet import everyone
from inventory.life import HostState
from inventory.models import Build, BuildOutcome, CallbackKind, Step, now
from tasks.attend import hold_overdue, mark_slow
from tasks.means import use
from tests.flows.bench import Bench

pytestmark = pytest.mark.usefixtures("bare")
WAITING = (HostState.REBOOTING, HostState.INSTALLING, HostState.FIRST_BOOT)


async def late(bench: Bench, state: HostState) -> str:
    name = await bench.at(1, state)
    await bench.change(Build, deadline=now() - timedelta(seconds=1))
    return name


@pytest.mark.parametrize("state", WAITING)
async def test_a_host_that_is_overdue_is_held_with_what_was_awaited(
    bench: Bench, state: HostState
) -> None:
    name = await late(bench, state)
    (said,) = await hold_overdue.fn()
    build = await bench.build(name)
    assert (await bench.host(name)).state is HostState.HELD
    assert build.held_reason == said
    assert f"{name} is overdue" in said
    assert "did not come before" in said
    assert "seen last:" in said
    assert await hold_overdue.fn() == []


@pytest.mark.parametrize("state", WAITING)
async def test_a_retry_waits_anew_and_runs_nothing_that_would_undo_its_way(
    bench: Bench, state: HostState
) -> None:
    name = await late(bench, state)
    await hold_overdue.fn()
    assert await bench.retry(name) is None
    assert (await bench.host(name)).state is state
    deadline = (await bench.build(name)).deadline
    assert deadline is not None
    assert deadline > now()
    assert await hold_overdue.fn() == []


async def test_hosts_that_are_in_time_or_in_our_hands_are_left_alone(bench: Bench) -> None:
    in_time = await bench.at(1, HostState.INSTALLING)
    await bench.change(Build, deadline=now() + timedelta(seconds=60))
    ours = await bench.at(2, HostState.INSTALLED)
    assert await hold_overdue.fn() == []
    assert (await bench.host(in_time)).state is HostState.INSTALLING
    assert (await bench.host(ours)).state is HostState.INSTALLED


async def test_a_report_that_came_while_it_was_held_is_not_lost(bench: Bench) -> None:
    name = await late(bench, HostState.FIRST_BOOT)
    await hold_overdue.fn()
    await bench.told(name, CallbackKind.REPORT)
    assert await bench.retry(name) is not None


async def test_a_host_that_came_at_the_last_moment_is_not_held(bench: Bench) -> None:
    name = await late(bench, HostState.INSTALLING)
    looks = [now(), now() - timedelta(minutes=1)]
    # Overdue when all are looked at, in time when it is its turn.
    use(replace(bench.means, clock=lambda: looks.pop(0)))
    assert await hold_overdue.fn() == []
    assert (await bench.host(name)).state is HostState.INSTALLING


async def history(bench: Bench, count: int, seconds: float) -> None:
    """Builds of the group that have gone well, each installed in so many seconds."""
    for number in range(10, 10 + count):
        name = await bench.at(number, HostState.FIRST_BOOT)
        build = await bench.build(name)
        async with bench.database.sessions.begin() as session:
            began = now() - timedelta(hours=1)
            for step, after in ((17, 0.0), (20, 10.0), (27, 10 + seconds), (29, 12 + seconds)):
                row = await session.get_one(Step, (build.id, step))
                row.ended_at = began + timedelta(seconds=after)
            closed = await session.get_one(Build, build.id)
            await close_build(
                session,
                closed,
                BuildOutcome.IN_OPERATION,
                began + timedelta(seconds=20 + seconds),
            )


def at_later(bench: Bench, seconds: float) -> None:
    use(replace(bench.means, clock=lambda: now() + timedelta(seconds=seconds)))


async def test_a_host_slower_than_its_kind_usually_is_is_marked_and_not_held(bench: Bench) -> None:
    await history(bench, 6, seconds=100)
    name = await bench.at(1, HostState.INSTALLING)
    at_later(bench, 150)
    assert await mark_slow.fn() == []
    at_later(bench, 200)
    (said,) = await mark_slow.fn()
    # Nothing but the kickstart has been seen of it, so the lease is awaited first.
    assert said.startswith(f"{name} waits for 3 min for: 18 Host → DHCP")
    assert "of the last 6 hosts of its group 95 in 100 took 100 s at most" in said
    assert (await bench.host(name)).state is HostState.INSTALLING
    # Said once; and no more once the host has gone on.
    assert await mark_slow.fn() == []
    async with bench.database.sessions() as session:
        assert [one.trouble for one in await everyone(session, name)] == [
            said.removeprefix(f"{name} ")
        ]
    await bench.advance(name, HostState.FIRST_BOOT)
    async with bench.database.sessions.begin() as session:
        host = await hosts.named(session, name)
        host.state_since = now() + timedelta(seconds=300)
    async with bench.database.sessions() as session:
        assert [one.trouble for one in await everyone(session, name)] == [None]


async def test_too_few_builds_say_nothing_of_what_is_usual(bench: Bench) -> None:
    await history(bench, 4, seconds=1)
    await bench.at(1, HostState.INSTALLING)
    at_later(bench, 10_000)
    assert await mark_slow.fn() == []
