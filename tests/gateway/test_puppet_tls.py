"""The gateway as Puppet servers reach it: real TLS, and the scripts that lie on their side."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pydantic import ValidationError

from gateway.serve import serve
from gateway.settings import GatewaySettings
from inventory.builds import certificate_token
from inventory.life import HostState
from inventory.models import CallbackKind, Facts, Puppet, StepState
from lab.authority import Authority, Pair
from lab.process import free_port
from tests.gateway.conftest import NAME, World, request_of, token

SCRIPTS = Path(__file__).parents[2] / "examples" / "puppet"
REPORT = f"""\
--- !ruby/object:Puppet::Transaction::Report
host: {NAME}
time: '2026-01-02T03:04:05.000000000+00:00'
transaction_uuid: 0f4c9a31-6a1c-4f7e-9a6e-2f4f2b1f0c11
status: changed
"""


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    """Puppet's."""
    return Authority(tmp_path, "puppet-ca")


@dataclass
class Running:
    """A gateway on both its listeners."""

    world: World
    ca: Authority
    http_url: str
    https_url: str

    async def ask(self, method: str, path: str, pair: Pair | None, **more: Any) -> httpx.Response:
        """What the TLS listener answers to whoever has a certificate, or none."""
        context = ssl.create_default_context(cafile=self.ca.file)
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        async with httpx.AsyncClient(verify=context, base_url=self.https_url) as client:
            return await client.request(method, path, **more)


@asynccontextmanager
async def running(world: World, ca: Authority) -> AsyncIterator[Running]:
    """Serve while the block lasts."""
    own, port, tls_port = ca.sign("rackrise.example.org"), free_port(), free_port()
    files = {"tls_certificate": own.certificate, "tls_key": own.key, "tls_ca": ca.file}
    settings = world.settings.model_copy(update={"port": port, "tls_port": tls_port, **files})
    serving = asyncio.create_task(serve(settings))
    made = Running(world, ca, f"http://127.0.0.1:{port}", f"https://127.0.0.1:{tls_port}")
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    await made.ask("GET", "/health", None)
                except httpx.ConnectError:
                    await asyncio.sleep(0.05)
                else:
                    break
        yield made
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.fixture
async def gateway(world: World, ca: Authority) -> AsyncIterator[Running]:
    async with running(world, ca) as made:
        yield made


@pytest.fixture
def server(ca: Authority, puppet: Puppet) -> Pair:
    """The Puppet server's own certificate."""
    return ca.sign(puppet.certname)


async def test_who_speaks_is_known_by_the_certificate_of_the_connection(
    gateway: Running, server: Pair
) -> None:
    await gateway.world.host(1, HostState.FIRST_BOOT)
    told: dict[str, Any] = {
        "content": REPORT,
        "headers": {"X-Client-Cn": "main.puppet.example.org"},
    }
    for pair, words in (
        (None, "no client certificate"),
        (gateway.ca.sign(None), "no client certificate"),
        (gateway.ca.sign(NAME), f"{NAME} is the certname of no"),
        # Its alternative name proves nothing.
        (gateway.ca.sign("evil", other_name="main.puppet.example.org"), "evil is the certname of"),
    ):
        answer = await gateway.ask("POST", "/puppet/reports", pair, **told)
        assert answer.status_code == 403
        assert words in answer.json()["message"]
    async with httpx.AsyncClient(base_url=gateway.http_url) as client:
        plain = await client.post("/puppet/reports", **told)
        assert (plain.status_code, (await client.get("/health")).status_code) == (403, 200)
    assert await gateway.world.callbacks() == []
    for _ in range(2):
        answer = await gateway.ask("POST", "/puppet/reports", server, **told)
        assert answer.status_code == 201
    (kept,) = await gateway.world.callbacks()
    assert (kept.kind, kept.body) == (CallbackKind.PUPPET_REPORT, REPORT)


async def test_a_certificate_of_another_authority_ends_in_the_handshake(
    gateway: Running, puppet: Puppet, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    forged = Authority(tmp_path / "other", "puppet-ca").sign(puppet.certname)
    with pytest.raises(httpx.HTTPError):
        await gateway.ask("GET", "/health", forged)


async def test_a_host_without_certificate_is_served_its_own_paths(
    gateway: Running, puppet: Puppet
) -> None:
    await gateway.world.host(1, HostState.INSTALLING)
    answer = await gateway.ask("POST", f"/unattended/built?token={token(1)}", None)
    assert answer.status_code == 201


@pytest.mark.parametrize("left_out", ["tls_port", "tls_certificate", "tls_key", "tls_ca"])
def test_tls_in_part_is_refused_with_what_is_missing(left_out: str) -> None:
    whole = {"tls_port": 8443, "tls_certificate": "a", "tls_key": "b", "tls_ca": "c"}
    database = {"database_url": "postgresql://"}
    GatewaySettings.model_validate(database)
    GatewaySettings.model_validate(database | whole)
    with pytest.raises(ValidationError, match=f": {left_out} not given"):
        GatewaySettings.model_validate(
            database | {key: value for key, value in whole.items() if key != left_out}
        )


@dataclass
class PuppetServer:
    """The scripts with their settings, as they lie on a Puppet server."""

    directory: Path
    facts: Path

    async def run(self, script: str, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """Exit code, output and errors."""
        started = await asyncio.create_subprocess_exec(
            self.directory / script,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            output, errors = await started.communicate(stdin)
        assert started.returncode is not None
        return started.returncode, output.decode(), errors.decode()


@pytest.fixture
def scripts(gateway: Running, server: Pair, tmp_path: Path) -> PuppetServer:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing")
    made = PuppetServer(tmp_path / "rackrise", tmp_path / "facts")
    shutil.copytree(SCRIPTS, made.directory)
    made.facts.mkdir()
    values = {
        "gateway": gateway.https_url,
        "certificate": server.certificate,
        "key": server.key,
        "ca": gateway.ca.file,
        "facts": made.facts,
    }
    conf = made.directory / "rackrise.conf"
    lines = [line.partition("=") for line in conf.read_text().splitlines()]
    assert values.keys() == {name for name, equals, _ in lines if equals and name[0] != "#"}
    conf.write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
    return made


async def test_autosign_signs_for_the_token_alone(gateway: Running, scripts: PuppetServer) -> None:
    _, build = await gateway.world.host(1, HostState.INSTALLING)
    code, _, errors = await scripts.run("rackrise-autosign", NAME, stdin=request_of(secret="wrong"))
    assert code != 0
    assert "403" in errors
    right = request_of(secret=certificate_token(token(1)))
    assert await scripts.run("rackrise-autosign", NAME, stdin=right) == (0, "", "")
    assert (await gateway.world.steps(build))[24].seen == "asked for with the build's token"


@pytest.mark.parametrize("script", ["rackrise-autosign", "rackrise-node"])
@pytest.mark.parametrize("name", ["", "../health", "a&b", "-o", "WEB1", "a b"])
async def test_an_odd_name_is_asked_of_nobody(
    scripts: PuppetServer, script: str, name: str
) -> None:
    code, output, errors = await scripts.run(script, name)
    assert (code, output) == (1, "")
    assert errors == f"odd name of a host: {name}\n"


async def test_a_node_is_given_and_its_facts_are_taken_along(
    gateway: Running, scripts: PuppetServer
) -> None:
    host, build = await gateway.world.host(1, HostState.FIRST_BOOT)
    code, first, errors = await scripts.run("rackrise-node", NAME)
    assert (code, errors) == (0, "")
    assert yaml.safe_load(first)["classes"] == {"base": {}, "ntp": {"servers": ["192.0.2.1"]}}
    assert (await gateway.world.steps(build))[31].state is StepState.PENDING
    facts = {"name": NAME, "values": {"kernel": "Linux"}}
    (scripts.facts / f"{NAME}.json").write_text(json.dumps(facts))
    assert await scripts.run("rackrise-node", NAME) == (0, first, "")
    async with gateway.world.database.sessions() as session:
        assert (await session.get_one(Facts, (host.id, "puppet"))).values == facts["values"]
    assert (await gateway.world.steps(build))[31].state is StepState.DONE


async def test_facts_that_are_refused_keep_no_host_from_its_catalog(
    gateway: Running, scripts: PuppetServer
) -> None:
    await gateway.world.host(1, HostState.FIRST_BOOT)
    (scripts.facts / f"{NAME}.json").write_text("{}")
    code, output, errors = await scripts.run("rackrise-node", NAME)
    assert code == 0
    assert "rackrise_generation: 1" in output
    assert "422" in errors


async def test_an_unknown_node_and_a_gateway_that_is_away_are_errors(
    scripts: PuppetServer, gateway: Running
) -> None:
    code, output, errors = await scripts.run("rackrise-node", NAME)
    assert (code, output) == (22, "")
    assert "404" in errors
    conf = scripts.directory / "rackrise.conf"
    conf.write_text(conf.read_text().replace(gateway.https_url, f"https://127.0.0.1:{free_port()}"))
    for script in ("rackrise-node", "rackrise-autosign"):
        code, output, _ = await scripts.run(script, NAME)
        assert code not in (0, 22)
        assert output == ""
