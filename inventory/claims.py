"""Claims: the right to run a phase of a build, and which workers live to use theirs.

A claim is written before the flow run is made, so that a crash between the two is seen
(``unstarted``) and a second run is impossible. A worker takes up the claims of a company
(``adopt``), renews its lease while it lives, and asks ``still_ours`` before each write: one that
slept too long finds its claims buried and given to another. Leases go by the database's clock,
which is one for all workers: one whose own clock is wrong neither buries the living nor outlives
itself. A claim that is withdrawn, because a person asked for something else, is nobody's to write
with; it lives until its run has let go, so that nothing is undone while the run may still write.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from inventory.arrows import Phase
from inventory.database import AsyncSession
from inventory.models import Build, Claim, Host, WorkerLease

__all__ = [
    "abandoned",
    "adopt",
    "bury",
    "called_off",
    "claim",
    "end",
    "is_claimed",
    "let_go",
    "renew",
    "set_flow_run",
    "still_ours",
    "travelled",
    "unstarted",
    "withdraw",
]

_LIVE = col(Claim.ended_at).is_(None)
_GOOD = sa.and_(_LIVE, col(Claim.withdrawn_at).is_(None))


async def claim(
    session: AsyncSession,
    phase: Phase,
    build_ids: Iterable[UUID],
    *,
    company: UUID,
    at: datetime,
) -> set[UUID]:
    """Claim a phase of builds for a company; builds that cannot be claimed are left out.

    Args:
        session: in the caller's transaction.
        phase: which phase is to run.
        build_ids: of open builds.
        company: the same for all hosts that travel together; the flow run's idempotency key.
        at: the present.

    Returns:
        The builds that were claimed: open, and without a live claim by anybody.
    """
    attempts = (
        select(sa.func.coalesce(sa.func.max(Claim.attempt), 0) + 1)
        .where(col(Claim.build_id) == col(Build.id), col(Claim.phase) == phase)
        .scalar_subquery()
    )
    rows = (
        sa.select(
            col(Build.id),
            sa.literal(phase.value),
            attempts,
            sa.literal(company, sa.Uuid()),
            sa.literal(at, sa.DateTime(timezone=True)),
        )
        .where(col(Build.id).in_(list(build_ids)), col(Build.closed_at).is_(None))
        # In one order for everybody, so that two dispatchers cannot deadlock.
        .order_by(col(Build.id))
    )
    claimed = await session.exec(
        insert(Claim)
        .from_select(["build_id", "phase", "attempt", "company", "made_at"], rows)
        .on_conflict_do_nothing()
        .returning(col(Claim.build_id))
    )
    return set(claimed.scalars())


async def set_flow_run(session: AsyncSession, company: UUID, flow_run_id: UUID) -> None:
    """Say which flow run was made for a company."""
    await session.exec(
        sa.update(Claim).where(col(Claim.company) == company, _LIVE).values(flow_run_id=flow_run_id)
    )


async def adopt(
    session: AsyncSession, company: UUID, worker: str, flow_run_id: UUID
) -> list[Claim]:
    """Take up the live claims of a company that no other worker has.

    Args:
        session: in the caller's transaction.
        company: which.
        worker: name of the worker's lease.
        flow_run_id: the run that takes them up.

    Returns:
        The claims that are this worker's now; empty if another one holds them or they have ended.
    """
    taken = await session.exec(
        sa.update(Claim)
        .where(
            col(Claim.company) == company,
            _GOOD,
            sa.or_(col(Claim.worker).is_(None), col(Claim.worker) == worker),
        )
        .values(worker=worker, flow_run_id=flow_run_id)
        .returning(Claim)
        .execution_options(populate_existing=True)
    )
    return sorted(taken.scalars(), key=lambda one: one.id)


async def end(
    session: AsyncSession, build_ids: Iterable[UUID], company: UUID, at: datetime
) -> None:
    """End a company's live claims on builds."""
    await session.exec(
        sa.update(Claim)
        .where(col(Claim.build_id).in_(list(build_ids)), col(Claim.company) == company, _LIVE)
        .values(ended_at=at)
    )


async def let_go(
    session: AsyncSession, build_ids: Iterable[UUID], company: UUID, worker: str, at: datetime
) -> None:
    """End what this worker holds of a company's claims on builds, withdrawn ones as well."""
    await session.exec(
        sa.update(Claim)
        .where(
            col(Claim.build_id).in_(list(build_ids)),
            col(Claim.company) == company,
            col(Claim.worker) == worker,
            _LIVE,
        )
        .values(ended_at=at)
    )


async def withdraw(session: AsyncSession, build_id: UUID, at: datetime) -> None:
    """Take back the right to run a phase, because something else was asked for.

    A claim that nobody has taken up ends at once. A worker that has, writes nothing more: the claim
    ends when its run has let go of it, or when the worker is buried.
    """
    live = sa.and_(col(Claim.build_id) == build_id, _LIVE)
    await session.exec(sa.update(Claim).where(live).values(withdrawn_at=at))
    await session.exec(
        sa.update(Claim).where(live, col(Claim.worker).is_(None)).values(ended_at=at)
    )


async def still_ours(
    session: AsyncSession, build_ids: Iterable[UUID], company: UUID, worker: str
) -> set[UUID]:
    """The builds whose claims this worker still holds, and will until the transaction ends."""
    held = await session.exec(
        select(Claim.build_id)
        .where(
            col(Claim.build_id).in_(list(build_ids)),
            col(Claim.company) == company,
            col(Claim.worker) == worker,
            _GOOD,
        )
        # Shared, so that nobody buries or ends them before what we write is committed.
        .with_for_update(read=True)
    )
    return set(held)


async def is_claimed(session: AsyncSession, build_id: UUID) -> bool:
    """Whether somebody has a live claim on a build, or has not let go of a withdrawn one."""
    held = await session.exec(select(Claim.id).where(col(Claim.build_id) == build_id, _LIVE))
    return held.first() is not None


async def travelled(session: AsyncSession, company: UUID) -> list[Host]:
    """The hosts that have ever travelled in a company, also those whose claims have ended."""
    found = await session.exec(
        select(Host)
        .join(Build, col(Build.host_id) == col(Host.id))
        .join(Claim, col(Claim.build_id) == col(Build.id))
        .where(col(Claim.company) == company)
        .order_by(col(Host.id))
        .distinct()
    )
    return list(found)


async def called_off(session: AsyncSession, company: UUID) -> set[int]:
    """Ids of hosts that were held or given up before any worker took up a company's claim on them.

    The run that was made for them is not a person's wish that they go on.
    """
    found = await session.exec(
        select(Build.host_id)
        .join(Claim, col(Claim.build_id) == col(Build.id))
        .where(
            col(Claim.company) == company,
            col(Claim.withdrawn_at).is_not(None),
            col(Claim.worker).is_(None),
        )
    )
    return set(found)


async def renew(session: AsyncSession, worker: str, lasts: timedelta) -> None:
    """Say that a worker lives, at least for so long from now."""
    lease = insert(WorkerLease).values(name=worker, until=sa.func.now() + lasts)
    await session.exec(
        lease.on_conflict_do_update(index_elements=["name"], set_={"until": lease.excluded.until})
    )


async def bury(session: AsyncSession, at: datetime) -> list[Claim]:
    """Take the claims from workers whose lease has passed; withdrawn ones end with that.

    Args:
        session: in the caller's transaction.
        at: the present, for the record.

    Returns:
        These claims, without a worker now, for their runs to be scheduled again.
    """
    lives = sa.exists().where(
        col(WorkerLease.name) == col(Claim.worker), col(WorkerLease.until) >= sa.func.now()
    )
    return await _free(session, sa.and_(col(Claim.worker).is_not(None), ~lives), at)


async def _free(session: AsyncSession, whose: sa.ColumnElement[bool], at: datetime) -> list[Claim]:
    freed = await session.exec(
        sa.update(Claim)
        .where(_LIVE, whose)
        .values(
            worker=None,
            ended_at=sa.case((col(Claim.withdrawn_at).is_not(None), at), else_=None),
        )
        .returning(Claim)
        .execution_options(populate_existing=True, synchronize_session=False)
    )
    return sorted(freed.scalars(), key=lambda one: one.id)


async def abandoned(
    session: AsyncSession, worker: str, running: Collection[UUID], at: datetime
) -> list[Claim]:
    """Take the claims of a worker from runs that have ended without letting go of them.

    That is a run which lost the database, and could not even say so.

    Args:
        session: in the caller's transaction.
        worker: name of the lease of the worker that asks.
        running: the flow runs that are in its process now.
        at: the present.

    Returns:
        These claims, without a worker now, for their runs to be scheduled again.
    """
    whose = sa.and_(col(Claim.worker) == worker, col(Claim.flow_run_id).not_in(running))
    return await _free(session, whose, at)


async def unstarted(session: AsyncSession, older_than: timedelta, at: datetime) -> list[Claim]:
    """Live claims that have had no flow run, or that no worker has taken up, for so long.

    One with a flow run may wait for its turn in the engine's queue: ask there. One that was made
    after the present was made by a worker whose clock was wrong, and counts as old.
    """
    found = await session.exec(
        select(Claim)
        .where(
            _LIVE,
            sa.or_(col(Claim.made_at) < at - older_than, col(Claim.made_at) > at),
            sa.or_(col(Claim.flow_run_id).is_(None), col(Claim.worker).is_(None)),
        )
        .order_by(col(Claim.id))
    )
    return list(found)
