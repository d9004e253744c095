import asyncio
import json
from typing import Any

import pytest
from httpx import AsyncClient, Response

from inventory import repositories, steps
from inventory.arrows import Evidence
from inventory.builds import close_build
from inventory.life import HostState
from inventory.models import BuildOutcome, CallbackKind, Facts, StepState
from inventory.puppet import keep_report
from inventory.repositories import RepositoryRow
from tests.gateway.conftest import World, token
from tests.inventory.world import later, mac

BEFORE = [HostState.DISCOVERED, HostState.SELECTED, HostState.PREPARING]
KINDS = ["built", "failed", "progress", "report"]
REPORT = {
    "hostname": "web1.example.org",
    "addresses": ["192.0.2.50"],
    "os": "labos 1",
    "kernel": "6.1.0",
    "boot_id": "4a1d7f0e-0000-0000-0000-000000000000",
    "root_device": "/dev/vda1",
    "uptime_seconds": 12.5,
}


async def say(
    client: AsyncClient, what: str, body: object = None, number: int = 1, method: str = "POST"
) -> Response:
    content = body if isinstance(body, str | bytes) else json.dumps(body or {})
    # The relay of a Smart Proxy makes every body text/plain.
    return await client.request(
        method,
        f"/unattended/{what}",
        params={"token": token(number), "url": "http://192.0.2.9:8000"},
        content=content,
        headers={"Content-Type": "text/plain"},
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_built_ends_the_installation(world: World, client: AsyncClient, method: str) -> None:
    host, build = await world.host(1, HostState.INSTALLING)
    answer = await say(client, "built", method=method)
    assert (answer.status_code, answer.content) == (201, b"")
    assert await world.state(host.id) is HostState.INSTALLED
    after = await world.build(build)
    assert after.token_spent_at == later(101)
    assert after.deadline == later(101 + 30 * 60)
    steps = await world.steps(build)
    assert steps[27].evidence is Evidence.OBSERVED
    assert steps[22].evidence is Evidence.IMPLIED
    assert steps[28].state is StepState.PENDING


async def test_built_again_is_heard_and_changes_nothing(world: World, client: AsyncClient) -> None:
    host, build = await world.host(1, HostState.INSTALLING)
    for method in ("POST", "GET", "POST"):
        assert (await say(client, "built", method=method)).status_code == 201
    assert len(await world.callbacks()) == 1
    assert (await world.build(build)).token_spent_at == later(101)
    assert await world.state(host.id) is HostState.INSTALLED


async def test_a_hundred_built_at_once_are_one_transition(
    world: World, client: AsyncClient
) -> None:
    host, build = await world.host(1, HostState.INSTALLING)
    answers = await asyncio.gather(*(say(client, "built") for _ in range(100)))
    assert [answer.status_code for answer in answers] == [201] * 100
    assert len(await world.callbacks()) == 1
    assert await world.state(host.id) is HostState.INSTALLED
    assert (await world.steps(build))[27].state is StepState.DONE


async def test_built_without_a_seen_kickstart_implies_it(world: World, client: AsyncClient) -> None:
    host, build = await world.host(1, HostState.REBOOTING)
    assert (await say(client, "built")).status_code == 201
    assert await world.state(host.id) is HostState.INSTALLED
    steps = await world.steps(build)
    assert {steps[n].evidence for n in (18, 19, 20, 21, 22)} == {Evidence.IMPLIED}


async def test_built_of_a_host_that_was_held_for_being_late_goes_on(
    world: World, client: AsyncClient
) -> None:
    host, build = await world.host(1, HostState.INSTALLING)
    await world.hold(build, "late")
    assert (await say(client, "built")).status_code == 201
    assert await world.state(host.id) is HostState.INSTALLED
    assert (await world.build(build)).held_reason is None


async def test_built_after_failed_is_the_newer_word(world: World, client: AsyncClient) -> None:
    host, _ = await world.host(1, HostState.INSTALLING)
    assert (await say(client, "failed", "disk full")).status_code == 201
    assert await world.state(host.id) is HostState.HELD
    assert (await say(client, "built")).status_code == 201
    assert await world.state(host.id) is HostState.INSTALLED


async def test_failed_after_built_is_kept_and_moves_nothing(
    world: World, client: AsyncClient
) -> None:
    host, _ = await world.host(1, HostState.INSTALLING)
    await say(client, "built")
    assert (await say(client, "failed", "late trouble")).status_code == 201
    assert await world.state(host.id) is HostState.INSTALLED
    assert [one.kind for one in await world.callbacks()] == [
        CallbackKind.BUILT,
        CallbackKind.FAILED,
    ]


async def test_built_of_a_build_that_ended_is_heard_and_leaves_the_host_alone(
    world: World, client: AsyncClient
) -> None:
    host, build = await world.host(1, HostState.INSTALLING)
    async with world.database.sessions.begin() as session:
        await close_build(session, build, BuildOutcome.SUPERSEDED, later(1))
    assert (await say(client, "built")).status_code == 201
    assert await world.state(host.id) is HostState.INSTALLING
    assert (await world.steps(build))[27].state is StepState.DONE


@pytest.mark.parametrize("state", BEFORE)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_host_that_is_not_in_build_mode_is_405(
    world: World, client: AsyncClient, state: HostState, kind: str
) -> None:
    host, _ = await world.host(1, state)
    answer = await say(client, kind, REPORT | {"stage": "x"})
    assert answer.status_code == 405
    assert f"web1.example.org is {state} and not in build mode" in answer.text
    assert await world.state(host.id) is state
    assert await world.callbacks() == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("query", [{}, {"token": ""}, {"mac": mac(1)}])
async def test_nothing_is_told_without_a_token(
    world: World, client: AsyncClient, kind: str, query: dict[str, str]
) -> None:
    await world.host(1, HostState.INSTALLING)
    sent = {"X-RHN-Provisioning-MAC-0": f"eth0 {mac(1)}"}
    answer = await client.post(f"/unattended/{kind}", params=query, headers=sent, json=REPORT)
    assert (answer.status_code, answer.text) == (
        401,
        "the build's token is missing (?token=…)\n",
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wrong_token_is_404_whatever_else_is_sent(
    world: World, client: AsyncClient, kind: str
) -> None:
    await world.host(1, HostState.INSTALLING)
    sent = {"X-RHN-Provisioning-MAC-0": f"eth0 {mac(1)}"}
    body = REPORT | {"stage": "x"}
    answer = await client.post(f"/unattended/{kind}?token=wrong", headers=sent, json=body)
    assert answer.status_code == 404
    assert await world.callbacks() == []


async def test_failed_holds_the_host_with_its_last_words(world: World, client: AsyncClient) -> None:
    host, build = await world.host(1, HostState.REBOOTING)
    await client.get("/unattended/provision", params={"token": token(1)})
    log = "first\n" * 2000 + f"GET ?token={token(1)}\nno such package: labos\x00\n"
    assert (await say(client, "failed", log)).status_code == 201
    assert await world.state(host.id) is HostState.HELD
    after = await world.build(build)
    assert after.held_from is HostState.INSTALLING
    assert after.held_step == 22
    assert after.held_reason is not None
    assert "no such package: labos" in after.held_reason
    assert len(after.held_reason) < 2100
    step = (await world.steps(build))[22]
    assert step.state is StepState.FAILED
    kept = (await world.callbacks())[-1].body
    assert token(1) not in kept + after.held_reason
    assert "?token=[token]" in kept


async def test_a_failure_after_the_packages_is_one_of_the_last_step(
    world: World, client: AsyncClient
) -> None:
    _, build = await world.host(1, HostState.REBOOTING)
    await client.get("/unattended/provision", params={"token": token(1)})
    await say(client, "progress", {"stage": "packages installed", "detail": "5 packages"})
    await say(client, "failed", "no answer")
    assert (await world.build(build)).held_step == 27
    assert (await world.steps(build))[22].state is StepState.DONE


async def test_a_long_log_is_trimmed(world: World, client: AsyncClient) -> None:
    await world.host(1, HostState.INSTALLING)
    assert (await say(client, "failed", "x" * 200_000)).status_code == 201
    kept = (await world.callbacks())[0].body
    assert kept == "x" * 65535 + "\nOutput trimmed"


async def test_an_endless_log_is_413(world: World, client: AsyncClient) -> None:
    await world.host(1, HostState.INSTALLING)
    assert (await say(client, "failed", b"x" * (17 << 20))).status_code == 413


async def test_progress_is_seen_on_the_step(world: World, client: AsyncClient) -> None:
    _, build = await world.host(1, HostState.INSTALLING)
    await say(client, "progress", {"stage": "anaconda started", "detail": "kernel 6.1"})
    assert (await world.steps(build))[22].state is StepState.RUNNING
    await say(client, "progress", {"stage": "packages installed", "detail": "5 packages"})
    step = (await world.steps(build))[22]
    assert (step.evidence, step.seen) == (Evidence.REPORTED, "5 packages")
    await say(client, "progress", {"stage": "packages installed", "detail": "5 packages"})
    assert len(await world.callbacks()) == 2


async def test_progress_with_what_cannot_be_stored_is_taken(
    world: World, client: AsyncClient
) -> None:
    _, build = await world.host(1, HostState.INSTALLING)
    told = {"stage": "packages installed", "detail": "5\x00"}
    assert (await say(client, "progress", told)).status_code == 201
    assert (await world.steps(build))[22].seen == "5\ufffd"


@pytest.mark.parametrize(
    "body", ["", "x", "[]", {"detail": "x"}, {"stage": ""}, {"stage": "x" * 101}, b"\xff\x00"]
)
async def test_progress_that_says_nothing_is_422(
    world: World, client: AsyncClient, body: object
) -> None:
    await world.host(1, HostState.INSTALLING)
    answer = await say(client, "progress", body)
    assert answer.status_code == 422
    assert answer.text.startswith("not understood: ")


async def test_the_first_report_is_kept_for_the_flow(world: World, client: AsyncClient) -> None:
    host, build = await world.host(1, HostState.INSTALLING)
    await say(client, "built")
    for _ in range(2):
        assert (await say(client, "report", REPORT)).status_code == 201
    assert await world.state(host.id) is HostState.INSTALLED
    report = (await world.callbacks())[-1]
    assert (report.kind, report.build_id) == (CallbackKind.REPORT, build.id)
    assert len(await world.callbacks()) == 2
    async with world.database.sessions.begin() as session:
        kept = await session.get_one(Facts, (host.id, "first_boot"))
    assert kept.values == REPORT | {"repositories": []}


async def test_the_repositories_of_the_first_report_are_kept(
    world: World, client: AsyncClient
) -> None:
    host, _ = await world.host(1, HostState.INSTALLED)
    assert (await say(client, "built")).status_code == 201
    used = [
        {"id": "base", "url": "http://pulp.example.org/pulp/content/ks/el9/"},
        {"id": "base", "url": "http://pulp.example.org/pulp/content/ks/el9-new/"},
    ]
    assert (await say(client, "report", REPORT | {"repositories": used})).status_code == 201
    async with world.database.sessions() as session:
        (kept,) = await repositories.of_host(session, host.id)
    assert kept == RepositoryRow("base", used[1]["url"], "not compared yet")


@pytest.mark.parametrize("state", [HostState.REBOOTING, HostState.INSTALLING])
async def test_a_report_stands_for_a_built_that_was_lost(
    world: World, client: AsyncClient, state: HostState
) -> None:
    host, build = await world.host(1, state)
    assert (await say(client, "report", REPORT)).status_code == 201
    assert await world.state(host.id) is HostState.INSTALLED
    after = await world.build(build)
    assert (after.token_spent_at, after.deadline) == (later(101), later(101 + 30 * 60))
    steps = await world.steps(build)
    assert {steps[n].evidence for n in (18, 19, 20, 21, 22, 27)} == {Evidence.IMPLIED}
    assert "its word that it was built was lost" in steps[27].seen
    assert steps[28].state is StepState.PENDING
    (report,) = await world.callbacks()
    assert (report.kind, report.handled_at) == (CallbackKind.REPORT, None)
    assert (await client.get(f"/unattended/provision?token={token(1)}")).status_code == 405


async def test_a_built_that_comes_after_the_report_is_better_evidence(
    world: World, client: AsyncClient
) -> None:
    host, build = await world.host(1, HostState.INSTALLING)
    for what, body in (("report", REPORT), ("built", {}), ("report", REPORT)):
        assert (await say(client, what, body)).status_code == 201
    assert await world.state(host.id) is HostState.INSTALLED
    assert (await world.steps(build))[27].evidence is Evidence.OBSERVED
    assert len(await world.callbacks()) == 2


async def test_a_host_that_was_held_in_its_installer_and_reports_goes_on(
    world: World, client: AsyncClient
) -> None:
    host, build = await world.host(1, HostState.INSTALLING)
    await say(client, "failed", "nobody heard that it was built")
    assert (await say(client, "report", REPORT)).status_code == 201
    assert await world.state(host.id) is HostState.INSTALLED
    assert (await world.build(build)).held_reason is None


async def test_a_report_of_a_build_that_ended_is_kept_and_moves_nothing(
    world: World, client: AsyncClient
) -> None:
    host, build = await world.host(1, HostState.INSTALLING)
    async with world.database.sessions.begin() as session:
        await close_build(session, build, BuildOutcome.SUPERSEDED, later(1))
    assert (await say(client, "report", REPORT)).status_code == 201
    assert await world.state(host.id) is HostState.INSTALLING
    assert [one.kind for one in await world.callbacks()] == [CallbackKind.REPORT]


@pytest.mark.parametrize(("second", "adopted"), [(80, False), (95, True)])
async def test_what_the_agent_said_before_the_first_report_counts_if_the_system_ran(
    world: World, client: AsyncClient, second: float, adopted: bool
) -> None:
    host, build = await world.host(1, HostState.INSTALLING)
    async with world.database.sessions.begin() as session:
        host = await session.merge(host)
        await keep_report(session, host, "first", "body", source="main", at=later(second))
    # It runs for 12.5 seconds, and the clock says 101.
    assert (await say(client, "report", REPORT)).status_code == 201
    told = (await world.callbacks())[0]
    assert (told.build_id == build.id, told.handled_at is None) == (adopted, adopted)


@pytest.mark.parametrize(
    "changes",
    [
        {"hostname": ""},
        {"addresses": ["x"]},
        {"addresses": ["fe80::1%eth0 and more"]},
        {"addresses": ["::%\0"]},
        {"uptime_seconds": -1},
    ],
)
async def test_a_report_that_says_nothing_is_422(
    world: World, client: AsyncClient, changes: dict[str, Any]
) -> None:
    await world.host(1, HostState.INSTALLING)
    assert (await say(client, "report", REPORT | changes)).status_code == 422


async def test_a_megabyte_of_garbage_is_refused_everywhere(
    world: World, client: AsyncClient
) -> None:
    await world.host(1, HostState.INSTALLING)
    for kind in ("built", "progress", "report"):
        assert (await say(client, kind, b"\x00\xff" * (1 << 19))).status_code == 413
    assert await world.callbacks() == []


async def test_an_installer_may_restart_only_when_network_installation_is_ended(
    world: World,
) -> None:
    host, build = await world.host(1, HostState.INSTALLING)
    client = world.client()
    asked = {"token": token(1)}
    await client.post("/unattended/built", params=asked)
    early = await client.post("/unattended/ended", params=asked)
    assert early.status_code == 409
    assert "not replaced yet" in early.text
    async with world.database.sessions.begin() as session:
        await steps.finish(
            session, build.id, 29, evidence=Evidence.OBSERVED, seen="local boot", at=world.now()
        )
    assert (await client.post("/unattended/ended", params=asked)).status_code == 200
    assert (await client.post("/unattended/ended", params={"token": "x"})).status_code == 404
    assert (await client.post("/unattended/ended")).status_code == 401
    assert await world.state(host.id) is HostState.INSTALLED


async def test_the_timeline_shows_how_far_the_packages_are(world: World) -> None:
    _, build = await world.host(1, HostState.INSTALLING)
    client = world.client()
    for count in (12, 130):
        body = {"stage": "installing packages", "detail": f"{count} packages so far"}
        await client.post("/unattended/progress", params={"token": token(1)}, json=body)
        packages = (await world.steps(build))[22]
        assert packages.state is StepState.RUNNING
        assert packages.seen == f"{count} packages so far"
