"""Puppet servers at the gateway: who may speak for hosts, and what becomes of what they say."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import yaml
from starlette.types import Message, Scope

from gateway.app import create_app
from inventory import classification
from inventory.arrows import Evidence
from inventory.builds import certificate_token, close_build
from inventory.life import HostState
from inventory.models import (
    BuildOutcome,
    CallbackKind,
    Facts,
    Host,
    HostGroup,
    HostOverride,
    Puppet,
    StepState,
)
from serving.arrival import Arrival, Kind, Marked
from tests.gateway.conftest import NAME, World, request_of, token
from tests.inventory.world import later, make_puppet

SAMPLES = Path(__file__).parents[2].parent / "shared" / "contracts" / "puppet-samples"
FACTS = {"name": NAME, "values": {"os": {"name": "labos"}}, "timestamp": "2026-01-02T03:04:05Z"}
FOREMAN_FACTS = {"name": "WEB1.example.org", "certname": NAME, "facts": {"os": {"name": "labos"}}}
FOREMAN_REPORT = {"config_report": {"host": NAME, "reported_at": "2026-01-02 03:04:05 UTC"}}


@pytest.fixture
def server(world: World, puppet: Puppet) -> httpx.AsyncClient:
    """The Puppet server, with its certificate."""
    return world.client(arrival=Arrival(Kind.HTTPS, puppet.certname))


def sample(name: str, host: str = NAME) -> bytes:
    """A recorded report or facts, of a host of ours."""
    file = SAMPLES / name
    if not file.is_file():
        pytest.skip(f"../shared/contracts/puppet-samples/{name} is missing")
    recorded = next(part for part in name.split(".") if part in ("n1", "n2", "n3", "v1-rootfs"))
    certname = {"v1-rootfs": "v1.lab.test"}.get(recorded, f"{recorded}.lab.test")
    return file.read_bytes().replace(certname.encode(), host.encode())


PATHS = [
    ("POST", f"/puppet/autosign/{NAME}"),
    ("GET", f"/puppet/enc/{NAME}"),
    ("GET", f"/node/{NAME}?format=yml"),
    ("POST", f"/puppet/facts/{NAME}"),
    ("PUT", f"/puppet/facts/{NAME}"),
    ("POST", "/puppet/reports"),
    ("POST", "/api/hosts/facts"),
    ("POST", "/api/config_reports"),
]
BODIES = {
    "autosign": request_of(secret="x"),
    "facts": json.dumps(FACTS).encode(),
    "reports": json.dumps(FOREMAN_REPORT).encode(),
}


def body_of(path: str) -> bytes | None:
    return next((body for part, body in BODIES.items() if part in path), None)


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    ("arrival", "words"),
    [
        (None, "over TLS only"),
        (Arrival(Kind.HTTP), "over TLS only"),
        (Arrival(Kind.HTTPS), "no client certificate"),
        (Arrival(Kind.HTTPS, NAME), f"{NAME} is the certname of no"),
        (Arrival(Kind.HTTPS, "other.puppet.example.org"), "certname of no"),
        (Arrival(Kind.HTTPS, "main.puppet.example.org\0"), "certname of no"),
    ],
    ids=["unmarked", "plain", "nobody", "host", "stranger", "unstorable"],
)
async def test_only_the_puppet_server_speaks_for_hosts(
    world: World, puppet: Puppet, method: str, path: str, arrival: Arrival | None, words: str
) -> None:
    await world.host(1, HostState.FIRST_BOOT)
    answer = await world.client(arrival=arrival).request(method, path, content=body_of(path))
    assert answer.status_code == 403
    assert words in answer.json()["message"]
    assert await world.callbacks() == []


@pytest.mark.parametrize(
    "path", ["/puppet/reports", "/api/hosts/facts", f"/puppet/autosign/{NAME}"]
)
async def test_nothing_is_read_of_a_sender_without_certificate(
    world: World, puppet: Puppet, path: str
) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 1024

    app = Marked(
        create_app(world.settings, world.database.sessions, world.now), Arrival(Kind.HTTPS)
    )
    body = endless()
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": await anext(body), "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": [],
        "query_string": b"", "client": None, "server": None, "scheme": "https", "root_path": "",
    }  # fmt: skip
    await app(scope, receive, send)
    assert (sent[0]["status"], read) == (403, 0)


async def test_a_host_of_another_puppet_is_not_spoken_for(world: World, puppet: Puppet) -> None:
    await world.host(1, HostState.FIRST_BOOT)
    async with world.database.sessions.begin() as session:
        other = await make_puppet(session, "other")
    client = world.client(arrival=Arrival(Kind.HTTPS, other.certname))
    for method, path in PATHS:
        answer = await client.request(method, path, content=body_of(path))
        assert answer.status_code == 403, path
        assert "does not name th" in answer.text


async def test_the_builds_token_is_signed(world: World, server: httpx.AsyncClient) -> None:
    _, build = await world.host(1, HostState.INSTALLING)
    asked = request_of(secret=certificate_token(token(1)))
    for _ in range(2):
        answer = await server.post(f"/puppet/autosign/{NAME}", content=asked)
        assert (answer.status_code, answer.text) == (200, "asked for with the build's token\n")
    step = (await world.steps(build))[24]
    assert (step.state, step.seen) == (StepState.RUNNING, "asked for with the build's token")


@pytest.mark.parametrize(
    ("name", "secret", "words"),
    [
        (NAME, None, "has no token"),
        (NAME, "wrong", "does not have the token of its build"),
        (NAME, token(1), "does not have the token of its build"),
        ("web2.example.org", certificate_token(token(1)), "has the common name web2.example.org"),
    ],
)
async def test_other_requests_are_refused_with_the_reason(
    world: World, server: httpx.AsyncClient, name: str, secret: str | None, words: str
) -> None:
    await world.host(1, HostState.INSTALLING)
    answer = await server.post(f"/puppet/autosign/{NAME}", content=request_of(name, secret))
    assert answer.status_code == 403
    assert words in answer.text


async def test_a_copied_token_with_another_key_is_refused(
    world: World, server: httpx.AsyncClient
) -> None:
    _, build = await world.host(1, HostState.INSTALLING)
    secret = certificate_token(token(1))
    first = await server.post(f"/puppet/autosign/{NAME}", content=request_of(secret=secret))
    copied = await server.post(f"/puppet/autosign/{NAME}", content=request_of(secret=secret))
    assert (first.status_code, copied.status_code) == (200, 403)
    assert "came with another key before" in copied.text
    assert "came with another key before" in (await world.steps(build))[24].seen


async def test_a_host_that_installs_anew_waits_until_its_first_certificate_is_cleaned(
    world: World, server: httpx.AsyncClient
) -> None:
    _, build = await world.host(1, HostState.INSTALLING)
    secret = certificate_token(token(1))
    client = world.client()
    assert (await client.get(f"/unattended/provision?token={token(1)}")).status_code == 200
    assert not (await world.build(build)).certificate_stale, "the first try has nothing before it"
    await server.post(f"/puppet/autosign/{NAME}", content=request_of(secret=secret))
    assert (await client.get(f"/unattended/provision?token={token(1)}")).status_code == 200
    kept = await world.build(build)
    assert (kept.certificate_key, kept.certificate_stale) == (None, True)
    again = await server.post(f"/puppet/autosign/{NAME}", content=request_of(secret=secret))
    assert again.status_code == 403
    assert "is in the way; it is cleaned" in again.text


async def test_nobody_is_signed_before_and_after_its_build(
    world: World, server: httpx.AsyncClient
) -> None:
    secret = certificate_token(token(1))
    unknown = await server.post(f"/puppet/autosign/{NAME}", content=request_of(secret=secret))
    assert "there is no host" in unknown.text
    _, build = await world.host(1, HostState.PREPARING)
    early = await server.post(f"/puppet/autosign/{NAME}", content=request_of(secret=secret))
    assert "was not sent into its installer" in early.text
    assert (await world.steps(build))[24].state is StepState.PENDING
    async with world.database.sessions.begin() as session:
        await close_build(session, build, BuildOutcome.IN_OPERATION, later(200))
    late = await server.post(f"/puppet/autosign/{NAME}", content=request_of(secret=secret))
    assert "not being built" in late.text
    assert {unknown.status_code, early.status_code, late.status_code} == {403}


async def test_what_is_no_request_is_422(world: World, server: httpx.AsyncClient) -> None:
    answer = await server.post(f"/puppet/autosign/{NAME}", content=b"hello")
    assert answer.status_code == 422
    answer = await server.post("/puppet/autosign/..%2Fca", content=b"hello")
    assert answer.status_code in (404, 422)


@pytest.mark.parametrize("path", [f"/puppet/enc/{NAME}", f"/node/{NAME}?format=yml"])
async def test_a_node_is_its_group_with_its_own_on_top(
    world: World, server: httpx.AsyncClient, path: str
) -> None:
    await world.host(1, HostState.FIRST_BOOT)
    async with world.database.sessions.begin() as session:
        own = {"ntp": {"restrict": True}, "httpd": {}}
        session.add(
            HostOverride(name=NAME, classes=own, parameters={"rack": 7}, environment="testing")
        )
    answer = await server.get(path)
    assert answer.status_code == 200
    assert yaml.safe_load(answer.text) == {
        "classes": {"base": {}, "httpd": {}, "ntp": {"restrict": True, "servers": ["192.0.2.1"]}},
        "parameters": {
            "rack": 7,
            "role": "web",
            "rackrise_host_group": "web",
            "rackrise_domain": "example.org",
            "rackrise_generation": 1,
        },
        "environment": "testing",
    }


async def test_a_changed_answer_is_kept_as_a_difference_and_not_logged(
    world: World, server: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    host, _ = await world.host(1, HostState.FIRST_BOOT)
    caplog.set_level(logging.INFO)
    for _ in range(2):  # Puppet asks twice a run
        assert (await server.get(f"/puppet/enc/{NAME}")).status_code == 200
    async with world.database.sessions.begin() as session:
        group = await session.get_one(HostGroup, world.group.id)
        group.parameters = {"role": "database"}
    await server.get(f"/puppet/enc/{NAME}")
    async with world.database.sessions() as session:
        newest, first = await classification.changes(session, host.id)
    assert newest.difference == "-   role: web\n+   role: database"
    assert first.difference.startswith("+ classes:")
    assert f"main is told otherwise of {NAME}: 2 lines differ" in caplog.text
    assert "database" not in caplog.text, "it could be a password"


async def test_an_unknown_node_is_404(server: httpx.AsyncClient) -> None:
    answer = await server.get(f"/puppet/enc/{NAME}")
    assert answer.status_code == 404
    assert f"there is no host {NAME}" in answer.text
    assert (await server.get(f"/node/{NAME}?format=json")).status_code == 406


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("POST", f"/puppet/facts/{NAME}", FACTS),
        ("PUT", f"/puppet/facts/{NAME}", FACTS),
        ("POST", "/api/hosts/facts", FOREMAN_FACTS),
    ],
)
async def test_the_first_facts_of_the_installed_system_are_arrows_31_and_32(
    world: World, server: httpx.AsyncClient, method: str, path: str, sent: object
) -> None:
    host, build = await world.host(1, HostState.FIRST_BOOT)
    assert (await server.request(method, path, json=sent)).status_code == 201
    async with world.database.sessions() as session:
        kept = await session.get_one(Facts, (host.id, "puppet"))
    assert kept.values == {"os": {"name": "labos"}}
    for number in (31, 32):
        step = (await world.steps(build))[number]
        assert (step.state, step.evidence) == (StepState.DONE, Evidence.OBSERVED)
        assert step.seen.startswith("1 facts from Puppet main")
    assert await world.state(host.id) is HostState.FIRST_BOOT


async def test_facts_of_a_former_life_are_no_evidence(
    world: World, server: httpx.AsyncClient
) -> None:
    _, build = await world.host(1, HostState.INSTALLING)
    assert (await server.post(f"/puppet/facts/{NAME}", json=FACTS)).status_code == 201
    assert (await world.steps(build))[31].state is StepState.PENDING


@pytest.mark.parametrize(
    ("path", "sent", "status"),
    [
        ("/puppet/facts/web2.example.org", FACTS, 422),
        (f"/puppet/facts/{NAME}", {"name": NAME}, 422),
        ("/api/hosts/facts", [], 422),
        ("/api/hosts/facts", {**FOREMAN_FACTS, "certname": "web9.example.org"}, 404),
        ("/api/config_reports", {"config_report": {"host": "web9.example.org"}}, 422),
        ("/puppet/reports", {"hello": "world"}, 422),
    ],
)
async def test_what_is_not_understood_is_refused(
    world: World, server: httpx.AsyncClient, path: str, sent: object, status: int
) -> None:
    await world.host(1, HostState.FIRST_BOOT)
    answer = await server.post(path, json=sent)
    assert answer.status_code == status, answer.text
    assert await world.callbacks() == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/puppet/reports", "report.changed.n2.http.yaml"),
        ("/puppet/reports", "report.changed.n2.processor.json"),
        ("/puppet/reports", "report.failed.n1.http.yaml"),
        ("/puppet/reports", "report.changed.v1-rootfs.processor.json"),
        ("/api/config_reports", ""),
    ],
)
async def test_a_report_is_kept_once_for_the_flow_that_waits(
    world: World, server: httpx.AsyncClient, path: str, name: str
) -> None:
    host, build = await world.host(1, HostState.FIRST_BOOT)
    body = sample(name) if name else json.dumps(FOREMAN_REPORT).encode()
    for _ in range(2):
        answer = await server.post(path, content=body)
        assert answer.status_code == 201, answer.text
        assert answer.json()["host"] == NAME
    (kept,) = await world.callbacks()
    assert (kept.kind, kept.build_id) == (CallbackKind.PUPPET_REPORT, build.id)
    assert (kept.body, kept.handled_at) == (body.decode(), None)
    assert await world.state(host.id) is HostState.FIRST_BOOT, "a flow judges it"


async def test_a_report_of_a_host_in_operation_waits_for_nobody(
    world: World, server: httpx.AsyncClient
) -> None:
    _, build = await world.host(1, HostState.FIRST_BOOT)
    async with world.database.sessions.begin() as session:
        await close_build(session, build, BuildOutcome.IN_OPERATION, later(200))
    assert (await server.post("/api/config_reports", json=FOREMAN_REPORT)).status_code == 201
    (kept,) = await world.callbacks()
    assert kept.build_id is None
    assert kept.handled_at is not None


async def test_a_report_before_facts_is_kept_too(world: World, server: httpx.AsyncClient) -> None:
    _, build = await world.host(1, HostState.FIRST_BOOT)
    assert (await server.post("/api/config_reports", json=FOREMAN_REPORT)).status_code == 201
    assert (await server.post(f"/puppet/facts/{NAME}", json=FACTS)).status_code == 201
    assert len(await world.callbacks()) == 1
    assert (await world.steps(build))[31].state is StepState.DONE


@pytest.mark.parametrize(
    "path", ["/puppet/reports", "/api/config_reports", "/api/hosts/facts", f"/puppet/facts/{NAME}"]
)
async def test_a_body_without_end_is_413(world: World, puppet: Puppet, path: str) -> None:
    small = {"report_bytes": 1000, "facts_bytes": 1000}
    world.settings = world.settings.model_copy(update=small)
    client = world.client(arrival=Arrival(Kind.HTTPS, puppet.certname))
    answer = await client.post(path, content=b"x" * 1001)
    assert answer.status_code == 413
    assert "more than 1000 bytes" in answer.json()["message"]


async def test_a_certificate_request_without_end_is_413(server: httpx.AsyncClient) -> None:
    answer = await server.post(f"/puppet/autosign/{NAME}", content=b"x" * (64 * 1024 + 1))
    assert answer.status_code == 413


async def test_recorded_facts_are_taken_as_they_are(
    world: World, server: httpx.AsyncClient
) -> None:
    host, _ = await world.host(1, HostState.FIRST_BOOT)
    body = sample("facts.server_data.n1.json")
    assert (await server.post(f"/puppet/facts/{NAME}", content=body)).status_code == 201
    async with world.database.sessions() as session:
        assert len((await session.get_one(Facts, (host.id, "puppet"))).values) > 50
        assert (await session.get_one(Host, host.id)).state is HostState.FIRST_BOOT
