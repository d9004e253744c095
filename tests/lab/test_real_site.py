"""From power-on to in operation with real servers and machines, each arrow with its evidence."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import pytest_asyncio
import sqlalchemy as sa
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
)
from sqlmodel import col, select

from deployments.up import Up, up
from integrations.bootfiles import host_paths
from integrations.candlepin import Candlepin, CandlepinSettings, Consumer, OAuthLogin
from integrations.records import Loader as BootLoader
from inventory import callbacks, hosts
from inventory.arrows import ARROWS, Evidence
from inventory.builds import latest_build, registration_token, token_hash
from inventory.database import AsyncSession, Sessions, make_engine, make_sessions
from inventory.fleet import FleetRow, everyone
from inventory.life import HostState
from inventory.models import Build, Callback, CallbackKind, Effect, StepState
from inventory.overview import ArrowRow, arrows_of_host
from lab.candlepin import ENVIRONMENT, OAUTH_KEY, OAUTH_SECRET, OWNER
from lab.content import fill_pulp, keep_candlepin_secret, keep_puppet_certificate, rackrise
from lab.demo import data_directory
from lab.images import build as build_images
from lab.namespace import run
from lab.process import until
from lab.pulp_install import ADMIN_PASSWORD
from lab.qemu import Loader, Machine
from lab.reach import reach
from lab.real import BMC_CREDENTIALS, DOMAIN, REVERSE, RealSite, real_site
from tasks.desired import build_token
from tests.lab.real_world import boot_files, records, reservations
from tests.marked import MARK, marked

pytestmark = [
    pytest.mark.machines,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
]

ARRIVAL_SECONDS = 400.0
COMMAND_SECONDS = 60.0
ATTEND_SECONDS = 150.0
"""Two of its minutes, and time for Prefect to start it."""
FIRST_DYNAMIC, LAST_DYNAMIC = IPv4Address("192.0.2.100"), IPv4Address("192.0.2.199")


@dataclass(frozen=True)
class Setting:
    """A site: which DHCP server and machines, which of them have what, whether with a Pulp."""

    dhcp: Literal["kea", "isc"]
    loaders: Sequence[Loader]
    bmcs: Sequence[str] = ()
    pulp: bool = False
    puppet: Sequence[Loader] = ()
    """Loaders of machines that a Puppet server configures."""
    candlepin: Sequence[Loader] = ()
    """Loaders of machines that register at Candlepin."""


SETTINGS = {
    "kea": Setting("kea", (Loader.IPXE, Loader.IPXE), bmcs=("node2",)),
    "isc": Setting(
        "isc",
        (Loader.PXELINUX, Loader.GRUB2_UEFI),
        pulp=True,
        puppet=(Loader.PXELINUX,),
        candlepin=(Loader.PXELINUX,),
    ),
}


@dataclass(frozen=True)
class Less:
    """Arrows that are not observed, where, and why that is all that can be had."""

    numbers: Sequence[int]
    evidence: Evidence | None
    """None: not asked for."""
    why: str
    dhcp: Sequence[str] = ("kea", "isc")
    with_bmc: bool = True
    with_puppet: bool = True
    with_candlepin: bool = True


LESS = (
    Less((1,), Evidence.IMPLIED, "without a BMC nobody sees the button pressed", with_bmc=False),
    Less((3, 19), Evidence.IMPLIED, "what the boot server gave to whom is not read"),
    Less((18, 30), Evidence.IMPLIED, "dhcpd keeps no lease for a fixed address", dhcp=("isc",)),
    Less((22,), Evidence.REPORTED, "the installer says so; the tree's server is not asked"),
    Less((23, 25, 26), None, "the host group has no Candlepin", with_candlepin=False),
    Less((24, 31, 32, 33, 34), None, "the host group has no Puppet", with_puppet=False),
)
"""All exceptions from "observed"."""


def promised(setting: Setting, machine: Machine) -> dict[int, Evidence | None]:
    """The evidence that each arrow of a machine must have."""
    evidence: dict[int, Evidence | None] = {one.number: Evidence.OBSERVED for one in ARROWS}
    for less in LESS:
        has_bmc, has_puppet = machine.name in setting.bmcs, machine.loader in setting.puppet
        registers = machine.loader in setting.candlepin
        spared = (
            (has_bmc and not less.with_bmc)
            or (has_puppet and not less.with_puppet)
            or (registers and not less.with_candlepin)
        )
        if setting.dhcp in less.dhcp and not spared:
            evidence |= dict.fromkeys(less.numbers, less.evidence)
    return evidence


@dataclass(frozen=True)
class Held:
    """What all servers hold at one moment."""

    reservations: list[tuple[str, str]]
    records: dict[str, list[str]]
    files: dict[str, str]
    """SHA-256 of each file below the boot root."""
    certificates: list[str]
    consumers: list[str]


@dataclass
class Cycle:
    """A site whose hosts have all been taken from power-on to in operation."""

    setting: Setting
    site: RealSite
    here: Up
    sessions: Sessions
    dns_port: int
    rows: dict[str, FleetRow] = field(default_factory=dict)
    """By MAC address, as they have arrived."""
    untouched: Held | None = None
    """What the servers held before the machines were switched on."""
    powered: dict[tuple[str, int], float] = field(default_factory=dict)
    """CPU seconds of each machine and process of QEMU."""

    def prefect(self) -> PrefectClient:
        """Prefect's API, with its password."""
        environment = self.here.environment
        return PrefectClient(
            environment["PREFECT_API_URL"], auth_string=environment["PREFECT_API_AUTH_STRING"]
        )

    async def command(self, *words: str, **environment: str) -> str:
        """What ``rackrise`` prints, on the site's network."""
        return await rackrise(
            *words,
            environment=self.here.environment,
            inside=self.site.namespace.command(),
            **environment,
        )

    async def power_on(self) -> None:
        """Arrow 1: by BMC where there is one, else by hand."""
        for machine in self.site.machines:
            if machine.name in self.setting.bmcs:
                assert (await self.command("bmc", "state", machine.name)).strip() == "off"
                assert (await self.command("bmc", "on", machine.name)).strip() == "on"
                assert machine.is_on()
            else:
                machine.power_on()

    async def synchronise(self) -> None:
        """Have Pulp get the tree, as an operator would."""
        await fill_pulp(
            self.here.environment,
            user="admin",
            password=ADMIN_PASSWORD,
            api_url=f"{self.here.prefect_url}/api",
            inside=self.site.namespace.command(),
        )

    async def arrive(self) -> None:
        """Wait until all hosts are in operation, and fail at once when one is held."""
        began = time.monotonic()

        async def arrived() -> bool:
            async with self.sessions() as session:
                self.rows = {one.mac or "": one for one in await everyone(session)}
            for machine in self.site.machines:
                pid, cost = machine.switch.pid(), machine.cpu_seconds()
                if pid is not None and cost is not None:
                    self.powered[machine.name, pid] = cost
            states = [one.state for one in self.rows.values()]
            return HostState.HELD in states or (
                len(states) == len(self.site.machines) and set(states) == {HostState.IN_OPERATION}
            )

        try:
            await until(arrived, what="all hosts arrive", deadline=ARRIVAL_SECONDS, every=0.5)
        except TimeoutError as error:
            pytest.fail(f"{error}: {self._told()}")
        if any(one.state != HostState.IN_OPERATION for one in self.rows.values()):
            pytest.fail(self._told())
        for machine in self.site.machines:
            cost = sum(one for (name, _), one in self.powered.items() if name == machine.name)
            print(f"{machine.name} ({machine.loader}): {cost:.0f} s CPU")
        print(f"all in operation {time.monotonic() - began:.0f} s after power-on")

    def _told(self) -> str:
        words = [f"{one.name} is {one.state}: {one.held_reason}" for one in self.rows.values()]
        words += [f"{one.name} ends with:\n{one.tail(40)}" for one in self.site.machines]
        return "\n".join(words)

    async def build(self, session: AsyncSession, machine: Machine) -> Build:
        """The build of a machine's host."""
        host = await hosts.named(session, self.rows[machine.mac].name)
        build = await latest_build(session, host.id)
        assert build is not None
        return build

    async def arrows(self, machine: Machine) -> dict[int, ArrowRow]:
        """The arrows of a machine's host."""
        async with self.sessions() as session:
            rows = await arrows_of_host(session, self.rows[machine.mac].name)
        return {one.number: one for one in rows}

    async def effects(self) -> list[dict[str, object]]:
        """What Rackrise remembers to have changed."""
        async with self.sessions() as session:
            found = await session.exec(select(Effect).order_by(col(Effect.id)))
            return [one.model_dump() for one in found]

    def logs(self) -> dict[str, str]:
        """What each of our programs has written."""
        data = Path(self.here.environment["PREFECT_HOME"]).parent
        return {one.stem: one.read_text(errors="replace") for one in data.glob("*.log")}

    async def held(self) -> Held:
        """What the servers hold, without what changes with each change: times and serials."""
        found = await records((DOMAIN, REVERSE), self.dns_port)
        files = boot_files(self.site.tftp_root)
        return Held(
            reservations(self.site.dhcp),
            {key: one for key, one in found.items() if not key.endswith(" serial")},
            {name: digest for name, (_, digest) in files.items()},
            await self.certificates(),
            await self.consumers(),
        )

    async def certificates(self) -> list[str]:
        """Names that Puppet's CA holds, signed or not."""
        if self.site.puppet is None:
            return []
        ca = self.site.puppet.directory
        found = [*ca.glob("**/ca/signed/*.pem"), *ca.glob("**/ca/requests/*.pem")]
        return sorted(one.stem for one in found)

    async def consumers(self) -> list[str]:
        """Names of our hosts' consumers in Candlepin."""
        if self.site.candlepin is None:
            return []
        return sorted(one.name for one in await consumers_of(self, self.site.candlepin.url))

    async def world(self) -> tuple[object, ...]:
        """Everything outside in which a second change would show."""
        return (
            reservations(self.site.dhcp),
            await records((DOMAIN, REVERSE), self.dns_port),
            boot_files(self.site.tftp_root),
            [one.switch.pid() for one in self.site.machines],
        )

    def boot_path(self, machine: Machine) -> str:
        """The configuration that a machine's loader asks for first."""
        loader = {
            Loader.IPXE: BootLoader.IPXE,
            Loader.PXELINUX: BootLoader.PXELINUX,
            Loader.GRUB2_UEFI: BootLoader.GRUB2,
        }[machine.loader]
        return host_paths(loader, machine.mac)[0]


@asynccontextmanager
async def bring_up(name: str) -> AsyncIterator[Cycle]:
    """Build a site, take its hosts into operation; afterwards nothing of it may be left."""
    setting, images = SETTINGS[name], await build_images()
    namespace = f"rr-{os.getpid()}-{name}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARK, namespace)
        async with AsyncExitStack() as stack:
            data = stack.enter_context(data_directory())
            # Sockets lie in it, and their paths must be short.
            directory = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="rr-", dir="/var/lib"))
            )
            site = await stack.enter_async_context(
                real_site(
                    directory,
                    images,
                    name=namespace,
                    loaders=setting.loaders,
                    dhcp=setting.dhcp,
                    bmcs=setting.bmcs,
                    with_pulp=setting.pulp,
                    with_puppet=setting.puppet,
                    with_candlepin=setting.candlepin,
                )
            )
            here = await stack.enter_async_context(up(site.place(data)))
            engine = make_engine(here.environment["RACKRISE_DATABASE_URL"], pool_size=2)
            stack.push_async_callback(engine.dispose)
            dns_port = await stack.enter_async_context(
                reach(site.namespace, site.dns.port, site.dns.address)
            )
            cycle = Cycle(setting, site, here, make_sessions(engine), dns_port)
            if site.bmc is not None:
                await cycle.command(
                    *("bmc", "credentials", BMC_CREDENTIALS, "--user", site.bmc.user),
                    RACKRISE_BMC_PASSWORD=site.bmc.password,
                )
            if site.puppet is not None:
                await keep_puppet_certificate(
                    here.environment, site.puppet.client, inside=site.namespace.command()
                )
            if site.candlepin is not None:
                await keep_candlepin_secret(here.environment, inside=site.namespace.command())
            if setting.pulp:
                await cycle.synchronise()
            cycle.untouched = await cycle.held()
            await cycle.power_on()
            await cycle.arrive()
            yield cycle
    assert marked(namespace) == []
    assert namespace not in await run("ip", "netns", "list")
    assert [one for one in (data, directory) if one.exists()] == []


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(SETTINGS))
async def cycle(request: pytest.FixtureRequest) -> AsyncIterator[Cycle]:
    """One bring-up of each site for all tests."""
    async with bring_up(request.param) as arrived:
        assert marked(arrived.site.namespace.name), "the mark marks nothing"
        yield arrived


async def test_each_arrow_has_the_evidence_that_was_promised(cycle: Cycle) -> None:
    for machine in cycle.site.machines:
        arrows = await cycle.arrows(machine)
        expected = promised(cycle.setting, machine)
        assert len(expected) == 34
        assert {number: (one.state, one.evidence, one.error) for number, one in arrows.items()} == {
            number: (StepState.DONE if evidence else StepState.NOT_ASKED, evidence, None)
            for number, evidence in expected.items()
        }, machine.name
        assert all(one.seen for number, one in arrows.items() if expected[number])


async def test_a_bmc_is_told_to_boot_the_network_and_believed_when_it_says_so(
    cycle: Cycle,
) -> None:
    for machine in cycle.site.machines:
        seen = (await cycle.arrows(machine))[17].seen
        if machine.name in cycle.setting.bmcs:
            assert "set to the network and read back" in seen
            assert "restarted through its BMC, which says on" in seen
            # Used up by the restart: the next one is the disk's again.
            assert machine.switch.override() is None
        else:
            assert "took the order and fell silent" in seen


async def test_each_server_holds_one_record_of_each_host_and_none_besides(cycle: Cycle) -> None:
    rows = cycle.rows.values()
    assert reservations(cycle.site.dhcp) == sorted((one.mac, one.ip) for one in rows)
    expected = {f"ns.{DOMAIN} A": [cycle.site.dns.address]}
    for one in rows:
        assert one.ip is not None
        expected[f"{one.name} A"] = [one.ip]
        expected[f"{IPv4Address(one.ip).reverse_pointer} PTR"] = [one.name]
    held = await records((DOMAIN, REVERSE), cycle.dns_port)
    assert {key: one for key, one in held.items() if not key.endswith(" serial")} == expected


async def test_the_boot_server_sends_each_host_to_its_own_disk(
    cycle: Cycle, tmp_path: Path
) -> None:
    words = {
        Loader.IPXE: "#!ipxe\nexit\n",
        Loader.PXELINUX: "LOCALBOOT 0",
        Loader.GRUB2_UEFI: "chainloader",
    }
    for machine in cycle.site.machines:
        path, got = cycle.boot_path(machine), tmp_path / machine.name
        await cycle.site.namespace.run(
            "tftp", cycle.site.namespace.address, "-c", "get", path, str(got)
        )
        assert words[machine.loader] in got.read_text()
        assert "inst.ks" not in got.read_text()


async def test_each_host_called_from_the_address_that_it_had(cycle: Cycle) -> None:
    for machine in cycle.site.machines:
        reserved = cycle.rows[machine.mac].ip
        async with cycle.sessions() as session:
            build = await cycle.build(session, machine)
            told = await session.exec(
                select(Callback.kind, Callback.remote).where(col(Callback.host_id) == build.host_id)
            )
            calls = Counter(told)
        facts = [IPv4Address(one) for kind, one in calls if kind is CallbackKind.FACTS]
        assert facts
        assert all(FIRST_DYNAMIC <= one <= LAST_DYNAMIC for one in facts)
        # Puppet speaks for its hosts, from wherever it is.
        others = (CallbackKind.FACTS, CallbackKind.PUPPET_REPORT)
        later = {kind: remote for kind, remote in calls if kind not in others}
        assert later == dict.fromkeys(
            (
                CallbackKind.KICKSTART,
                CallbackKind.PROGRESS,
                CallbackKind.BUILT,
                CallbackKind.REPORT,
            ),
            reserved,
        )
        assert calls[CallbackKind.BUILT, reserved or ""] == 1
        assert calls[CallbackKind.REPORT, reserved or ""] == 1


async def test_no_token_is_kept_anywhere(cycle: Cycle) -> None:
    environment = cycle.here.environment
    urls = (
        environment["RACKRISE_DATABASE_URL"],
        environment["PREFECT_API_DATABASE_CONNECTION_URL"],
    )
    key = environment["RACKRISE_TOKEN_KEY"].encode()
    said = "".join(cycle.logs().values())
    for machine in cycle.site.machines:
        async with cycle.sessions() as session:
            build = await cycle.build(session, machine)
        token = build_token(key, build.id)
        assert build.token_hash == token_hash(token)
        assert await tables_with(urls[0], build.token_hash) == ["build"]
        assert [await tables_with(url, token) for url in urls] == [[], []]
        assert cycle.rows[machine.mac].name in said
        assert token not in said
        secret = registration_token(token)
        assert [await tables_with(url, secret) for url in urls] == [[], []]
        assert secret not in said
        assert [await tables_with(url, OAUTH_SECRET) for url in urls] == [[], []]
        assert OAUTH_SECRET not in said


async def test_a_machine_installs_from_the_tree_that_its_build_began_with(cycle: Cycle) -> None:
    pulp = cycle.site.pulp
    asked = (cycle.site.site_file.parent / "tree.log").read_text()
    for machine in cycle.site.machines:
        async with cycle.sessions() as session:
            build = await cycle.build(session, machine)
        address = cycle.rows[machine.mac].ip
        assert build.tree_url is not None
        if pulp is None:
            assert build.tree_pin is None
            assert f"{address}:" in asked
        else:
            assert build.tree_url == f"{pulp.content_url}{build.tree_pin}"
            # Upstream was asked by Pulp, and by no machine.
            assert f"{address}:" not in asked


async def test_puppet_has_made_its_hosts_what_their_group_is(cycle: Cycle) -> None:
    for machine in cycle.site.machines:
        name, server = cycle.rows[machine.mac].name, cycle.site.puppet
        if machine.loader not in cycle.setting.puppet or server is None:
            continue
        arrows = await cycle.arrows(machine)
        assert arrows[24].seen.startswith("signed until ")
        assert "facts from Puppet lab" in arrows[32].seen
        async with cycle.sessions() as session:
            build = await cycle.build(session, machine)
            told = await callbacks.latest(session, build.id, CallbackKind.PUPPET_REPORT)
        assert told is not None
        assert "/etc/motd" in told.body
        assert len(list((server.reports / name).glob("*.yaml"))) == 1
        said = await cycle.command("puppet", "changes", name)
        assert '+     text: "configured by Puppet"' in said


async def test_a_host_has_registered_by_itself_and_told_what_it_has(cycle: Cycle) -> None:
    for machine in cycle.site.machines:
        name, there = cycle.rows[machine.mac].name, cycle.site.candlepin
        if machine.loader not in cycle.setting.candlepin or there is None:
            continue
        arrows = await cycle.arrows(machine)
        said = f" of {OWNER} in {ENVIRONMENT}, read back from {there.url}"
        assert arrows[23].seen.startswith("consumer ")
        assert arrows[23].seen.endswith(said)
        packages = (await cycle.command("hosts", "packages", name)).splitlines()
        assert {"labos-base-9-1.x86_64", "subscription-manager-9-1.x86_64"} <= set(packages)
        assert arrows[25].seen == f"{len(packages)} packages reported to the RHSM front"
        # The real library has done the talking, in the installer.
        log = cycle.logs()["gateway"]
        assert f"{name} is registered as " in log
        (consumer,) = [one for one in await consumers_of(cycle, there.url) if one.name == name]
        assert consumer.owner == OWNER


async def consumers_of(cycle: Cycle, url: str) -> list[Consumer]:
    """What Candlepin has of these hosts."""
    there = cycle.site.candlepin
    assert there is not None
    place = urlsplit(url)
    async with reach(cycle.site.namespace, place.port or 0, place.hostname or "") as port:
        settings = CandlepinSettings(
            url=f"https://localhost:{port}{place.path}",
            login=OAuthLogin.model_validate({"key": OAUTH_KEY, "secret": OAUTH_SECRET}),
            ca=there.ca.read_text(),
        )
        async with Candlepin(settings) as client:
            found = []
            for row in cycle.rows.values():
                found += await client.consumers_by_fact(OWNER, "network.fqdn", row.name)
            return found


async def test_none_of_our_programs_failed_on_the_way(cycle: Cycle) -> None:
    logs = cycle.logs()
    for name in ("gateway", "site", "worker"):
        found = logs[name].find("Traceback")
        assert found < 0, f"{name}: {logs[name][max(0, found - 500) :][:4000]}"


async def test_hosts_that_are_late_are_looked_for_every_minute(cycle: Cycle) -> None:
    looks = FlowFilter(name=FlowFilterName(any_=["attend"]))
    async with cycle.prefect() as client:

        async def looked() -> bool:
            runs = await client.read_flow_runs(flow_filter=looks)
            return any(one.state is not None and one.state.is_completed() for one in runs)

        # The hosts can be in operation before the first minute is over.
        await until(looked, what="attend has looked", deadline=ATTEND_SECONDS, every=0.5)


async def tables_with(url: str, text: str) -> list[str]:
    """The tables of a database that hold a text in any column."""
    engine = make_engine(url, pool_size=1)
    try:
        async with engine.connect() as connection:
            names = await connection.run_sync(lambda to: sa.inspect(to).get_table_names())
            holding = []
            for name in names:
                query = f'SELECT count(*) FROM "{name}" AS one WHERE one::text LIKE :text'
                found = await connection.scalar(sa.text(query), {"text": f"%{text}%"})
                if found:
                    holding.append(name)
            return holding
    finally:
        await engine.dispose()


async def test_the_identical_run_started_again_makes_no_second_change(cycle: Cycle) -> None:
    first: set[UUID] = set()
    for machine in cycle.site.machines:
        run_id = (await cycle.arrows(machine))[12].flow_run_id
        assert run_id is not None
        first.add(run_id)
    before, remembered = await cycle.world(), await cycle.effects()
    arrows = [await cycle.arrows(one) for one in cycle.site.machines]
    async with cycle.prefect() as client:
        for run_id in first:
            original = await client.read_flow_run(run_id)
            assert original.deployment_id is not None
            again = await client.create_flow_run_from_deployment(
                original.deployment_id, parameters=original.parameters
            )

            async def ended(again_id: UUID = again.id) -> bool:
                state = (await client.read_flow_run(again_id)).state
                return state is not None and state.is_final()

            await until(ended, what="the second run ends", deadline=COMMAND_SECONDS, every=0.2)
            state = (await client.read_flow_run(again.id)).state
            assert state is not None
            assert state.is_completed(), state
    assert await cycle.world() == before
    assert await cycle.effects() == remembered
    assert [await cycle.arrows(one) for one in cycle.site.machines] == arrows


async def test_a_whole_life_leaves_every_server_as_it_was(cycle: Cycle) -> None:
    names = [cycle.rows[one.mac].name for one in cycle.site.machines]
    before = await cycle.held()
    assert before != cycle.untouched
    for name in names:
        await cycle.command("hosts", "rebuild", name)
    for machine in cycle.site.machines:
        if machine.name not in cycle.setting.bmcs:

            async def waits(machine: Machine = machine) -> bool:
                return "restart it by hand" in (await cycle.arrows(machine))[17].seen

            what = f"{machine.name} waits for a person"
            await until(waits, what=what, deadline=COMMAND_SECONDS, every=0.2)
            machine.tell("system_reset")
    await cycle.arrive()
    after = await cycle.held()
    assert after.reservations == before.reservations
    assert after.records == before.records
    assert after.certificates == before.certificates
    assert after.consumers == before.consumers
    for name in names:
        await cycle.command("hosts", "decommission", name, "--yes")
    for machine in cycle.site.machines:
        await reaches(cycle, machine, HostState.RETIRED)
    assert await cycle.held() == cycle.untouched


async def reaches(cycle: Cycle, machine: Machine, state: HostState) -> None:
    """Wait for a machine's host."""
    name = cycle.rows[machine.mac].name

    async def there() -> bool:
        async with cycle.sessions() as session:
            host = await hosts.named(session, name)
            if host.state is HostState.HELD:
                pytest.fail(f"{name} is held: {(await cycle.build(session, machine)).held_reason}")
            return host.state is state

    await until(there, what=f"{name} is {state}", deadline=COMMAND_SECONDS, every=0.2)
