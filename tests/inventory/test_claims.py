from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from inventory import claims
from inventory.arrows import Phase
from inventory.builds import close_build
from inventory.models import Build, BuildOutcome
from tests.conftest import Database
from tests.inventory.world import discovered, later, make_group

RUN = UUID(int=7)


@pytest.fixture
async def builds(database: Database) -> list[Build]:
    async with database.sessions.begin() as session:
        await make_group(session)
    return [(await discovered(database.sessions, number))[1] for number in (1, 2, 3)]


async def test_of_many_companies_that_claim_at_once_one_gets_each_build(
    database: Database, builds: list[Build]
) -> None:
    ids = [one.id for one in builds]

    async def attempt(number: int) -> set[UUID]:
        async with database.sessions.begin() as session:
            order = ids if number % 2 else ids[::-1]
            return await claims.claim(session, Phase.INCEPTION, order, company=uuid4(), at=later(1))

    got = await asyncio.gather(*(attempt(number) for number in range(20)))
    assert sorted(one for some in got for one in some) == sorted(ids)


async def test_a_claimed_build_is_left_out_until_its_claim_ends(
    database: Database, builds: list[Build]
) -> None:
    one, two, closed = builds
    first, second = uuid4(), uuid4()
    async with database.sessions.begin() as session:
        await close_build(session, closed, BuildOutcome.CANCELLED, later(0))
        assert await claims.claim(
            session, Phase.INCEPTION, [one.id], company=first, at=later(1)
        ) == {one.id}
        assert await claims.claim(
            session, Phase.ANACONDA, [b.id for b in builds], company=second, at=later(2)
        ) == {two.id}
        await claims.end(session, [one.id, two.id], first, later(3))
        third = uuid4()
        assert await claims.claim(
            session, Phase.INCEPTION, [one.id, two.id], company=third, at=later(4)
        ) == {one.id}
        (again,) = await claims.adopt(session, third, "w/1", RUN)
        assert (again.attempt, again.build_id, again.phase) == (2, one.id, Phase.INCEPTION)


async def test_a_company_belongs_to_the_worker_that_took_it_up(
    database: Database, builds: list[Build]
) -> None:
    company, ids = uuid4(), [one.id for one in builds]
    async with database.sessions.begin() as session:
        await claims.claim(session, Phase.INCEPTION, ids, company=company, at=later(0))
        await claims.set_flow_run(session, company, RUN)
        mine = await claims.adopt(session, company, "w/1", RUN)
        assert {one.build_id for one in mine} == set(ids)
        assert {(one.worker, one.flow_run_id) for one in mine} == {("w/1", RUN)}
        assert await claims.adopt(session, company, "w/2", uuid4()) == []
        assert len(await claims.adopt(session, company, "w/1", RUN)) == 3
        assert await claims.still_ours(session, ids, company, "w/1") == set(ids)
        assert await claims.still_ours(session, ids, company, "w/2") == set()
        await claims.end(session, ids[:1], company, later(1))
        assert await claims.still_ours(session, ids, company, "w/1") == set(ids[1:])


async def test_a_worker_whose_lease_has_passed_loses_its_claims_and_cannot_write(
    database: Database, builds: list[Build]
) -> None:
    ids = [one.id for one in builds]
    dead, alive = uuid4(), uuid4()
    async with database.sessions.begin() as session:
        await claims.claim(session, Phase.INCEPTION, ids[:2], company=dead, at=later(0))
        await claims.claim(session, Phase.INCEPTION, ids[2:], company=alive, at=later(0))
        await claims.adopt(session, dead, "dead/1", RUN)
        await claims.adopt(session, alive, "alive/1", RUN)
        await claims.renew(session, "dead/1", timedelta(seconds=30))
        await claims.renew(session, "alive/1", timedelta(seconds=30))
        assert await claims.bury(session, later(30)) == []
        await claims.renew(session, "dead/1", timedelta(seconds=-1))
        freed = await claims.bury(session, later(31))
        assert {one.build_id for one in freed} == set(ids[:2])
        assert {one.worker for one in freed} == {None}
        assert await claims.still_ours(session, ids, dead, "dead/1") == set()
        assert await claims.still_ours(session, ids, alive, "alive/1") == set(ids[2:])
        assert await claims.bury(session, later(31)) == []
        assert len(await claims.adopt(session, dead, "alive/1", RUN)) == 2


async def test_a_worker_that_checks_its_claims_keeps_them_until_it_has_written(
    database: Database, builds: list[Build]
) -> None:
    company, ids = uuid4(), [builds[0].id]
    async with database.sessions.begin() as session:
        await claims.claim(session, Phase.INCEPTION, ids, company=company, at=later(0))
        await claims.adopt(session, company, "w/1", RUN)

    async def bury() -> int:
        async with database.sessions.begin() as session:
            return len(await claims.bury(session, later(99)))

    async with database.sessions.begin() as session:
        assert await claims.still_ours(session, ids, company, "w/1") == set(ids)
        burial = asyncio.create_task(bury())
        done, _ = await asyncio.wait([burial], timeout=0.3)
        assert not done
    assert await asyncio.wait_for(burial, 10) == 1


async def test_claims_without_a_run_or_a_worker_are_found_after_a_while(
    database: Database, builds: list[Build]
) -> None:
    companies = [uuid4() for _ in builds]
    async with database.sessions.begin() as session:
        for build, company in zip(builds, companies, strict=True):
            await claims.claim(session, Phase.INCEPTION, [build.id], company=company, at=later(0))
        await claims.set_flow_run(session, companies[1], RUN)
        await claims.adopt(session, companies[2], "w/1", RUN)
        assert await claims.unstarted(session, timedelta(seconds=5), later(5)) == []
        found = await claims.unstarted(session, timedelta(seconds=5), later(6))
        assert [one.company for one in found] == companies[:2]
        # They were made by a worker whose clock was ahead.
        found = await claims.unstarted(session, timedelta(seconds=5), later(-9))
        assert [one.company for one in found] == companies[:2]


async def test_a_worker_whose_clock_is_wrong_buries_nobody_that_lives(
    database: Database, builds: list[Build]
) -> None:
    company, ids = uuid4(), [builds[0].id]
    async with database.sessions.begin() as session:
        await claims.claim(session, Phase.INCEPTION, ids, company=company, at=later(0))
        await claims.adopt(session, company, "w/1", RUN)
        await claims.renew(session, "w/1", timedelta(seconds=30))
        for seconds in (-(10**6), 10**6):
            assert await claims.bury(session, later(seconds)) == []
