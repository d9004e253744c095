"""How long hosts of a kind usually take, from the builds that went well before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from inventory.database import AsyncSession
from inventory.life import HostState
from inventory.models import Build, BuildOutcome, Step

__all__ = ["Usual", "UsualArrow", "usual", "usual_arrows"]

FEWEST = 5
"""Builds of a kind from which a usual time can be said at all."""
_RECENT = 200
_RECENT_ARROWS = 50
_SHARE = 0.95

_WAITS = {
    HostState.REBOOTING: (17, 20),
    HostState.INSTALLING: (20, 27),
    HostState.FIRST_BOOT: (29, None),
}
"""The arrows between which a host is waited for; None: until its build ends."""


@dataclass(frozen=True)
class Usual:
    """What hosts of a group have taken for one wait."""

    builds: int
    time: timedelta
    """So long, or less, for ninety-five of a hundred."""


async def usual(session: AsyncSession, group_id: int, state: HostState) -> Usual | None:
    """How long hosts of a group usually are in a state; None: too few were.

    Args:
        session: only read; the cost grows with the builds of the group that are looked at, of which
            only the newest count.
        group_id: the host group's.
        state: one in which the host is waited for.
    """
    begins, ends = _WAITS[state]
    first, last = aliased(Step), aliased(Step)
    end = col(Build.closed_at) if ends is None else col(last.ended_at)
    recent = (
        select((end - col(first.ended_at)).label("took"))
        .select_from(Build)
        .join(first, sa.and_(col(first.build_id) == col(Build.id), col(first.number) == begins))
        .join(last, sa.and_(col(last.build_id) == col(Build.id), col(last.number) == (ends or 27)))
        .where(
            col(Build.host_group_id) == group_id,
            col(Build.outcome) == BuildOutcome.IN_OPERATION,
            end > col(first.ended_at),
        )
        .order_by(col(Build.closed_at).desc())
        .limit(_RECENT)
        .subquery()
    )
    took = recent.c.took
    row = (
        await session.exec(
            sa.select(sa.func.count(), sa.func.percentile_cont(_SHARE).within_group(took))  # type: ignore[call-overload]
        )
    ).one()
    count, time = row
    return Usual(count, time) if count >= FEWEST else None


@dataclass(frozen=True)
class UsualArrow:
    """How long an arrow has taken in builds of a host group that went well."""

    median: timedelta
    most: timedelta
    """So long, or less, for ninety-five of a hundred."""
    builds: int


async def usual_arrows(session: AsyncSession, group_id: int) -> dict[int, UsualArrow]:
    """How long each arrow usually takes, by number; those that too few builds had are left out.

    An arrow that nobody has begun, because it is the host's, counts from the end of the last arrow
    that was done before it.

    Args:
        session: only read; the newest builds of the group count.
        group_id: the host group's.
    """
    recent = (
        select(Build.id)
        .where(
            col(Build.host_group_id) == group_id,
            col(Build.outcome) == BuildOutcome.IN_OPERATION,
        )
        .order_by(col(Build.closed_at).desc())
        .limit(_RECENT_ARROWS)
    )
    before = sa.func.max(Step.ended_at).over(
        partition_by=col(Step.build_id), order_by=col(Step.ended_at), groups=(None, -1)
    )
    took = (
        sa.select(
            col(Step.number).label("number"),
            (col(Step.ended_at) - sa.func.coalesce(Step.started_at, before)).label("took"),
        )
        .where(col(Step.build_id).in_(recent), col(Step.ended_at).is_not(None))
        .subquery()
    )
    found = await session.exec(  # type: ignore[call-overload]
        sa.select(
            took.c.number,
            sa.func.percentile_cont(0.5).within_group(took.c.took),
            sa.func.percentile_cont(_SHARE).within_group(took.c.took),
            sa.func.count(took.c.took),
        )
        .where(took.c.took.is_not(None))
        .group_by(took.c.number)
    )
    return {
        number: UsualArrow(median, most, count)
        for number, median, most, count in found
        if count >= FEWEST
    }
