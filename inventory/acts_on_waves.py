"""What operators do to waves, through whichever door: by right, and on record.

    await acts_on_waves.start(session, actor, Draft("spring", "web", ("web01", …)), at=now())

The dispatchers take a wave on with ``wave_advance.advance``.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from inventory import audit, orders, rights
from inventory.built import Built
from inventory.database import CHANNEL_CALLBACKS, CHANNEL_CHANGES, AsyncSession, notify
from inventory.errors import UnknownWave, WaveExists, WrongTime
from inventory.models import Role, Wave, WaveHost, WaveOutcome, WaveState
from inventory.rights import Actor
from inventory.wave_admission import admit
from inventory.wave_advance import let_go
from inventory.wave_draft import Draft, require_sound
from inventory.wave_outcomes import settle
from inventory.wave_views import within

__all__ = ["MAY_BE", "cancel", "go_on", "pause", "start"]

MAY_BE: dict[str, frozenset[WaveState]] = {
    "pause": frozenset({WaveState.RUNNING}),
    "go_on": frozenset({WaveState.PAUSED, WaveState.STOPPED}),
    "cancel": frozenset({WaveState.RUNNING, WaveState.PAUSED, WaveState.STOPPED}),
}
"""In which states a wave may be paused, go on, and be cancelled."""


async def start(session: AsyncSession, actor: Actor, draft: Draft, *, at: datetime) -> Wave:
    """Start a wave: the dispatchers order its canary at once.

    Args:
        session: in the caller's transaction.
        actor: who asks; at least an operator.
        draft: what is wanted.
        at: the present.

    Raises:
        BadWave: the draft makes no sense; all problems.
        UnfitHosts: some hosts cannot be in it; each with its reason.
        InventoryError: they may not, there is no such group, or another wave has the name.
    """
    rights.require(actor, Role.OPERATOR)
    rights.require_group(actor, draft.host_group)
    require_sound(draft)
    group = await orders.group_named(session, draft.host_group)
    hosts = await _free(session, actor, draft)
    settings = asdict(draft)
    for one in ("hosts", "host_group"):
        del settings[one]
    wave = Wave(**settings, host_group_id=group.id, asked_by=actor.title, made_at=at)
    try:
        async with session.begin_nested():
            session.add(wave)
            await session.flush()
            # In one order for all: two that start with the same hosts never wait for each other.
            session.add_all(
                WaveHost(wave_id=wave.id, host_id=host, position=position, **asdict(so_far))
                for position, (host, so_far) in sorted(enumerate(hosts), key=lambda one: one[1][0])
            )
            await session.flush()
    except IntegrityError:
        # Another wave took the name or a host at this moment, and can be seen by now.
        await _free(session, actor, draft)
        raise
    await audit.record(session, actor, "start", f"wave {wave.name}", after=asdict(draft), at=at)
    await _tell(session)
    return wave


async def _free(session: AsyncSession, actor: Actor, draft: Draft) -> list[tuple[int, Built]]:
    taken = await session.exec(select(Wave.id).where(Wave.name == draft.name))
    if taken.first() is not None:
        raise WaveExists(draft.name)
    return await admit(session, actor, draft.hosts, rebuild=draft.rebuild)


async def pause(session: AsyncSession, actor: Actor, name: str, *, at: datetime) -> Wave:
    """Order no more hosts of a wave for now; those under way go on.

    Raises:
        InventoryError: it is not known, not theirs, or does not run.
    """
    wave = await _theirs(session, actor, name, MAY_BE["pause"])
    return await _change(session, actor, wave, "pause", WaveState.PAUSED, at)


async def go_on(session: AsyncSession, actor: Actor, name: str, *, at: datetime) -> Wave:
    """Let a wave go on; after it was stopped, the failures so far count no more.

    Raises:
        InventoryError: it is not known, not theirs, or neither paused nor stopped.
    """
    wave = await _theirs(session, actor, name, MAY_BE["go_on"])
    if wave.state is WaveState.STOPPED:
        await settle(session, [wave.id])
        await session.exec(
            sa.update(WaveHost)
            .where(col(WaveHost.wave_id) == wave.id, col(WaveHost.outcome) == WaveOutcome.FAILED)
            .values(forgiven=True)
        )
    return await _change(session, actor, wave, "go on", WaveState.RUNNING, at)


async def cancel(session: AsyncSession, actor: Actor, name: str, *, at: datetime) -> Wave:
    """Let the hosts of a wave go that are not ordered yet; those under way go on.

    Raises:
        InventoryError: it is not known, not theirs, or has ended.
    """
    wave = await _theirs(session, actor, name, MAY_BE["cancel"])
    await let_go(session, wave, at)
    return await _change(session, actor, wave, "cancel", WaveState.CANCELLED, at)


async def _change(
    session: AsyncSession, actor: Actor, wave: Wave, action: str, state: WaveState, at: datetime
) -> Wave:
    before = _values(wave)
    wave.state = state
    wave.why = "" if state is WaveState.RUNNING else f"{actor.title} asked for it"
    about = f"wave {wave.name}"
    await audit.record(session, actor, action, about, before=before, after=_values(wave), at=at)
    await _tell(session)
    return wave


def _values(wave: Wave) -> dict[str, Any]:
    return {"state": wave.state.value, "why": wave.why}


async def _tell(session: AsyncSession) -> None:
    await notify(session, CHANNEL_CALLBACKS)
    # No host has changed, and open pages show waves as well.
    await notify(session, CHANNEL_CHANGES, "*")


async def _theirs(
    session: AsyncSession, actor: Actor, name: str, states: frozenset[WaveState]
) -> Wave:
    rights.require(actor, Role.OPERATOR)
    found = await session.exec(
        select(Wave)
        .where(Wave.name == name, within(actor.scope))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    wave = found.one_or_none()
    if wave is None:
        raise UnknownWave(name)
    if wave.state not in states:
        raise WrongTime(name, wave.state, states)
    return wave
