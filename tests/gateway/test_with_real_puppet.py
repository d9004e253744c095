"""A real Puppet server and real agents, with our scripts in between and the gateway behind them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from sqlmodel import select

from gateway.serve import serve
from integrations.puppet import CertificateState, PuppetCa, read_report, verdict
from inventory import classification
from inventory.arrows import Evidence
from inventory.builds import certificate_token
from inventory.life import HostState
from inventory.models import Build, Facts, HostGroup, Puppet, StepState
from lab.process import free_port, until
from lab.puppet_agent import AgentRun, agent_run
from lab.servers.puppet import SERVER, PuppetServer, puppet
from tests.elsewhere import living_elsewhere
from tests.gateway.conftest import World, token
from tests.integrations.puppet.sites import settings_of

# The first one on a machine makes a CA.
pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

NAME = "web1.example.org"
MANIFEST = """\
class motd(String $text) { notify { "motd: ${text} in ${role}": } }
node default { }
"""


@dataclass
class Cycle:
    """A Puppet server that asks the gateway, which is there or not."""

    world: World
    server: PuppetServer
    gateway_port: int
    ca: PuppetCa

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[None]:
        """Have the gateway listen while the block lasts."""
        settings = self.world.settings.model_copy(
            update={
                "port": free_port(),
                "tls_port": self.gateway_port,
                "tls_certificate": self.server.certificate,
                "tls_key": self.server.key,
                "tls_ca": self.server.ca,
            }
        )
        running = asyncio.create_task(serve(settings))

        async def listens() -> bool:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.gateway_port)
                writer.close()
                return True
            return False

        await until(listens, what="the gateway listens", deadline=20, every=0.05)
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def agent(self, machine: Path, secret: str | None) -> AgentRun:
        """Run the agent of the host once, on a machine of its own."""
        return await agent_run(self.server, certname=NAME, directory=machine, token=secret)


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[PuppetServer, int]]:
    port = free_port()
    with TemporaryDirectory(prefix="puppet-") as directory:
        opened = puppet(Path(directory), gateway=f"https://127.0.0.1:{port}")
        with living_elsewhere(opened) as server:
            yield server.site, port


@pytest.fixture
async def cycle(world: World, site: tuple[PuppetServer, int]) -> AsyncIterator[Cycle]:
    server, port = site
    (server.manifests / "site.pp").write_text(MANIFEST)
    async with world.database.sessions.begin() as session:
        row = Puppet(name="lab", url=server.here, certname=SERVER, credentials="unused")
        session.add(row)
        await session.flush()
        group = await session.get_one(HostGroup, world.group.id)
        group.puppet_id = world.group.puppet_id = row.id
        group.classes = {"motd": {"text": "hello"}}
        group.parameters = {"role": "web"}
    async with PuppetCa(settings_of(server)) as ca:
        await ca.clean(NAME)
        yield Cycle(world, server, port, ca)


async def test_a_first_run_needs_no_human(cycle: Cycle, tmp_path: Path) -> None:
    world = cycle.world
    host, build = await world.host(1, HostState.FIRST_BOOT)
    async with cycle.gateway():
        ran = await cycle.agent(tmp_path / "m", certificate_token(token(1)))
    assert ran.code == 2, ran.output
    assert "motd: hello in web" in ran.output
    status = await cycle.ca.status(NAME)
    assert status is not None
    assert status.state is CertificateState.SIGNED
    (kept,) = await world.callbacks()
    report = read_report(kept.body.encode())
    assert (report.host, verdict(report).configured) == (NAME, True)
    arrows = await world.steps(build)
    assert {arrows[n].state for n in (31, 32)} == {StepState.DONE}
    assert {arrows[n].evidence for n in (31, 32)} == {Evidence.OBSERVED}
    async with world.database.sessions() as session:
        facts = await session.get_one(Facts, (host.id, "puppet"))
        (answer,) = await classification.changes(session, host.id)
    assert len(facts.values) > 50
    assert "text: hello" in answer.answer


async def test_a_wrong_token_is_refused_and_then_the_right_one_signed(
    cycle: Cycle, tmp_path: Path
) -> None:
    await cycle.world.host(1, HostState.FIRST_BOOT)
    async with cycle.gateway():
        wrong = await cycle.agent(tmp_path / "stranger", "wrong")
        assert wrong.code == 1, wrong.output
        status = await cycle.ca.status(NAME)
        assert status is not None
        assert status.state is CertificateState.REQUESTED
        await cycle.ca.forget(NAME)  # as attend does
        right = await cycle.agent(tmp_path / "host", certificate_token(token(1)))
    assert right.code == 2, right.output


async def test_a_second_life_of_the_name_begins_once_it_is_cleaned(
    cycle: Cycle, tmp_path: Path
) -> None:
    await cycle.world.host(1, HostState.FIRST_BOOT)
    secret = certificate_token(token(1))
    async with cycle.gateway():
        assert (await cycle.agent(tmp_path / "first", secret)).code == 2
        await cycle.ca.clean(NAME)
        async with cycle.world.database.sessions.begin() as session:
            (await session.exec(select(Build))).one().certificate_key = None
        second = await cycle.agent(tmp_path / "second", secret)
    assert second.code == 2, second.output
    assert len(await cycle.world.callbacks()) == 2


async def test_a_host_speaks_for_nobody_at_the_gateway(cycle: Cycle, tmp_path: Path) -> None:
    await cycle.world.host(1, HostState.FIRST_BOOT)
    async with cycle.gateway():
        await cycle.agent(tmp_path / "m", certificate_token(token(1)))
        ssl_directory = tmp_path / "m/ssl"
        context = cycle.server.context(
            ssl_directory / f"certs/{NAME}.pem", ssl_directory / f"private_keys/{NAME}.pem"
        )
        url = f"https://127.0.0.1:{cycle.gateway_port}"
        async with httpx.AsyncClient(verify=context, base_url=url) as http:
            for path in ("/puppet/reports", "/api/config_reports", f"/puppet/facts/{NAME}"):
                body = b"host: web2.example.org\ntransaction_uuid: 1\n"
                body = b'{"name": "web1.example.org", "values": {}}' if "facts" in path else body
                answer = await http.post(path, content=body)
                assert answer.status_code == 403, (path, answer.text)
                assert f"{NAME} is the certname of no [[puppet]]" in answer.text
        nobody = ssl.create_default_context(cafile=cycle.server.ca)
        async with httpx.AsyncClient(verify=nobody, base_url=url) as http:
            assert (await http.get(f"/puppet/enc/{NAME}")).status_code == 403


async def test_a_host_that_is_not_known_gets_no_catalog(cycle: Cycle, tmp_path: Path) -> None:
    async with cycle.gateway():
        ran = await cycle.agent(tmp_path / "m", "anything")
        assert ran.code == 1
        await cycle.ca.sign(NAME)
        ran = await cycle.agent(tmp_path / "m", None)
    assert ran.code == 1, ran.output
    assert "returned 22" in ran.output
    assert await cycle.world.callbacks() == []


async def test_a_revoked_host_tells_nothing_whatever_its_exit_code(
    cycle: Cycle, tmp_path: Path
) -> None:
    await cycle.world.host(1, HostState.FIRST_BOOT)
    async with cycle.gateway():
        await cycle.agent(tmp_path / "m", certificate_token(token(1)))
        before = len(await cycle.world.callbacks())
        await cycle.ca.revoke(NAME)
        await asyncio.sleep(4)  # until the server has loaded its list anew (contract, section 6)
        await cycle.agent(tmp_path / "m", None)
        assert len(await cycle.world.callbacks()) == before


async def test_a_failing_resource_is_told_with_its_words(cycle: Cycle, tmp_path: Path) -> None:
    await cycle.world.host(1, HostState.FIRST_BOOT)
    (cycle.server.manifests / "site.pp").write_text(
        MANIFEST.replace("node default { }", 'node default { exec { "/bin/false": } }')
    )
    async with cycle.gateway():
        ran = await cycle.agent(tmp_path / "m", certificate_token(token(1)))
    assert ran.code in (4, 6), ran.output
    (kept,) = await cycle.world.callbacks()
    found = verdict(read_report(kept.body.encode()))
    assert not found.configured
    assert "Exec[/bin/false]" in found.reason
    assert "returned 1 instead of one of [0]" in found.reason


async def test_an_old_catalog_in_the_place_of_one_that_does_not_compile_is_no_success(
    cycle: Cycle, tmp_path: Path
) -> None:
    await cycle.world.host(1, HostState.FIRST_BOOT)
    async with cycle.gateway():
        await cycle.agent(tmp_path / "m", certificate_token(token(1)))
        (cycle.server.manifests / "site.pp").write_text('fail("not today")\n')
        await cycle.agent(tmp_path / "m", None)
    first, second = (read_report(one.body.encode()) for one in await cycle.world.callbacks())
    assert verdict(first).configured
    assert second.status != "failed", "its status alone would pass for success"
    found = verdict(second)
    assert not found.configured
    assert "old catalog" in found.reason
    assert "not today" in found.reason
