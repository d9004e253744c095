"""A real agent against a real server: first run, what fails, and what is left for whoever asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from integrations.errors import Unavailable
from integrations.puppet import ReportStore, read_report, read_request, verdict
from lab.puppet_agent import agent_run
from lab.servers.puppet import PuppetServer
from tests.integrations.puppet.sites import Site, new_name, real_site

pytestmark = [
    pytest.mark.servers,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(600),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    async with real_site() as opened:
        yield opened


@pytest.fixture
def server(site: Site) -> PuppetServer:
    assert site.server is not None
    (site.server.manifests / "site.pp").write_text("node default { }\n")
    return site.server


def store_of(server: PuppetServer) -> ReportStore:
    return ReportStore(server.directory / "var")


async def latest(server: PuppetServer, name: str) -> bytes:
    stored = await store_of(server).reports(name, datetime.now(UTC) - timedelta(minutes=5))
    return stored[0].body


async def test_a_first_run_from_the_request_to_the_report(
    site: Site, server: PuppetServer, tmp_path: Path
) -> None:
    name = new_name()
    refused = await agent_run(server, certname=name, directory=tmp_path, token="one-time")
    assert refused.code == 1
    assert "has not been signed yet" in refused.output
    pem = await site.ca.request(name)
    assert pem is not None
    assert read_request(pem).token == "one-time"
    await site.ca.sign(name)
    (server.manifests / "site.pp").write_text(
        f'file {{ "{tmp_path}/made": content => "by puppet" }}\n'
    )
    ran = await agent_run(server, certname=name, directory=tmp_path)
    assert ran.code == 2, ran.output
    assert (tmp_path / "made").read_text() == "by puppet"
    report = read_report(await latest(server, name))
    assert (report.host, report.status) == (name, "changed")
    assert verdict(report).configured
    facts = await store_of(server).facts(name)
    assert facts is not None
    assert facts.name == name
    assert facts.timestamp is not None
    assert facts.timestamp > datetime.now(UTC) - timedelta(minutes=5)


async def test_a_failing_resource_and_then_an_old_catalog_are_no_success(
    site: Site, server: PuppetServer, tmp_path: Path
) -> None:
    name = new_name()
    await agent_run(server, certname=name, directory=tmp_path)
    await site.ca.sign(name)
    good = await agent_run(server, certname=name, directory=tmp_path)
    assert good.code == 0, good.output
    (server.manifests / "site.pp").write_text('exec { "/bin/false": }\n')
    assert (await agent_run(server, certname=name, directory=tmp_path)).code == 4
    found = verdict(read_report(await _newest_of(server, name, "failed")))
    assert not found.configured
    assert "Exec[/bin/false]" in found.reason
    assert "returned 1 instead of one of [0]" in found.reason
    (server.manifests / "site.pp").write_text('fail("not today")\n')
    await agent_run(server, certname=name, directory=tmp_path)
    found = verdict(read_report(await latest(server, name)))
    assert not found.configured
    assert "old catalog" in found.reason
    assert "not today" in found.reason


async def test_the_same_name_has_a_second_life_once_it_is_cleaned(
    site: Site, server: PuppetServer, tmp_path: Path
) -> None:
    name = new_name()
    await agent_run(server, certname=name, directory=tmp_path / "first")
    await site.ca.sign(name)
    stuck = await agent_run(server, certname=name, directory=tmp_path / "second")
    assert stuck.code == 1
    assert "does not match its private key" in stuck.output
    await site.ca.clean(name)
    assert (await agent_run(server, certname=name, directory=tmp_path / "third")).code == 1
    await site.ca.sign(name)
    ran = await agent_run(server, certname=name, directory=tmp_path / "third")
    assert ran.code == 0, ran.output


async def test_a_store_that_is_not_there_is_unavailable_and_one_without_the_host_is_empty(
    server: PuppetServer, tmp_path: Path
) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    gone = ReportStore(tmp_path / "no")
    for call in (gone.all_reports(since), gone.reports("nobody", since)):
        with pytest.raises(Unavailable, match="report store"):
            await call
    assert await store_of(server).reports("nobody", since) == []
    assert await store_of(server).facts("nobody") is None


async def test_a_server_that_is_away_is_unavailable_and_comes_back(
    site: Site, server: PuppetServer
) -> None:
    await server.stop()
    with pytest.raises(Unavailable):
        await site.ca.clean(new_name())
    await server.start()
    await site.ca.clean(new_name())


async def _newest_of(server: PuppetServer, name: str, status: str) -> bytes:
    """Reports are named by the minute, so the next run of that minute takes the place."""
    body = await latest(server, name)
    assert read_report(body).status == status
    return body
