"""Steps: how far each arrow of a build is, and how we know.

What is done never goes back, and evidence only improves: a flow may run again from its top, and a
callback may come late or twice, without anything that people look at becoming worse. Only a host
that installs anew does again what it had done.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col, select

from inventory.arrows import Evidence
from inventory.database import AsyncSession
from inventory.models import Step, StepState

__all__ = ["begin", "done", "fail", "finish", "imply", "note", "reopen", "states"]

_OPEN = (StepState.PENDING, StepState.RUNNING, StepState.FAILED)
_SETTLED = (StepState.DONE, StepState.NOT_ASKED)


def _numbers(numbers: int | Iterable[int]) -> list[int]:
    return [numbers] if isinstance(numbers, int) else list(numbers)


async def begin(
    session: AsyncSession,
    build_ids: Iterable[UUID],
    numbers: int | Iterable[int],
    flow_run_id: UUID | None,
    at: datetime,
) -> None:
    """Say that work on arrows begins, or begins again after a failure or a kill.

    The first beginning stays as the start; each one counts as an attempt. Steps that are done or
    not asked for stay as they are.
    """
    await session.exec(
        sa.update(Step)
        .where(
            col(Step.build_id).in_(list(build_ids)),
            col(Step.number).in_(_numbers(numbers)),
            col(Step.state).in_(_OPEN),
        )
        .values(
            state=StepState.RUNNING,
            attempts=Step.attempts + 1,
            started_at=sa.func.coalesce(Step.started_at, at),
            ended_at=None,
            error=None,
            flow_run_id=flow_run_id,
        )
        .execution_options(synchronize_session=False)
    )


async def note(session: AsyncSession, build_id: UUID, number: int, seen: str) -> None:
    """Say how far an arrow is while it is under way; nothing else changes."""
    await session.exec(
        sa.update(Step)
        .where(
            col(Step.build_id) == build_id,
            col(Step.number) == number,
            col(Step.state) == StepState.RUNNING,
        )
        .values(seen=seen)
    )


async def finish(
    session: AsyncSession,
    build_id: UUID,
    numbers: int | Iterable[int],
    *,
    evidence: Evidence,
    seen: str,
    at: datetime,
) -> None:
    """Say that arrows happened, and how we know.

    A done step takes the evidence only where it is better, and keeps when it was done. A step that
    was not asked for becomes done only when it was reported or observed: it happened all the same.

    Args:
        session: in the caller's transaction.
        build_id: whose.
        numbers: one arrow or several.
        evidence: how we know.
        seen: the evidence in words: what was read back, from where.
        at: when it was seen.
    """
    from_states = _OPEN if evidence is Evidence.IMPLIED else (*_OPEN, StepState.NOT_ASKED)
    weaker = [one for one in Evidence if one.rank < evidence.rank]
    state = col(Step.state)
    await session.exec(
        sa.update(Step)
        .where(
            col(Step.build_id) == build_id,
            col(Step.number).in_(_numbers(numbers)),
            sa.or_(
                state.in_(from_states),
                sa.and_(state == StepState.DONE, col(Step.evidence).in_(weaker)),
            ),
        )
        .values(
            state=StepState.DONE,
            evidence=evidence,
            seen=seen,
            error=None,
            ended_at=sa.case((state == StepState.DONE, col(Step.ended_at)), else_=at),
        )
        .execution_options(synchronize_session=False)
    )


async def imply(
    session: AsyncSession,
    build_id: UUID,
    numbers: int | Iterable[int],
    *,
    seen: str,
    at: datetime,
) -> None:
    """Say that arrows must have happened, because a later one did; better evidence stays."""
    await finish(session, build_id, numbers, evidence=Evidence.IMPLIED, seen=seen, at=at)


async def fail(
    session: AsyncSession,
    build_id: UUID,
    numbers: int | Iterable[int],
    error: str,
    at: datetime,
) -> None:
    """Say that work on arrows failed, with the sentence that says why; done steps stay done."""
    await session.exec(
        sa.update(Step)
        .where(
            col(Step.build_id) == build_id,
            col(Step.number).in_(_numbers(numbers)),
            col(Step.state).in_((StepState.PENDING, StepState.RUNNING)),
        )
        .values(state=StepState.FAILED, error=error, ended_at=at)
        .execution_options(synchronize_session=False)
    )


async def reopen(session: AsyncSession, build_id: UUID, numbers: int | Iterable[int]) -> None:
    """A host installs anew: what it had done is to be done, and seen, once more."""
    await session.exec(
        sa.update(Step)
        .where(
            col(Step.build_id) == build_id,
            col(Step.number).in_(_numbers(numbers)),
            col(Step.state) == StepState.DONE,
        )
        .values(state=StepState.PENDING, evidence=None, seen="", ended_at=None)
        .execution_options(synchronize_session=False)
    )


async def states(session: AsyncSession, build_ids: Iterable[UUID]) -> dict[UUID, dict[int, Step]]:
    """All steps of builds, by build and number, as they are in the database now."""
    found = await session.exec(
        select(Step)
        .where(col(Step.build_id).in_(list(build_ids)))
        .order_by(col(Step.build_id), col(Step.number))
        .execution_options(populate_existing=True)
    )
    result: dict[UUID, dict[int, Step]] = {}
    for step in found:
        result.setdefault(step.build_id, {})[step.number] = step
    return result


async def done(
    session: AsyncSession, build_ids: Iterable[UUID], numbers: int | Iterable[int]
) -> set[UUID]:
    """The builds in which each of the arrows is done or not asked for."""
    wanted = _numbers(numbers)
    found = await session.exec(
        select(Step.build_id)
        .where(
            col(Step.build_id).in_(list(build_ids)),
            col(Step.number).in_(wanted),
            col(Step.state).in_(_SETTLED),
        )
        .group_by(col(Step.build_id))
        .having(sa.func.count() == len(set(wanted)))
    )
    return set(found)
