"""Waves: what people ask for when they provision many hosts, by right and with an entry in the log.

    await waves.start(session, actor, Draft("spring", "web", ("web01.example.org", …)), at)

The dispatchers take a wave on with ``advance``.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from inventory import audit, builds, orders, rights
from inventory.database import CHANNEL_CALLBACKS, AsyncSession, notify
from inventory.errors import BadWave, InventoryError, NotReady, UnknownWave
from inventory.models import Role, Wave, WaveHost, WaveOutcome, WaveState
from inventory.rights import Actor
from inventory.wave_advance import advance, let_go, settle
from inventory.wave_views import WaveDetail, WaveHostRow, WaveRow, detail, overview, within

__all__ = [
    "Draft",
    "WaveDetail",
    "WaveHostRow",
    "WaveRow",
    "advance",
    "cancel",
    "detail",
    "go_on",
    "overview",
    "pause",
    "start",
]

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MOST = 2**31 - 1
"""What PostgreSQL's integers hold."""


@dataclass(frozen=True)
class Draft:
    """A wave as it is asked for."""

    name: str
    host_group: str
    """Name of the group that the hosts become."""
    hosts: tuple[str, ...]
    """Names, in the order in which they are ordered."""
    canary: int = 1
    growth: float = 2.0
    """How many times as large as the batch before a batch is; 1: all are as large as the canary."""
    largest: int = 0
    """Hosts of a batch at most; 0: no limit."""
    failure_share: float = 0.1
    """It stops when more than this share of the hosts tried have failed; from 0 to 1."""
    per_subnet: int = 0
    """Hosts under way at a time in the group's subnet, whoever ordered them; 0: no limit."""
    per_boot_server: int = 0
    per_pulp: int = 0


async def start(session: AsyncSession, actor: Actor, draft: Draft, at: datetime) -> Wave:
    """Start a wave: the dispatchers order its canary at once.

    Args:
        session: in the caller's transaction.
        actor: who asks; at least an operator.
        draft: what is wanted.
        at: the present.

    Raises:
        BadWave: the draft is wrong, or some hosts cannot be in it; it names each with its reason.
        InventoryError: they may not, or there is no such group.
    """
    rights.require(actor, Role.OPERATOR)
    rights.require_group(actor, draft.host_group)
    _require_sound(draft)
    group = await orders.group_named(session, draft.host_group)
    host_ids = await _admit(session, actor, draft)
    numbers = asdict(draft)
    for one in ("hosts", "host_group"):
        del numbers[one]
    wave = Wave(**numbers, host_group_id=group.id, asked_by=actor.title, made_at=at)
    try:
        async with session.begin_nested():
            session.add(wave)
            await session.flush()
            session.add_all(
                WaveHost(wave_id=wave.id, host_id=host_id, position=position)
                for position, host_id in enumerate(host_ids)
            )
            await session.flush()
    except IntegrityError:
        raise BadWave(
            f"the wave {draft.name} is not started: there is one of this name already, or one of "
            "its hosts came into another wave at this moment; see: rackrise waves list"
        ) from None
    await audit.record(session, actor, "start", f"wave {wave.name}", after=asdict(draft), at=at)
    await notify(session, CHANNEL_CALLBACKS)
    return wave


async def pause(session: AsyncSession, actor: Actor, name: str, at: datetime) -> Wave:
    """Order no more hosts of a wave for now; those under way go on.

    Raises:
        InventoryError: it is not known, not theirs, or does not run.
    """
    wave = await _theirs(session, actor, name, {WaveState.RUNNING})
    return await _change(session, actor, wave, "pause", WaveState.PAUSED, at)


async def go_on(session: AsyncSession, actor: Actor, name: str, at: datetime) -> Wave:
    """Let a wave go on; after it was stopped, the failures so far count no more.

    Raises:
        InventoryError: it is not known, not theirs, or neither paused nor stopped.
    """
    wave = await _theirs(session, actor, name, {WaveState.PAUSED, WaveState.STOPPED})
    if wave.state is WaveState.STOPPED:
        await settle(session, [wave.id])
        await session.exec(
            sa.update(WaveHost)
            .where(col(WaveHost.wave_id) == wave.id, col(WaveHost.outcome) == WaveOutcome.FAILED)
            .values(forgiven=True)
        )
    return await _change(session, actor, wave, "go on", WaveState.RUNNING, at)


async def cancel(session: AsyncSession, actor: Actor, name: str, at: datetime) -> Wave:
    """Let the hosts of a wave go that are not ordered yet; those under way go on.

    Raises:
        InventoryError: it is not known, not theirs, or has ended.
    """
    unfinished = {WaveState.RUNNING, WaveState.PAUSED, WaveState.STOPPED}
    wave = await _theirs(session, actor, name, unfinished)
    await let_go(session, wave, at)
    return await _change(session, actor, wave, "cancel", WaveState.CANCELLED, at)


async def _change(
    session: AsyncSession, actor: Actor, wave: Wave, action: str, state: WaveState, at: datetime
) -> Wave:
    before = {"state": wave.state.value, "why": wave.why}
    wave.state = state
    wave.why = "" if state is WaveState.RUNNING else f"{actor.title} asked for it"
    after = {"state": wave.state.value, "why": wave.why}
    await audit.record(
        session, actor, action, f"wave {wave.name}", before=before, after=after, at=at
    )
    await notify(session, CHANNEL_CALLBACKS)
    return wave


async def _theirs(session: AsyncSession, actor: Actor, name: str, states: set[WaveState]) -> Wave:
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
        need = " or ".join(sorted(states))
        raise BadWave(f"the wave {name} is {wave.state}; for this it must be {need}")
    return wave


def _require_sound(draft: Draft) -> None:
    wrong = []
    if not _NAME.fullmatch(draft.name):
        wrong.append(f"{draft.name!r} is no name: lower-case letters, digits and -, 63 at most")
    if not draft.hosts:
        wrong.append("it has no hosts: name at least one")
    if not 1 <= draft.canary <= _MOST:
        wrong.append(f"canary is {draft.canary}, and must be 1 at least")
    if not (math.isfinite(draft.growth) and draft.growth >= 1):
        wrong.append(f"growth is {draft.growth}, and must be 1 at least")
    if not 0 <= draft.failure_share <= 1:
        wrong.append(f"the share of failures is {draft.failure_share}, and must be from 0 to 1")
    for what, number in (
        ("the largest batch", draft.largest),
        ("the limit per subnet", draft.per_subnet),
        ("the limit per boot server", draft.per_boot_server),
        ("the limit per Pulp", draft.per_pulp),
    ):
        if not 0 <= number <= _MOST:
            wrong.append(f"{what} is {number}, and must be 0 (none) or more")
    if 0 < draft.largest < draft.canary:
        wrong.append("the canary is larger than the largest batch")
    if wrong:
        raise BadWave(f"the wave is not started: {'; '.join(wrong)}")


async def _admit(session: AsyncSession, actor: Actor, draft: Draft) -> list[int]:
    """The hosts' ids, if all of them can be in it."""
    taken = await session.exec(select(Wave.id).where(Wave.name == draft.name))
    if taken.first() is not None:
        raise BadWave(f"there is a wave {draft.name} already; choose another name")
    wrong, host_ids = dict[str, str](), list[int]()
    for name, times in Counter(draft.hosts).items():
        try:
            if times > 1:
                raise BadWave(f"the host {name} is named {times} times")
            host_id = await _admit_host(session, actor, name)
            if host_id in host_ids:
                raise BadWave(f"the host {name} is named twice, spelt in two ways")
            host_ids.append(host_id)
        except InventoryError as error:
            wrong[name] = str(error)
    if wrong:
        said = "\n".join(f"  {name}: {reason}" for name, reason in wrong.items())
        raise BadWave(
            f"the wave {draft.name} is not started: {len(wrong)} of its hosts cannot be in it\n"
            f"{said}"
        )
    return host_ids


async def _admit_host(session: AsyncSession, actor: Actor, name: str) -> int:
    host = await rights.own_host(session, actor, name)
    other = await session.exec(
        select(Wave.name)
        .join(WaveHost, col(WaveHost.wave_id) == col(Wave.id))
        .where(col(WaveHost.host_id) == host.id, col(WaveHost.let_go_at).is_(None))
    )
    wave = other.first()
    if wave is not None:
        raise BadWave(f"the host {name} is in the wave {wave}; cancel that, or wait until it ends")
    if not orders.is_ready(host, await builds.current_build(session, host.id)):
        raise NotReady(host.name, host.state, orders.READY)
    return host.id
