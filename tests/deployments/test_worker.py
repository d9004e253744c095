"""Runs in this process: started, retried and cancelled by people, each in a context of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import Abort
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Scheduled
from typer.testing import CliRunner, Result

from cli.main import app
from inventory.arrows import Phase
from inventory.life import HostState
from inventory.models import HostGroup, StepState
from lab.doubles.dhcp import Fault
from tests.deployments.conftest import Prefect, Working
from tests.flows.bench import Bench

pytestmark = pytest.mark.long


async def asked(prefect: Prefect, *hosts: str, group: str = "plain", name: str = "") -> UUID:
    """A run of inception as Prefect's own form makes it."""
    run = await prefect.client.create_flow_run_from_deployment(
        prefect.registered.phases[Phase.INCEPTION],
        parameters={"hosts": list(hosts), "host_group": group, "name": name},
    )
    return run.id


async def reaches(bench: Bench, name: str, number: int) -> None:
    """Wait until a step of a host is being worked on."""
    async with asyncio.timeout(20):
        while (await bench.steps(name))[number].state is not StepState.RUNNING:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_the_form_asks_for_hosts_and_host_group(prefect: Prefect) -> None:
    found = await prefect.client.read_deployment_by_name("inception/inception")
    form = found.parameter_openapi_schema
    assert form is not None
    fields = form["properties"]
    assert form["required"] == ["hosts"]
    assert fields["hosts"]["type"] == "array"
    assert "Names of the hosts" in fields["hosts"]["description"]
    assert "Host group" in fields["host_group"]["description"]
    assert found.enforce_parameter_schema


async def test_a_run_that_a_person_started_gets_the_name_and_the_tag_of_its_host(
    bench: Bench, prefect: Prefect, working: Working
) -> None:
    found = await bench.discovered(1)
    async with working():
        run = await prefect.ended(await asked(prefect, found, name="web01"))
    assert run.state is not None
    assert run.state.is_completed()
    assert run.name == "inception · web01.lab.example"
    assert sorted(run.tags) == [
        "group:plain",
        "host:web01.lab.example",
        "phase:inception",
        "rackrise",
    ]
    assert (await bench.host("web01.lab.example")).state is HostState.REBOOTING
    assert (await bench.build("web01.lab.example")).asked_by == "a run started in Prefect"


async def test_a_run_that_names_an_unknown_host_fails_with_a_sentence(
    bench: Bench, prefect: Prefect, working: Working
) -> None:
    async with working():
        run = await prefect.ended(await asked(prefect, "nobody.lab.example"))
    assert run.state is not None
    assert run.state.is_failed()
    assert "there is no host 'nobody.lab.example'" in (run.state.message or "")
    assert run.name == "inception · nobody.lab.example"
    assert "host:nobody.lab.example" in run.tags


async def test_a_retry_in_prefect_goes_on_at_the_step_that_failed(
    bench: Bench, prefect: Prefect, working: Working
) -> None:
    found, name = await bench.discovered(1), "web01.lab.example"
    bench.put_dns(name, "A", "192.0.2.77")
    async with working():
        run = await prefect.ended(await asked(prefect, found, name="web01"))
        assert run.state is not None
        assert run.state.is_failed()
        assert (await bench.host(name)).state is HostState.HELD
        before = {number: one.ended_at for number, one in (await bench.steps(name)).items()}
        changes = bench.dhcp.commands["config-set"]
        bench.drop_dns(name, "A")
        await prefect.client.set_flow_run_state(run.id, AwaitingRetry(), force=True)
        run = await prefect.ended(run.id)
    assert run.state is not None
    assert run.state.is_completed()
    assert (await bench.host(name)).state is HostState.REBOOTING
    after = {number: one.ended_at for number, one in (await bench.steps(name)).items()}
    assert [after[number] for number in range(6, 14)] == [before[number] for number in range(6, 14)]
    assert bench.dhcp.commands["config-set"] == changes


@pytest.mark.parametrize("state", [Cancelling, Cancelled])
async def test_a_run_that_is_cancelled_in_prefect_stops_and_holds_its_host(
    bench: Bench, prefect: Prefect, working: Working, state: Callable[[], State[Any]]
) -> None:
    name, other = await bench.selected(1), await bench.selected(2)
    bench.dhcp.fault = Fault.SILENT
    async with working():
        run_id = await asked(prefect, name, group="")
        await reaches(bench, name, 7)
        await prefect.client.set_flow_run_state(run_id, state(), force=True)
        # Prefect's engine calls it crashed for a moment.
        await prefect.becomes(run_id, StateType.CANCELLED)
        async with asyncio.timeout(30):
            while (await bench.host(name)).state is not HostState.HELD:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await bench.build(name)).held_reason == "the flow run was cancelled"
        # The worker has lost nothing but that run.
        bench.dhcp.fault = Fault.NONE
        after = await prefect.ended(await asked(prefect, other, group=""))
        assert after.state is not None
        assert after.state.is_completed()
    assert await bench.retry(name) is Phase.INCEPTION


async def test_each_run_knows_itself_and_no_other(
    bench: Bench, prefect: Prefect, working: Working
) -> None:
    found = [await bench.discovered(number) for number in range(1, 5)]
    async with working():
        runs = [
            await asked(prefect, one, name=f"web{number:02d}")
            for number, one in enumerate(found, 1)
        ]
        for run in runs:
            await prefect.ended(run)
    for number, run in enumerate(runs, 1):
        arrows = await bench.steps(f"web{number:02d}.lab.example")
        assert {arrows[step].flow_run_id for step in range(7, 18)} == {run}


async def test_a_run_that_is_scheduled_again_while_it_runs_is_not_run_twice(
    bench: Bench, prefect: Prefect, working: Working
) -> None:
    name = await bench.selected(1)
    bench.dhcp.fault = Fault.SILENT
    async with working() as worker:
        run = await asked(prefect, name, group="")
        await reaches(bench, name, 7)
        await prefect.client.set_flow_run_state(run, Scheduled(), force=True)
        assert await worker.get_and_submit_flow_runs() == []
        bench.dhcp.fault = Fault.NONE
        await prefect.ended(run)
    assert (await bench.host(name)).state is HostState.REBOOTING
    assert bench.images.reboots == ["192.0.2.100"]


async def test_hosts_are_given_up_in_prefect_and_each_effect_is_shown(
    bench: Bench, prefect: Prefect, working: Working
) -> None:
    found, name = await bench.discovered(1), "web01.lab.example"
    async with working():
        await prefect.ended(await asked(prefect, found, name="web01"))
        assert len(bench.dhcp.reservations) == 1
        made = await prefect.client.create_flow_run_from_deployment(
            prefect.registered.phases[Phase.CANCEL], parameters={"hosts": [name]}
        )
        run = await prefect.ended(made.id)
    assert run.state is not None
    assert run.state.is_completed()
    assert run.name == f"cancel · {name}"
    assert (await bench.host(name)).state is HostState.CANCELLED
    assert (await bench.build(name)).given_up == "a run started in Prefect"
    assert not bench.dhcp.reservations
    only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[made.id]))
    (table,) = await prefect.client.read_artifacts(artifact_filter=only)
    assert "4 undone" in (table.description or "")


async def approving(prefect: Prefect, host: str) -> UUID:
    """Ask for a plan that waits for somebody's leave."""
    deployment = await prefect.client.read_deployment_by_name("plan/plan")
    run = await prefect.client.create_flow_run_from_deployment(
        deployment.id,
        parameters={"hosts": [host], "host_group": "plain", "name": "web01", "approve": True},
    )
    return run.id


async def test_an_approved_plan_is_carried_out_and_holds_no_worker_while_it_waits(
    bench: Bench, prefect: Prefect, working: Working
) -> None:
    found = await bench.discovered(1)
    async with working() as worker:
        run = await approving(prefect, found)
        await prefect.becomes(run, StateType.PAUSED)
        async with asyncio.timeout(20):
            while worker.running:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await prefect.client.read_flow_run(run)).state_type is StateType.PAUSED
        assert (await bench.host(found)).state is HostState.DISCOVERED
        await prefect.client.resume_flow_run(run)
        ended = await prefect.ended(run)
    assert ended.state is not None
    assert ended.state.is_completed(), ended.state.message
    assert (await bench.host("web01.lab.example")).state is HostState.SELECTED
    assert (await bench.build("web01.lab.example")).asked_by == "an approved plan"


async def test_a_plan_that_has_become_another_one_is_not_carried_out(
    bench: Bench, prefect: Prefect, working: Working
) -> None:
    found = await bench.discovered(1)
    async with working():
        run = await approving(prefect, found)
        await prefect.becomes(run, StateType.PAUSED)
        await bench.change(HostGroup, packages=["labos-base", "nginx"])
        await prefect.client.resume_flow_run(run)
        ended = await prefect.ended(run)
    assert ended.state is not None
    assert ended.state.is_failed()
    assert "not what was approved" in (ended.state.message or "")
    assert (await bench.host(found)).state is HostState.DISCOVERED


async def test_plan_and_drift_are_told_at_the_command_line(
    bench: Bench, prefect: Prefect, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RACKRISE_DATABASE_URL", bench.database.url)
    found = await bench.discovered(1)

    async def rackrise(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, list(words))

    async with working():
        told = await rackrise("plan", found, "--group", "plain", "--name", "web01")
        assert told.exit_code == 0, told.stderr
        assert told.stdout.startswith("web01.lab.example as plain")
        assert "create" in told.stdout
        told = await rackrise("plan", found, "--group", "plain", "--name", "web01", "--json")
        (planned,) = json.loads(told.stdout)
        assert planned["host"] == "web01.lab.example"
        assert {"change", "system", "words"} <= planned["lines"][0].keys()
        unknown = await rackrise("plan", "nobody.lab.example")
        assert unknown.exit_code == 2
        assert "there is no host 'nobody.lab.example'" in unknown.stderr
        told = await rackrise("drift")
        assert told.stdout.strip() == "everything is as it should be", told.stderr
        assert json.loads((await rackrise("drift", "--json")).stdout) == []


async def test_a_run_that_prefect_does_not_let_go_on_leaves_the_worker_at_work(
    bench: Bench, prefect: Prefect, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, other = await bench.selected(1), await bench.selected(2)
    refused = asyncio.Event()

    async def refuse(*_: object, **__: object) -> None:
        refused.set()
        raise Abort("This run has already terminated.")

    async with working() as worker:
        with monkeypatch.context() as patch:
            patch.setattr("deployments.worker.run_flow_async", refuse)
            await asked(prefect, name, group="")
            async with asyncio.timeout(20):
                await refused.wait()
                while worker.running:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        after = await prefect.ended(await asked(prefect, other, group=""))
        assert after.state is not None
        assert after.state.is_completed()
    assert (await bench.host(other)).state is HostState.REBOOTING
