"""What became of the hosts that a wave has ordered, also when a person has helped one along."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import col

from inventory.database import AsyncSession
from inventory.life import HostState
from inventory.models import Build, BuildOutcome, Host, WaveHost, WaveOutcome

__all__ = ["settle", "tells", "verdict"]


def tells() -> sa.ColumnElement[bool]:
    """The condition on ``Build`` that it tells of a ``WaveHost``.

    It is the build that was ordered; if a person had that one built anew while it was held, it is
    the build that took its place.
    """
    ordered, later = aliased(Build), aliased(Build)
    since = (
        sa.select(col(ordered.generation))
        .where(col(ordered.id) == col(WaveHost.build_id))
        .correlate(WaveHost)
        .scalar_subquery()
    )
    stands = (
        sa.select(sa.func.min(later.generation))
        .where(
            col(later.host_id) == col(WaveHost.host_id),
            col(later.generation) >= since,
            col(later.outcome).is_distinct_from(BuildOutcome.SUPERSEDED),
        )
        .correlate(WaveHost)
        .scalar_subquery()
    )
    return sa.and_(
        col(Build.host_id) == col(WaveHost.host_id),
        col(WaveHost.build_id).is_not(None),
        col(Build.generation) == stands,
    )


def verdict() -> sa.ColumnElement[str | None]:
    """What became of a wave's order, from ``Host`` and the ``Build`` that tells of it.

    NULL: it is under way.
    """
    return sa.case(
        (col(Build.outcome) == BuildOutcome.IN_OPERATION, WaveOutcome.IN_OPERATION.value),
        (col(Build.closed_at).is_not(None), WaveOutcome.FAILED.value),
        (col(Build.given_up).is_not(None), WaveOutcome.FAILED.value),
        (col(Host.state) == HostState.HELD, WaveOutcome.FAILED.value),
        else_=sa.null(),
    )


async def settle(session: AsyncSession, wave_ids: Collection[int]) -> None:
    """Keep what became of the hosts that were ordered; one that was retried is under way again."""
    now_so = verdict()
    found = await session.exec(  # type: ignore[call-overload]
        sa.select(WaveHost, now_so, col(Build.outcome), col(Build.given_up), col(Build.held_reason))
        .join(Host, col(Host.id) == col(WaveHost.host_id))
        .join(Build, tells())
        .where(
            col(WaveHost.wave_id).in_(wave_ids),
            # What went into operation once is that for good, whatever is made of it afterwards.
            col(WaveHost.outcome).is_distinct_from(WaveOutcome.IN_OPERATION),
            col(WaveHost.outcome).is_distinct_from(now_so),
        )
        .execution_options(populate_existing=True)
    )
    for row, word, ended, given_up, held in found:
        row.outcome = WaveOutcome(word) if word else None
        failed = row.outcome is WaveOutcome.FAILED
        row.reason = (given_up or held or f"its build is {ended}") if failed else ""
        row.forgiven = False
    await session.flush()
