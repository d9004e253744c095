"""Hosts that are late: held with what was awaited, and waited for anew when a person says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from inventory.life import HostState
from inventory.models import Build, CallbackKind, now
from tasks.attend import hold_overdue
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
