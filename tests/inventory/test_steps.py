from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from inventory import steps
from inventory.arrows import Evidence
from inventory.builds import set_group
from inventory.database import AsyncSession
from inventory.models import Step, StepState
from tests.conftest import Database
from tests.inventory.world import discovered, later, make_group


@pytest.fixture
async def build_id(database: Database) -> UUID:
    async with database.sessions.begin() as session:
        group = await make_group(session)
    _, build = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        await set_group(session, build, group, "test")
    return build.id


async def step(session: AsyncSession, build_id: UUID, number: int) -> Step:
    return (await steps.states(session, [build_id]))[build_id][number]


async def test_a_step_that_begins_again_counts_attempts_and_keeps_its_first_start(
    database: Database, build_id: UUID
) -> None:
    first, second = uuid4(), uuid4()
    async with database.sessions.begin() as session:
        await steps.begin(session, [build_id], [12, 13], first, later(1))
        await steps.fail(session, build_id, [12, 13], "DHCP is down", later(2))
        failed = await step(session, build_id, 13)
        assert (failed.state, failed.error, failed.ended_at) == (
            StepState.FAILED,
            "DHCP is down",
            later(2),
        )
        await steps.begin(session, [build_id], [12, 13], second, later(3))
        again = await step(session, build_id, 13)
        assert (again.state, again.attempts, again.error) == (StepState.RUNNING, 2, None)
        assert (again.started_at, again.ended_at) == (later(1), None)
        assert again.flow_run_id == second


async def test_what_is_done_never_goes_back(database: Database, build_id: UUID) -> None:
    async with database.sessions.begin() as session:
        await steps.finish(
            session, build_id, 13, evidence=Evidence.OBSERVED, seen="the lease", at=later(1)
        )
        await steps.begin(session, [build_id], 13, uuid4(), later(2))
        await steps.fail(session, build_id, 13, "too late", later(3))
        await steps.imply(session, build_id, 13, seen="by 18", at=later(4))
        kept = await step(session, build_id, 13)
    assert (kept.state, kept.evidence, kept.seen) == (
        StepState.DONE,
        Evidence.OBSERVED,
        "the lease",
    )
    assert (kept.error, kept.attempts, kept.ended_at) == (None, 0, later(1))


@pytest.mark.parametrize("first", Evidence)
@pytest.mark.parametrize("second", Evidence)
async def test_evidence_only_improves(
    database: Database, build_id: UUID, first: Evidence, second: Evidence
) -> None:
    async with database.sessions.begin() as session:
        await steps.finish(session, build_id, 19, evidence=first, seen="1", at=later(1))
        await steps.finish(session, build_id, 19, evidence=second, seen="2", at=later(2))
        kept = await step(session, build_id, 19)
    better = second.rank > first.rank
    assert (kept.evidence, kept.seen) == ((second, "2") if better else (first, "1"))
    assert kept.ended_at == later(1)


async def test_a_step_that_nobody_asked_for_is_done_only_when_somebody_saw_it(
    database: Database, build_id: UUID
) -> None:
    async with database.sessions.begin() as session:
        await steps.begin(session, [build_id], 24, None, later(1))
        await steps.imply(session, build_id, 24, seen="by 31", at=later(2))
        assert (await step(session, build_id, 24)).state is StepState.NOT_ASKED
        await steps.finish(
            session, build_id, 24, evidence=Evidence.REPORTED, seen="a report", at=later(3)
        )
        assert (await step(session, build_id, 24)).state is StepState.DONE


async def test_a_failure_is_forgotten_once_the_step_is_done(
    database: Database, build_id: UUID
) -> None:
    async with database.sessions.begin() as session:
        await steps.fail(session, build_id, 20, "no answer", later(1))
        await steps.finish(
            session, build_id, 20, evidence=Evidence.OBSERVED, seen="asked for", at=later(2)
        )
        kept = await step(session, build_id, 20)
    assert (kept.state, kept.error, kept.ended_at) == (StepState.DONE, None, later(2))


async def test_builds_are_done_when_each_step_is_done_or_not_asked_for(
    database: Database, build_id: UUID
) -> None:
    async with database.sessions.begin() as session:
        assert await steps.done(session, [build_id], [23, 27]) == set()
        await steps.finish(
            session, build_id, 27, evidence=Evidence.OBSERVED, seen="built", at=later(1)
        )
        assert await steps.done(session, [build_id, uuid4()], [23, 27]) == {build_id}
        assert await steps.done(session, [build_id], [23, 27, 28]) == set()
