"""What runs show of their hosts in Prefect: links, outcomes, and words of what failed."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact

from flows import showing
from inventory.arrows import Phase
from tasks.company import Company, LostBuild, NothingDone, Problem, Traveller
from tasks.departures import Departure
from tasks.means import use
from tasks.naming import artifact_key, run_tags
from tests.deployments.conftest import Prefect, Working
from tests.deployments.test_worker import asked
from tests.flows.bench import Bench

CONSOLE = "https://rackrise.example.org"
WEB01, WEB02 = (Traveller(build=uuid4(), host=f"web0{n}.lab.example") for n in (1, 2))
CONFLICT = Problem("somebody else has it", "Ask them.")


async def shown(prefect: Prefect, run: UUID) -> dict[str, Artifact]:
    """The artifacts of a run; results of tasks have no key."""
    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    found = await prefect.client.read_artifacts(artifact_filter=mine)
    return {one.key: one for one in found if one.key}


@pytest.mark.long
@pytest.mark.parametrize("console", ["", CONSOLE])
async def test_a_lone_host_is_linked_to_its_page_if_there_is_one(
    bench: Bench, prefect: Prefect, working: Working, console: str
) -> None:
    use(replace(bench.means, console_url=console))
    found = await bench.discovered(1)
    async with working():
        run = await prefect.ended(await asked(prefect, found, name="web01"))
    artifacts = list((await shown(prefect, run.id)).values())
    assert len(artifacts) == bool(console)
    for one in artifacts:
        assert f"]({CONSOLE}/hosts/web01.lab.example)" in str(one.data)


@pytest.mark.long
async def test_several_hosts_end_in_a_table_and_a_failed_run_says_step_host_reason_and_advice(
    bench: Bench, prefect: Prefect, working: Working
) -> None:
    names = [await bench.selected(number) for number in range(1, 4)]
    lone = await bench.selected(4)
    for one in (names[1], lone):
        bench.put_dns(one, "A", "192.0.2.77")
    async with working():
        run = await prefect.ended(await asked(prefect, *names, group=""))
        assert run.state is not None
        assert run.state.is_completed()
        alone = await prefect.ended(await asked(prefect, lone, group=""))
    (table,) = (await shown(prefect, run.id)).values()
    assert table.key == "inception-outcomes"
    assert table.description == "2 of 3 hosts are through this run of inception"
    rows = json.loads(str(table.data))
    assert [(one["host"], one["outcome"]) for one in rows] == [
        (names[1], "goes on in another run"),
        (names[0], "done"),
        (names[2], "done"),
    ]
    assert rows[0]["step"] == "14, 15 Proxy → DNS: creates the records"
    assert "192.0.2.77" in rows[0]["error"]
    assert "another name or address" in rows[0]["advice"]
    assert alone.state is not None
    said = alone.state.message or ""
    step, reason, advice = (
        f"14, 15 Proxy → DNS: creates the records: failed for {lone}: ",
        "192.0.2.77. ",
        "give this host another name or address; then retry.",
    )
    assert said.index(step) < said.index(reason) < said.index(advice)


async def table_of(
    monkeypatch: pytest.MonkeyPatch, *left: Departure, settled: dict[UUID, showing.Settled]
) -> dict[str, Any]:
    made = AsyncMock()
    monkeypatch.setattr(showing, "acreate_table_artifact", made)
    party = Company(id=uuid4(), phase=Phase.INCEPTION, travellers=(WEB01, WEB02))
    await showing.show_outcomes(party, left, settled)
    (told,) = made.await_args_list
    return dict(told.kwargs)


async def test_each_host_has_its_own_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Departure(WEB01.host, "11 Proxy → Pulp", LostBuild("another run has it now"))
    held = {WEB02.build: showing.Settled("held", "14 Rackrise → Proxy", CONFLICT)}
    table = (await table_of(monkeypatch, lost, settled=held))["table"]
    assert [tuple(one.values()) for one in table] == [
        (
            WEB01.host,
            "goes on in another run",
            "11 Proxy → Pulp",
            "another run has it now",
            "Nothing: the other run says what becomes of it.",
        ),
        (WEB02.host, "held", "14 Rackrise → Proxy", "somebody else has it", "Ask them."),
    ]


async def test_prefect_being_away_keeps_no_host_from_its_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = AsyncMock(side_effect=httpx.ConnectError("refused"))
    monkeypatch.setattr(showing, "acreate_table_artifact", away)
    monkeypatch.setattr(showing, "get_run_logger", lambda: logging.getLogger("flow"))
    party = Company(id=uuid4(), phase=Phase.INCEPTION, travellers=(WEB01, WEB02))
    await showing.show_outcomes(party, [], {})
    assert "the table of outcomes is not shown" in caplog.text


async def test_one_host_has_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    made = AsyncMock()
    monkeypatch.setattr(showing, "acreate_table_artifact", made)
    await showing.show_outcomes(
        Company(id=uuid4(), phase=Phase.INCEPTION, travellers=(WEB01,)), [], {}
    )
    made.assert_not_awaited()


def test_the_words_of_a_failure() -> None:
    both = {WEB01: CONFLICT, WEB02: CONFLICT}
    assert str(NothingDone((12, 13), {WEB01: CONFLICT})) == (
        "12, 13 Proxy → DHCP: creates the reservation: failed for web01.lab.example: "
        "somebody else has it. Ask them."
    )
    assert str(NothingDone((), dict(both), "Check the kickstart (before 16)")) == (
        "Check the kickstart (before 16): failed for web01.lab.example: "
        "somebody else has it. Ask them. It failed for 1 more host."
    )


def test_keys_of_artifacts_are_such_as_prefect_takes() -> None:
    assert artifact_key("host", "Web_01.lab.example").startswith("host-web-01-lab-example-")
    assert artifact_key("host", "web-01.x") != artifact_key("host", "web.01.x")


def test_many_groups_are_not_tags() -> None:
    assert run_tags(["a", "b"], {"web", "db"}) == ["group:db", "group:web"]
    assert run_tags(["a", "b"], {"1", "2", "3", "4"}) == []
    assert run_tags(["a"], ()) == ["host:a"]
