"""Sees to hosts that are late; every wait has a deadline in the inventory."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from prefect import task
from sqlmodel import col, select

from inventory import builds, callbacks, hosts, retries, steps
from inventory.arrows import PROFILED, Phase, arrow
from inventory.database import AsyncSession
from inventory.durations import Usual, usual
from inventory.life import WAITS_FOR_HOST, HostState
from inventory.models import Build, CallbackKind, Host, Step, StepState
from tasks.means import means

__all__ = ["hold_overdue", "mark_slow"]

_MOST = 500
_SLOW = 1.5
"""A host is slow that takes so much longer than ninety-five of a hundred,"""
_SOME = timedelta(seconds=30)
"""and so much besides: where all are quick, a few seconds mean nothing."""


@task(name="Hold hosts that are overdue", persist_result=False)
async def hold_overdue() -> list[str]:
    """Hold each host that has kept us waiting past its deadline; says so of each."""
    m = means()
    async with m.sessions() as session:
        late = await session.exec(
            select(Build.id, Host.id)
            .join(Host, col(Host.id) == col(Build.host_id))
            .where(
                col(Build.closed_at).is_(None),
                col(Build.deadline) < m.clock(),
                col(Host.state).in_(WAITS_FOR_HOST),
            )
            .limit(_MOST)
        )
        said = []
    for build_id, host_id in late:
        async with m.sessions.begin() as session:
            sentence = await _hold(session, build_id, host_id)
        if sentence is not None:
            said.append(sentence)
    return said


@task(name="Mark hosts that are slower than usual", persist_result=False)
async def mark_slow() -> list[str]:
    """Say of each host that is waited for, and slower than its kind usually is, at which step.

    Long before its deadline, and without holding it. What has gone on meanwhile is marked no more.

    Returns:
        A sentence for each host that is marked now and was not before.
    """
    m = means()
    said = []
    async with m.sessions() as session:
        found = await session.exec(
            select(Build.id, Host.id, Host.state, Build.host_group_id)
            .join(Host, col(Host.id) == col(Build.host_id))
            .where(
                col(Build.closed_at).is_(None),
                col(Host.state).in_(WAITS_FOR_HOST),
                sa.or_(
                    col(Build.trouble_since).is_(None),
                    col(Build.trouble_since) < col(Host.state_since),
                ),
            )
            .limit(_MOST)
        )
        waiting = found.all()
        kinds = {(group, HostState(state)) for _, _, state, group in waiting if group is not None}
        times = {kind: await usual(session, *kind) for kind in kinds}
    for build_id, host_id, state, group in waiting:
        time = times.get((group, HostState(state))) if group is not None else None
        if time is None:
            continue
        async with m.sessions.begin() as session:
            sentence = await _mark(session, build_id, host_id, HostState(state), time)
        if sentence is not None:
            said.append(sentence)
    return said


async def _mark(
    session: AsyncSession, build_id: UUID, host_id: int, state: HostState, time: Usual
) -> str | None:
    at = means().clock()
    host = await hosts.lock_host(session, host_id)
    build = await builds.lock_build(session, build_id)
    waited = at - host.state_since
    if host.state is not state or waited <= time.time * _SLOW + _SOME:
        return None
    phase = Phase.FIRST_BOOT if state is HostState.FIRST_BOOT else Phase.ANACONDA
    all_steps = (await steps.states(session, [build.id]))[build.id].values()
    _, awaited, last = _awaited(phase, list(all_steps))
    build.trouble_since = at
    build.trouble = (
        f"waits for {_minutes(waited)} for: {awaited}; of the last {time.builds} hosts of its group"
        f" 95 in 100 took {_minutes(time.time)} at most; seen last: {last}"
    )
    return f"{host.name} {build.trouble}"


def _minutes(time: timedelta) -> str:
    seconds = round(time.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


async def _hold(session: AsyncSession, build_id: UUID, host_id: int) -> str | None:
    m = means()
    host = await hosts.lock_host(session, host_id)
    build = await builds.lock_build(session, build_id)
    waits = build.closed_at is None and host.state in WAITS_FOR_HOST
    if not waits or build.deadline is None or build.deadline >= m.clock():
        # It has come, or was given more time, since we looked.
        return None
    name, phase, heard = host.name, Phase.ANACONDA, set[int]()
    if host.state is HostState.FIRST_BOOT:
        if await retries.has_spoken(session, build):
            return None  # late, but here: it is our turn
        phase = Phase.FIRST_BOOT
        if await callbacks.latest(session, build.id, CallbackKind.REPORT) is not None:
            heard.add(30)
    all_steps = (await steps.states(session, [build.id]))[build.id].values()
    step, awaited, last = _awaited(phase, [one for one in all_steps if one.number not in heard])
    reason = f"{name} is overdue: {awaited} did not come"
    reason += f" before {build.deadline:%Y-%m-%d %H:%M} UTC; seen last: {last}"
    await builds.hold(
        session,
        build,
        step=step,
        reason=reason,
        advice="Look at the machine's console; retry, which waits anew, and start it again.",
        at=m.clock(),
    )
    return reason


def _awaited(phase: Phase, all_steps: list[Step]) -> tuple[int | None, str, str]:
    # Of this phase only: a host that is built anew was never discovered in this build.
    # Packages may have been reported in the installer, and must be in the first boot.
    late = (23, *PROFILED) if phase is Phase.FIRST_BOOT else ()
    open_steps = [
        one
        for one in all_steps
        if one.state in (StepState.PENDING, StepState.RUNNING)
        and (arrow(one.number).phase is phase or one.number in late)
    ]
    # What the first boot itself brings is missed first.
    open_steps.sort(key=lambda one: (one.number in late, one.number))
    ended = [one for one in all_steps if one.ended_at is not None]
    last = max(ended, key=lambda one: (one.ended_at, one.number), default=None)
    step = open_steps[0].number if open_steps else None
    awaited = arrow(step).label if step is not None else "its next call"
    if open_steps and open_steps[0].seen:
        awaited += f" ({open_steps[0].seen})"
    seen = f"{arrow(last.number).label}, {last.ended_at:%H:%M:%S}" if last else "nothing"
    return step, awaited, seen
