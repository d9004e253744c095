"""Sees to hosts that are late; every wait has a deadline in the inventory."""

from __future__ import annotations

from uuid import UUID

from prefect import task
from sqlmodel import col, select

from inventory import builds, callbacks, hosts, orders, steps
from inventory.arrows import PROFILED, Phase, arrow
from inventory.database import AsyncSession
from inventory.life import WAITS_FOR_HOST, HostState
from inventory.models import Build, CallbackKind, Host, Step, StepState
from tasks.means import means

__all__ = ["hold_overdue"]

_MOST = 500


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
        if await orders.has_spoken(session, build):
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
