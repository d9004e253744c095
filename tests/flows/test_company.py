"""Hosts in company: what is the same for all is done once, and each has its own outcome."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from sqlmodel import col, select

from flows.inception import inception
from inventory import retries, steps
from inventory.arrows import Phase
from inventory.life import HostState
from inventory.models import Claim, StepState, Subnet, now
from lab.doubles.dns import DnsFault
from tasks.company import NothingDone
from tests.flows.bench import Bench

pytestmark = pytest.mark.long


async def together(bench: Bench, count: int) -> tuple[list[str], UUID]:
    """Selected hosts with one company's claims, as the dispatcher makes them."""
    names = [await bench.selected(number) for number in range(1, count + 1)]
    builds = [(await bench.build(name)).id for name in names]
    async with bench.database.sessions.begin() as session:
        await retries.start(session, Phase.INCEPTION, builds, at=now())
    return names, await bench.company(names[0])


async def claims_of(bench: Bench, name: str) -> list[Claim]:
    build = await bench.build(name)
    async with bench.database.sessions() as session:
        found = select(Claim).where(col(Claim.build_id) == build.id).order_by(col(Claim.id))
        return list(await session.exec(found))


async def live_claims(bench: Bench) -> list[Claim]:
    async with bench.database.sessions() as session:
        return list(await session.exec(select(Claim).where(col(Claim.ended_at).is_(None))))


async def task_runs(run: UUID) -> list[str]:
    """Names of a flow run's tasks; Prefect's server writes them down a moment later."""
    one = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    before: list[str] = []
    async with get_client() as client, asyncio.timeout(20):
        while True:
            found = await client.read_task_runs(flow_run_filter=one)
            names = sorted(task.name for task in found)
            if names and names == before:
                return names
            before = names
            await asyncio.sleep(1.2)


async def test_fifty_hosts_in_one_run_cost_the_shared_work_once(bench: Bench) -> None:
    await bench.change(Subnet, range_to="192.0.2.99")
    names, company = await together(bench, 50)
    await inception(hosts=names, company=company)
    assert {(await bench.host(name)).state for name in names} == {HostState.REBOOTING}
    assert len({one["ip-address"] for one in bench.dhcp.reservations}) == 50
    assert set(bench.dns_records("A")) == set(names)
    assert {one[0] for one in bench.dns_records("PTR").values()} == set(names)
    assert len(bench.boot_configs()) == 50
    assert len(bench.images.reboots) == 50
    for file in ("vmlinuz", "initrd.img"):
        assert bench.tree_requests.count(f"/images/pxeboot/{file}") == 1
    # Once for each of the two tasks that need it.
    assert bench.tree_requests.count("/.treeinfo") == 2
    run = (await claims_of(bench, names[0]))[0].flow_run_id
    assert run is not None
    assert await task_runs(run) == sorted(
        f"{name} · 50 hosts"
        for name in (
            "7, 8 Proxy → DHCP: finds a free address",
            "9, 10 Proxy → TFTP: writes the boot configuration",
            "11 Proxy → Pulp: fetches Anaconda kernel and image",
            "12, 13 Proxy → DHCP: creates the reservation",
            "14, 15 Proxy → DNS: creates the records",
            "Check the kickstart (before 16)",
            "16, 17 Proxy → Host: reboots it",
        )
    )


async def test_a_host_that_fails_in_company_goes_on_alone(bench: Bench) -> None:
    names, company = await together(bench, 5)
    bench.put_dns(names[2], "A", "192.0.2.77")
    await inception(hosts=names, company=company)
    others = [name for name in names if name != names[2]]
    assert {(await bench.host(name)).state for name in others} == {HostState.REBOOTING}
    assert (await bench.host(names[2])).state is HostState.PREPARING
    assert (await bench.steps(names[2]))[14].state is StepState.FAILED
    first, own = await claims_of(bench, names[2])
    assert first.company == company
    assert first.ended_at is not None
    assert (own.ended_at, own.worker, own.flow_run_id) == (None, None, None)
    assert own.phase is Phase.INCEPTION

    with pytest.raises(NothingDone):
        await inception(hosts=[names[2]], company=own.company)
    assert (await bench.host(names[2])).state is HostState.HELD
    build = await bench.build(names[2])
    assert build.held_step == 14
    assert "192.0.2.77" in (build.held_reason or "")
    assert not await live_claims(bench)


async def test_a_step_that_fails_for_all_is_retried_and_each_is_held_with_its_own_reason(
    bench: Bench,
) -> None:
    names, company = await together(bench, 3)
    bench.dns.fault = DnsFault.SERVFAIL
    with pytest.raises(NothingDone):
        await inception(hosts=names, company=company)
    for name in names:
        build = await bench.build(name)
        assert (await bench.host(name)).state is HostState.HELD
        assert name in (build.held_reason or "")
        assert (await bench.steps(name))[14].attempts == 5
    assert not await live_claims(bench)


async def test_what_cannot_be_mended_by_trying_is_not_tried_again(bench: Bench) -> None:
    names, company = await together(bench, 2)
    for name in names:
        bench.put_dns(name, "A", "192.0.2.77")
    with pytest.raises(NothingDone):
        await inception(hosts=names, company=company)
    assert [(await bench.steps(name))[14].attempts for name in names] == [1, 1]


async def test_an_outage_that_ends_while_it_is_retried_holds_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, company = await together(bench, 2)
    bench.dns.fault = DnsFault.SERVFAIL
    fail = steps.fail

    async def fail_and_mend(*given: Any) -> None:
        await fail(*given)
        bench.dns.fault = DnsFault.NONE

    monkeypatch.setattr(steps, "fail", fail_and_mend)
    await inception(hosts=names, company=company)
    assert {(await bench.host(name)).state for name in names} == {HostState.REBOOTING}
    assert [(await bench.steps(name))[14].attempts for name in names] == [2, 2]
