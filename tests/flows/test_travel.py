"""Who travels, and who does not: hosts that are held, not ready, or to be something else by now."""

from __future__ import annotations

import pytest
from sqlmodel import col, select

from flows import inception as inception_module
from flows import travel
from flows.anaconda_build import anaconda_build
from flows.cancel import cancel
from flows.first_boot import first_boot
from flows.inception import inception
from inventory import hosts
from inventory.arrows import Phase
from inventory.due import due
from inventory.errors import NotReady
from inventory.life import HostState
from inventory.models import AuditEntry, Build, BuildOutcome, CallbackKind, Claim, Door, StepState
from tasks.company import Company, NothingDone, Problem
from tests.flows.bench import Bench
from tests.flows.test_undo import (
    claimed,
    give_up,
    in_operation,
    outside,
    provisioned,
    rebuilt,
    without_boot_files,
)

pytestmark = [pytest.mark.usefixtures("bare")]


async def due_phases(bench: Bench) -> list[Phase]:
    async with bench.database.sessions() as session:
        return [one.phase for one in await due(session, 10)]


async def live_claims(bench: Bench) -> list[Claim]:
    async with bench.database.sessions() as session:
        return list(await session.exec(select(Claim).where(col(Claim.ended_at).is_(None))))


def text_of(bench: Bench) -> str:
    (config,) = bench.boot_configs()
    return config.read_text()


async def test_an_installer_at_work_is_not_disarmed_by_a_person_in_prefect(bench: Bench) -> None:
    name = await bench.selected(1)
    await inception.fn(hosts=[name])
    await bench.advance(name, HostState.INSTALLING)
    before = text_of(bench)
    await anaconda_build.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.INSTALLING
    assert text_of(bench) == before
    assert (await bench.steps(name))[28].state is StepState.PENDING


async def test_a_host_whose_steps_are_done_goes_on_all_the_same(bench: Bench) -> None:
    name = await bench.selected(1)
    await inception.fn(hosts=[name])
    await bench.advance(name, HostState.FIRST_BOOT)
    await bench.told(name, CallbackKind.KICKSTART, remote=(await bench.interface(name)).ip or "")
    async with bench.database.sessions.begin() as session:
        host = await hosts.named(session, name)
        host.state = HostState.INSTALLED  # as the worker died before it could say so
    await anaconda_build.fn(hosts=[name], company=await claimed(bench, name, Phase.ANACONDA))
    assert (await bench.host(name)).state is HostState.FIRST_BOOT
    assert await due_phases(bench) == []


async def test_a_system_that_has_not_reported_is_not_held_for_it(bench: Bench) -> None:
    name = await bench.at(1, HostState.FIRST_BOOT)
    await first_boot.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.FIRST_BOOT
    assert (await bench.build(name)).held_reason is None


async def test_a_worker_that_dies_after_it_has_held_a_host_leaves_no_run_of_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await bench.selected(1)
    bench.images.off.add("192.0.2.100")

    async def died(party: Company) -> None:
        raise OSError("the database is gone")

    with monkeypatch.context() as patch:
        patch.setattr(travel, "_end", died)
        with pytest.raises(NothingDone):
            await inception.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.HELD
    assert await live_claims(bench) == []
    bench.images.off.clear()
    assert await bench.retry(name) is Phase.INCEPTION
    await inception.fn(hosts=[name], company=await bench.company(name))
    assert (await bench.host(name)).state is HostState.REBOOTING
    assert len(bench.images.reboots) == 1


async def test_a_host_that_is_held_under_way_is_let_go_of_before_it_can_be_retried(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await bench.selected(1)
    refused: list[str] = []

    async def held_meanwhile(company: Company) -> Company:
        await bench.hold(name, step=20)
        try:
            await bench.retry(name)
        except NotReady as error:
            refused.append(str(error))
        return company

    with monkeypatch.context() as patch:
        patch.setattr(inception_module, "check_kickstarts", held_meanwhile)
        await inception.fn(hosts=[name])
    assert "has not let go of it yet" in refused[0]
    assert (await bench.host(name)).state is HostState.HELD
    assert (await bench.steps(name))[17].state is StepState.PENDING
    assert bench.images.reboots == []
    assert await live_claims(bench) == []
    await bench.retry(name)
    assert (await bench.host(name)).state is not HostState.HELD


async def test_a_run_that_has_not_begun_does_not_let_a_host_go_on_that_is_held_meanwhile(
    bench: Bench,
) -> None:
    name = await bench.selected(1)
    company = await claimed(bench, name, Phase.INCEPTION)
    await bench.hold(name, step=7)
    assert await live_claims(bench) == []
    await inception.fn(hosts=[name], company=company)
    assert (await bench.host(name)).state is HostState.HELD
    await bench.retry(name)
    await inception.fn(hosts=[name], company=await bench.company(name))
    assert (await bench.host(name)).state is HostState.REBOOTING


async def test_a_flow_that_is_run_again_for_a_held_host_is_a_retry_in_the_audit_log(
    bench: Bench,
) -> None:
    name = await bench.selected(1)
    await bench.hold(name, step=7)
    await inception.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.REBOOTING
    # The next is not held: to run the flow for it is no retry.
    other = await bench.selected(2)
    await inception.fn(hosts=[other])
    async with bench.database.sessions() as session:
        (entry,) = await session.exec(select(AuditEntry))
    assert (entry.who, entry.door, entry.action) == (travel.IN_PREFECT, Door.PREFECT, "retry")
    assert entry.about == f"host {name}"
    assert (entry.before or {})["state"] == "held"
    assert (entry.after or {})["state"] == "selected"


async def held_with_its_records(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> str:
    """A host that is held when all but its restart is done; its name."""
    name = await bench.selected(1)

    async def fail(company: Company) -> Company:
        raise Problem("this name will not do", "Give it another one.")

    with monkeypatch.context() as patch:
        patch.setattr(inception_module, "check_kickstarts", fail)
        with pytest.raises(Problem):
            await inception.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.HELD
    return name


async def test_a_held_host_that_gets_another_name_begins_anew_under_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await held_with_its_records(bench, monkeypatch)
    assert list(bench.dns_records("A")) == [name]
    await provisioned(bench, name, "db01")
    new = "db01.lab.example"
    assert (await bench.build(new)).generation == 2
    await in_operation(bench, new)
    assert list(bench.dns_records("A")) == [new]
    assert list(bench.dns_records("PTR").values()) == [[new]]
    (reservation,) = bench.dhcp.reservations
    assert reservation["hostname"] == new


async def test_a_held_host_that_is_asked_for_as_it_is_goes_on_where_it_was(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await held_with_its_records(bench, monkeypatch)
    await provisioned(bench, name, None)
    assert (await bench.host(name)).state is HostState.PREPARING
    assert (await bench.build(name)).generation == 1


async def test_cancelling_a_rebuild_of_a_held_host_undoes_what_that_one_had_made(
    bench: Bench,
) -> None:
    before = outside(bench)
    name = await bench.selected(1)
    await inception.fn(hosts=[name])
    await bench.hold(name, step=20)
    await rebuilt(bench, name)
    await give_up(bench, name)
    await cancel.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.CANCELLED
    assert without_boot_files(outside(bench)) == before
    async with bench.database.sessions() as session:
        outcomes = await session.exec(select(Build.outcome).order_by(col(Build.generation)))
        assert list(outcomes) == [BuildOutcome.SUPERSEDED, BuildOutcome.CANCELLED]


async def test_cancelling_a_second_rebuild_leaves_what_is_in_operation(bench: Bench) -> None:
    name = await bench.selected(1)
    await in_operation(bench, name)
    before = outside(bench)
    bench.images.reboots.clear()
    for _ in range(2):
        await rebuilt(bench, name)
        await inception.fn(hosts=[name])
        bench.images.reboots.clear()
        await bench.hold(name, step=20)
    await give_up(bench, name)
    await cancel.fn(hosts=[name])
    assert without_boot_files(outside(bench)) == without_boot_files(before)
