"""Takes waves on: what became of their hosts, whether to stop, and whose turn it is.

Any number of dispatchers may do it at the same time: a wave is in one's hands by its row's lock,
and only one of all orders hosts at a moment, because two that count at once would both find room.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import col, select

from inventory import orders
from inventory.database import CHANNEL_CALLBACKS, AsyncSession, notify
from inventory.errors import InventoryError
from inventory.life import AT_WORK, ForbiddenTransition, HostState
from inventory.models import (
    Build,
    BuildOutcome,
    Host,
    HostGroup,
    InstallTree,
    Subnet,
    Wave,
    WaveHost,
    WaveOutcome,
    WaveState,
)

__all__ = ["UNDER_WAY", "advance", "batch_size", "let_go", "settle", "verdict"]

UNDER_WAY = AT_WORK | {HostState.SELECTED, HostState.PREPARING}
"""Hosts in these states take their share of a limit; one that is held asks nothing of anybody."""

_ORDERING_LOCK = 0x77617665  # "wave": one number that all dispatchers agree on
_NAMED = 5
"""Hosts that are named in a reason; all are to be seen in the wave itself."""


def verdict() -> sa.ColumnElement[str | None]:
    """What became of a wave's order, from ``Build`` and ``Host``; NULL: it is under way."""
    return sa.case(
        (col(Build.outcome) == BuildOutcome.IN_OPERATION, WaveOutcome.IN_OPERATION.value),
        (col(Build.closed_at).is_not(None), WaveOutcome.FAILED.value),
        (col(Build.given_up).is_not(None), WaveOutcome.FAILED.value),
        (col(Host.state) == HostState.HELD, WaveOutcome.FAILED.value),
        else_=sa.null(),
    )


def batch_size(wave: Wave, number: int, most: int) -> int:
    """How many hosts a batch has, from 0, the canary.

    Args:
        wave: whose.
        number: of the batch.
        most: hosts of the wave: no batch is larger, whatever the growth.
    """
    limit = min(wave.largest or most, most)
    size = min(wave.canary, limit)
    for _ in range(number):
        if size >= limit or wave.growth == 1:
            break
        # Rounded first: ten times 1.1 is a little more than eleven to a computer.
        size = math.ceil(min(limit, round(size * wave.growth, 6)))
    return size


async def advance(session: AsyncSession, at: datetime) -> int:
    """Take all waves on that nobody else has in hand; without any it is one cheap statement.

    Args:
        session: in a transaction of its own.
        at: the present.

    Returns:
        How many hosts were ordered.
    """
    found = await session.exec(
        select(Wave)
        .where(col(Wave.ended_at).is_(None))
        .order_by(col(Wave.id))
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    watched = list(found)
    if not watched:
        return 0
    await settle(session, [one.id for one in watched])
    ordered = 0
    for wave in watched:
        ordered += await _advance_one(session, wave, at)
    if ordered:
        await notify(session, CHANNEL_CALLBACKS)
    return ordered


async def settle(session: AsyncSession, wave_ids: Collection[int]) -> None:
    """Keep what became of the hosts that were ordered; one that was retried is under way again."""
    now_so = verdict()
    found = await session.exec(  # type: ignore[call-overload]
        sa.select(WaveHost, now_so, col(Build.outcome), col(Build.given_up), col(Build.held_reason))
        .join(Build, col(Build.id) == col(WaveHost.build_id))
        .join(Host, col(Host.id) == col(WaveHost.host_id))
        .where(col(WaveHost.wave_id).in_(wave_ids), col(WaveHost.outcome).is_distinct_from(now_so))
        .execution_options(populate_existing=True)
    )
    for row, word, ended, given_up, held in found:
        row.outcome = WaveOutcome(word) if word else None
        failed = row.outcome is WaveOutcome.FAILED
        row.reason = (given_up or held or f"its build is {ended}") if failed else ""
        row.forgiven = False
    await session.flush()


async def let_go(session: AsyncSession, wave: Wave, at: datetime) -> None:
    """Leave all hosts of a wave to other waves."""
    await session.exec(
        sa.update(WaveHost)
        .where(col(WaveHost.wave_id) == wave.id, col(WaveHost.let_go_at).is_(None))
        .values(let_go_at=at)
    )


async def _advance_one(session: AsyncSession, wave: Wave, at: datetime) -> int:
    found = await session.exec(
        select(WaveHost)
        .where(col(WaveHost.wave_id) == wave.id)
        .order_by(col(WaveHost.position))
        .execution_options(populate_existing=True)
    )
    rows = list(found)
    under_way = any(one.build_id is not None and one.outcome is None for one in rows)
    if wave.state is WaveState.CANCELLED:
        wave.ended_at = None if under_way else at
        return 0
    if wave.state is not WaveState.RUNNING or await _stop(session, wave, rows):
        return 0
    if all(one.outcome is not None for one in rows):
        wave.state, wave.ended_at = WaveState.DONE, at
        await let_go(session, wave, at)
        return 0
    return await _order_next(session, wave, rows, at)


async def _stop(session: AsyncSession, wave: Wave, rows: Sequence[WaveHost]) -> bool:
    """Stop a wave of which too many hosts have failed; a host that was refused says nothing."""
    tried = [
        one
        for one in rows
        if one.outcome in (WaveOutcome.IN_OPERATION, WaveOutcome.FAILED) and not one.forgiven
    ]
    failed = [one for one in tried if one.outcome is WaveOutcome.FAILED]
    if not failed or len(failed) / len(tried) <= wave.failure_share:
        return False
    wave.state = WaveState.STOPPED
    wave.why = (
        f"{len(failed)} of {len(tried)} hosts failed, and {wave.failure_share:.0%} may: "
        + await _named(session, failed)
    )
    return True


async def _named(session: AsyncSession, failed: Sequence[WaveHost]) -> str:
    first = failed[:_NAMED]
    found = await session.exec(
        select(Host.id, Host.name).where(col(Host.id).in_([one.host_id for one in first]))
    )
    names = dict(found.all())
    said = [f"{names[one.host_id]}: {one.reason}" for one in first]
    if len(failed) > len(first):
        said.append(f"and {len(failed) - len(first)} more")
    return "; ".join(said)


async def _order_next(
    session: AsyncSession, wave: Wave, rows: Sequence[WaveHost], at: datetime
) -> int:
    waiting = [one for one in rows if one.build_id is None and one.outcome is None]
    turn = [one for one in waiting if one.batch is not None]
    begun = [one for one in rows if one.batch is not None]
    if not turn and all(one.outcome is not None for one in begun):
        number = max((one.batch for one in begun if one.batch is not None), default=-1) + 1
        turn = waiting[: batch_size(wave, number, len(rows))]
        for one in turn:
            one.batch = number
        await session.flush()
    # Tried, not waited for: who has it now looks again in two seconds, and so do we.
    lock = select(sa.func.pg_try_advisory_xact_lock(_ORDERING_LOCK))
    if not turn or not (await session.exec(lock)).one():
        return 0
    group = await session.get_one(HostGroup, wave.host_group_id)
    room = await _room(session, wave, group)
    ordered = 0
    for one in turn:
        if ordered == room:
            break
        ordered += await _order(session, wave, group, one, at)
    return ordered


async def _order(
    session: AsyncSession, wave: Wave, group: HostGroup, row: WaveHost, at: datetime
) -> bool:
    host = await session.get_one(Host, row.host_id)
    try:
        async with session.begin_nested():
            build = await orders.provision(
                session, host, group, name=None, asked_by=f"wave {wave.name}", at=at
            )
    except (InventoryError, ForbiddenTransition) as error:
        row.outcome, row.reason = WaveOutcome.REFUSED, str(error)
        await session.flush()
        return False
    row.build_id = build.id
    await session.flush()
    return True


async def _room(session: AsyncSession, wave: Wave, group: HostGroup) -> int | None:
    """How many hosts more may be ordered now; None: as many as there are."""
    subnet = await session.get_one(Subnet, group.subnet_id)
    tree = await session.get_one(InstallTree, group.install_tree_id)
    limits = [
        (wave.per_subnet, col(HostGroup.subnet_id) == subnet.id),
        (wave.per_boot_server, col(Subnet.boot_server) == subnet.boot_server),
    ]
    if tree.pulp_id is not None:
        limits.append((wave.per_pulp, col(InstallTree.pulp_id) == tree.pulp_id))
    rooms = [
        max(0, limit - await _under_way(session, there)) for limit, there in limits if limit > 0
    ]
    return min(rooms, default=None)


async def _under_way(session: AsyncSession, there: sa.ColumnElement[bool]) -> int:
    """All hosts under way at a place: of this wave, of others, and those ordered one by one."""
    found = await session.exec(
        select(sa.func.count())
        .select_from(Build)
        .join(Host, col(Host.id) == col(Build.host_id))
        .join(HostGroup, col(HostGroup.id) == col(Build.host_group_id))
        .join(Subnet, col(Subnet.id) == col(HostGroup.subnet_id))
        .join(InstallTree, col(InstallTree.id) == col(HostGroup.install_tree_id))
        .where(col(Build.closed_at).is_(None), col(Host.state).in_(UNDER_WAY), there)
    )
    return found.one()
