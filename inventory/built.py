"""How far hosts have been built: whether there is a system on a disk that somebody may miss."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from sqlmodel import col

from inventory.database import AsyncSession
from inventory.models import Build, BuildOutcome

__all__ = ["Built", "built_so_far"]


@dataclass(frozen=True)
class Built:
    """How far a host has been built; if it is another later, somebody has built it meanwhile."""

    generation: int = 0
    """Of its newest build."""
    operated: int = 0
    """Of the newest build that went into operation since it last left for good; 0: it has no
    system that is worth anything."""
    group_id: int | None = None
    """Id of the host group of its open build."""


async def built_so_far(session: AsyncSession, host_ids: Collection[int]) -> dict[int, Built]:
    """How far hosts have been built, by id."""

    def newest(outcome: BuildOutcome) -> sa.ColumnElement[int]:
        of_these = sa.func.max(col(Build.generation)).filter(col(Build.outcome) == outcome)
        return sa.func.coalesce(of_these, 0)

    found = await session.exec(  # type: ignore[call-overload]
        sa.select(
            col(Build.host_id),
            sa.func.max(col(Build.generation)),
            newest(BuildOutcome.IN_OPERATION),
            newest(BuildOutcome.RETIRED),
            sa.func.max(col(Build.host_group_id)).filter(col(Build.closed_at).is_(None)),
        )
        .where(col(Build.host_id).in_(host_ids))
        .group_by(col(Build.host_id))
    )
    told = {
        host: Built(newest, good if good > gone else 0, group)
        for host, newest, good, gone, group in found
    }
    return {host: told.get(host, Built()) for host in host_ids}
