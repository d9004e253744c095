"""The whole product on a simulated site: from power-on to in operation, whatever hosts do wrong."""

import json
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from prefect.client.orchestration import PrefectClient
from starlette.types import ASGIApp
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError
from websockets.typing import Subprotocol

from deployments.up import Up, up
from inventory.arrows import Evidence
from inventory.database import Sessions, make_engine, make_sessions
from inventory.fleet import FleetRow, everyone
from inventory.models import StepState
from inventory.overview import arrows_of_host
from lab.content import fill_pulp, keep_candlepin_secret, keep_puppet_certificate, rackrise
from lab.demo import data_directory
from lab.process import until
from lab.simulated import Fault, Pace, SimulatedSite, simulated_site
from tests.integrations.candlepin.strict import DOCUMENT, Judge, Judged

pytestmark = [pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]

SEED = 20
PACE = Pace(firmware=(0.5, 1), discovery=(0, 0.2), install=(0.1, 0.5), boot=(0, 0.2))
FAULTS = (Fault.ASKS_TWICE, Fault.LOSES_BUILT, Fault.NONE, Fault.STAYS_OFF, Fault.DIES_IN_INSTALL)
ARRIVES = FAULTS.index(Fault.STAYS_OFF)
"""Hosts before this one need nobody."""
SECONDS = 60.0
REPORTED, IMPLIED = {22}, {1, 3, 19}


def same(app: ASGIApp) -> ASGIApp:
    """Without its document nobody judges what Candlepin is asked."""
    return app


@dataclass(frozen=True)
class Running:
    """A site with Rackrise beside it, its hosts switched on."""

    site: SimulatedSite
    here: Up
    sessions: Sessions

    async def host(self, number: int) -> FleetRow | None:
        """The host that is number so and so of the site, if it has been discovered."""
        async with self.sessions() as session:
            rows = {one.mac: one for one in await everyone(session)}
        return rows.get(self.site.hosts[number].mac)

    async def reaches(self, number: int, state: str) -> FleetRow:
        """Wait until a host is in a state."""

        async def there() -> bool:
            row = await self.host(number)
            return row is not None and row.state == state

        try:
            await until(there, what=f"host {number} is {state}", deadline=SECONDS, every=0.2)
        except TimeoutError:
            words = await self.site.hosts[number].last_words()
            pytest.fail(f"host {number} is not {state}: {await self.host(number)}\n{words}")
        row = await self.host(number)
        assert row is not None
        return row

    def writes(self) -> tuple[int, int, dict[Path, int]]:
        """How often each server was changed until now."""
        files = [one for one in self.site.boot_root.rglob("*") if one.is_file()]
        changed = {one: one.stat().st_mtime_ns for one in files}
        return self.site.kea.commands["config-set"], self.site.dns.updates, changed

    async def fill_pulp(self) -> None:
        """Give Rackrise Pulp's credentials and have Pulp get the tree, as an operator would."""
        assert self.site.pulp is not None
        user, (password, _) = next(iter(self.site.pulp.users.items()))
        environment = self.here.environment
        await fill_pulp(
            environment, user=user, password=password, api_url=environment["PREFECT_API_URL"]
        )

    def prefect(self) -> PrefectClient:
        """Prefect's API, with its password."""
        environment = self.here.environment
        return PrefectClient(
            environment["PREFECT_API_URL"], auth_string=environment["PREFECT_API_AUTH_STRING"]
        )

    async def command(self, *words: str) -> str:
        """What ``rackrise`` prints."""
        return await rackrise(*words, environment=self.here.environment)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Running]:
    """One bring-up for all tests of this module; as a person would, it switches the hosts on."""
    print(f"seed {SEED}")
    judge = Judge()
    async with AsyncExitStack() as stack:
        data = stack.enter_context(data_directory())
        site = await stack.enter_async_context(
            simulated_site(
                len(FAULTS),
                seed=SEED,
                pace=PACE,
                faults=FAULTS,
                with_pulp=True,
                with_puppet=True,
                with_candlepin=True,
                around_candlepin=(lambda app: Judged(app, judge)) if DOCUMENT.exists() else same,
            )
        )
        here = await stack.enter_async_context(up(site.place(data)))
        engine = make_engine(here.environment["RACKRISE_DATABASE_URL"], pool_size=2)
        stack.push_async_callback(engine.dispose)
        started = Running(site, here, make_sessions(engine))
        await started.fill_pulp()
        assert site.puppet is not None
        await keep_puppet_certificate(here.environment, site.puppet.client)
        await keep_candlepin_secret(here.environment)
        for host in site.hosts:
            await host.power_on()
        yield started
        # Whatever was asked of Candlepin on the way, by its own document.
        assert judge.violations == []
        assert judge.judged > len(FAULTS) or not DOCUMENT.exists()


@pytest.mark.parametrize("number", range(ARRIVES))
async def test_a_host_goes_from_power_on_to_in_operation(running: Running, number: int) -> None:
    row = await running.reaches(number, "in_operation")
    async with running.sessions() as session:
        arrows = {one.number: one for one in await arrows_of_host(session, row.name)}
    assert len(arrows) == 34
    for one in arrows.values():
        expected = Evidence.OBSERVED
        if one.number in REPORTED:
            expected = Evidence.REPORTED
        elif one.number in IMPLIED:
            expected = Evidence.IMPLIED
        assert (one.state, one.evidence) == (StepState.DONE, expected), one
    host = running.site.hosts[number]
    assert host.installed is not None
    assert host.installed.hostname == row.name
    reserved = [one for one in running.site.kea.reservations if one["hw-address"] == host.mac]
    assert [one["ip-address"] for one in reserved] == [row.ip]


async def test_a_host_is_one_consumer_however_often_it_has_installed(running: Running) -> None:
    double = running.site.candlepin
    assert double is not None
    names = [(await running.reaches(number, "in_operation")).name for number in range(ARRIVES)]
    there = [one["name"] for one in double.state.consumers.values() if one["name"] in names]
    assert sorted(there) == sorted(names)
    registered = {double.state.consumers[one]["name"] for one in double.state.registered}
    assert set(names) <= registered
    assert len(double.state.registered) == len(double.state.consumers)
    listed = await running.command("hosts", "packages", names[0])
    assert "subscription-manager-1-1.noarch" in listed.splitlines()
    shown = await running.command("hosts", "show", names[0])
    assert "labos/1 of Pulp lab" in shown or "rackrise-pins/labos/1" in shown


async def test_hosts_install_from_pins_in_pulp(running: Running) -> None:
    pulp = running.site.pulp
    assert pulp is not None
    host = running.site.hosts[ARRIVES - 1]
    await running.reaches(ARRIVES - 1, "in_operation")
    assert host.installed is not None
    assert host.installed.tree.startswith(f"{pulp.content_url}rackrise-pins/labos/1/")


async def test_a_sync_shows_how_far_it_is_in_prefect(running: Running) -> None:
    async with running.prefect() as client:
        bars = [one for one in await client.read_artifacts() if one.type == "progress"]
    (said,) = (one.description for one in bars)
    assert said == "labos into Pulp: version 1 is new, served at labos/1"
    assert [one.key for one in bars] == ["content-labos"]
    assert [one.data for one in bars] == [100.0]


async def test_the_same_run_twice_makes_no_second_change(running: Running) -> None:
    row = await running.reaches(ARRIVES, "rebooting")

    async def silent() -> bool:
        async with running.sessions() as session:
            arrows = await arrows_of_host(session, row.name)
        return arrows[16].state == StepState.DONE

    await until(silent, what="arrow 17 is done", deadline=SECONDS, every=0.2)
    before = running.writes()
    async with running.prefect() as client:
        deployment = await client.read_deployment_by_name("inception/inception")
        run = await client.create_flow_run_from_deployment(
            deployment.id, parameters={"hosts": [row.name]}
        )

        async def ended() -> bool:
            state = (await client.read_flow_run(run.id)).state
            return state is not None and state.is_final()

        await until(ended, what="the second run has ended", deadline=SECONDS, every=0.2)
        state = (await client.read_flow_run(run.id)).state
    assert state is not None
    assert state.is_completed(), state
    assert running.writes() == before
    await running.site.hosts[ARRIVES].power_on()
    await running.reaches(ARRIVES, "in_operation")


async def test_a_failed_installation_is_held_and_goes_on_where_it_was(running: Running) -> None:
    number = FAULTS.index(Fault.DIES_IN_INSTALL)
    held = await running.reaches(number, "held")
    assert held.held_reason is not None
    assert "the disk of a simulated host is full" in held.held_reason
    host, before = running.site.hosts[number], running.writes()
    host.fault = Fault.NONE
    await running.command("hosts", "retry", held.name)
    await host.power_on()
    row = await running.reaches(number, "in_operation")
    assert row.ip == held.ip
    changes, updates, _ = running.writes()
    assert (changes, updates) == before[:2]


async def test_applying_the_site_file_again_changes_nothing(running: Running) -> None:
    before = running.writes()
    site_file = running.site.place(Path("unused")).site_file
    printed = await running.command("site", "apply", str(site_file))
    assert running.writes() == before
    said = printed.strip().splitlines()
    assert said
    assert all(line.endswith((": unchanged", "is in place")) for line in said), printed


async def test_prefects_api_asks_who_comes(running: Running) -> None:
    environment = running.here.environment
    api = environment["PREFECT_API_URL"]
    user, _, password = environment["PREFECT_API_AUTH_STRING"].partition(":")
    async with httpx.AsyncClient(timeout=10) as http:
        for path in ("flow_runs/filter", "block_documents/filter", "deployments/filter"):
            assert (await http.post(f"{api}/{path}", json={})).status_code == 401
            for name, word in ((user, "wrong"), ("admin", password)):
                answer = await http.post(f"{api}/{path}", json={}, auth=(name, word))
                assert answer.status_code == 401, (path, name)
            answer = await http.post(f"{api}/{path}", json={}, auth=(user, password))
            assert answer.status_code == 200
        # What looks after it need not know the password.
        assert (await http.get(f"{api}/health")).status_code == 200
        other = {"Origin": "http://elsewhere.example", "Access-Control-Request-Method": "POST"}
        answer = await http.options(f"{api}/flow_runs/filter", headers=other)
        assert "access-control-allow-origin" not in answer.headers
    async with connect(
        f"{api.replace('http', 'ws', 1)}/events/out",
        subprotocols=[Subprotocol("prefect")],
        proxy=None,
    ) as events:
        await events.send(json.dumps({"type": "auth", "token": f"{user}:wrong"}))
        with pytest.raises(ConnectionClosedError, match="Invalid token"):
            await events.recv()


async def test_no_log_of_ours_holds_a_secret(running: Running) -> None:
    environment = running.here.environment
    secrets = (
        environment["PREFECT_API_AUTH_STRING"].partition(":")[2],
        environment["RACKRISE_TOKEN_KEY"],
    )
    logs = sorted(running.here.prefect_key.parent.glob("*.log"))
    assert {one.stem for one in logs} >= {"prefect", "gateway", "worker", "site"}
    for log in logs:
        text = log.read_text(errors="replace")
        assert not [one for one in secrets if one in text], log.name
    for file in ("prefect.key", "token.key"):
        mode = (running.here.prefect_key.parent / file).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
