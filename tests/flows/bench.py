"""A small site of doubles for each test: what inception needs of a world, without delays."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID, uuid4

import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import httpx
import pytest
import sqlalchemy as sa
from dns.rrset import RRset
from fastapi import FastAPI
from prefect import Task
from pydantic import SecretStr
from sqlmodel import SQLModel, col, select
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.clients import candlepin_clients, pulp_clients, puppet_clients
from flows import (
    anaconda_build,
    attend,
    cancel,
    decommission,
    discovery_intake,
    drift,
    first_boot,
    inception,
    plan,
    travel,
)
from integrations.bootfetch import FetchLimits
from integrations.bootfiles import BootRoot
from integrations.dhcp.kea import KeaSettings
from integrations.dns import DnsSettings
from integrations.smart_proxy import SmartProxy, SmartProxySettings
from inventory import builds, callbacks, claims, effects, hosts, orders, retries, steps
from inventory.arrows import Evidence, Phase
from inventory.database import AsyncSession
from inventory.hosts import Discovered, SeenInterface
from inventory.life import HostState
from inventory.models import (
    Build,
    CallbackKind,
    Claim,
    Effect,
    EffectState,
    Host,
    InstallTree,
    Interface,
    Proxy,
    Step,
    StepState,
    now,
)
from inventory.site_apply import apply_site
from inventory.site_tables import SiteFile
from lab.doubles.dhcp import KeaDouble
from lab.doubles.dns import DnsDouble
from lab.doubles.dns_zone import Zone
from lab.doubles.serve import served
from lab.doubles.tftp import TftpDouble
from lab.tsig import OWNER
from proxy.app import create_app, in_process
from proxy.settings import DhcpSettings, DiscoverySettings, ProxySettings, TftpSettings
from tasks import (
    boot,
    candlepin,
    certificates,
    company,
    content,
    dhcp,
    kickstart,
    power,
    puppet,
    repositories,
    undo,
)
from tasks import dns as dns_tasks
from tasks import drift as drift_tasks
from tasks import hosts as host_tasks
from tasks.company import Company, Traveller
from tasks.means import Deadlines, Means, use
from tests.conftest import Database
from tests.inventory.world import WAY

NETWORK = IPv4Network("192.0.2.0/24")
ZONES = ("lab.example", "2.0.192.in-addr.arpa")


@dataclass
class Images:
    """The discovery images of a test's hosts: who was told to restart, and who then is silent."""

    reboots: list[str] = field(default_factory=list)
    deaf: set[str] = field(default_factory=set)
    """Promise to restart, and do not."""

    off: set[str] = field(default_factory=set)
    """Answer nothing at all."""

    before_first: int = 99
    """Last octet of the address before that of the first host's image."""

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """What the image at the request's address says."""
        host = request.url.host
        if host in self.off:
            raise httpx.ConnectError("no route to host", request=request)
        if host in self.reboots and host not in self.deaf:
            raise httpx.ConnectError("connection refused", request=request)
        if request.method == "PUT":
            self.reboots.append(host)
            return httpx.Response(200, json={"result": True})
        number = int(host.rpartition(".")[2]) - self.before_first
        return httpx.Response(200, json={"discovery_bootif": f"52:54:00:aa:bb:{number:02x}"})


@dataclass
class Ledger:
    """The inventory of one test, with hosts made, moved and looked at there."""

    database: Database

    def temporary(self, mac: str) -> IPv4Address:
        """The address with which an interface boots the discovery image."""
        return IPv4Address("192.0.2.100") + int(mac[-2:], 16)

    async def discovered(self, number: int) -> str:
        """A host in discovery; returns its name."""
        mac = f"52:54:00:aa:bb:{number:02x}"
        seen = Discovered(
            mac, (SeenInterface("eth0", mac, str(self.temporary(mac))),), {"memorysize_mb": "2048"}
        )
        async with self.database.sessions.begin() as session:
            host, _, _ = await hosts.discover(session, seen, site_id=None, at=now())
            return host.name

    async def selected(self, number: int, group: str = "plain") -> str:
        """A host that somebody has asked to provision; returns its full name."""
        name = await self.discovered(number)
        async with self.database.sessions.begin() as session:
            host = await hosts.named(session, name)
            wanted = await orders.group_named(session, group)
            await orders.provision(
                session, host, wanted, name=f"web{number:02d}", asked_by="the test", at=now()
            )
            return f"web{number:02d}.lab.example"

    async def at(self, number: int, state: HostState) -> str:
        """A host somewhere on its way, with an address and nothing outside; its full name."""
        name = await self.selected(number)
        await self.promise(name, f"192.0.2.{19 + number}")
        await self.advance(name, state)
        return name

    async def advance(self, name: str, state: HostState) -> None:
        """Move a host on without doing anything for it; one that must be selected, or further."""
        async with self.database.sessions.begin() as session:
            host = await hosts.named(session, name)
            reached = [target for _, target in WAY]
            done = reached.index(host.state) + 1 if host.state in reached else 0
            for event, target in WAY[done:]:
                if host.state is state:
                    break
                await hosts.move(session, host, event, now())
                await self._record(session, host, target)
        assert (await self.host(name)).state is state

    async def _record(self, session: AsyncSession, host: Host, target: HostState) -> None:
        build = await builds.current_build(session, host.id)
        assert build is not None
        done, implied = {
            HostState.REBOOTING: (range(7, 18), range(0)),
            HostState.INSTALLING: (range(20, 22), range(0)),
            HostState.INSTALLED: (range(27, 28), range(18, 23)),
            HostState.FIRST_BOOT: (range(28, 30), range(0)),
        }.get(target, (range(0), range(0)))
        at = now()
        await steps.finish(
            session, build.id, done, evidence=Evidence.OBSERVED, seen="the test", at=at
        )
        await steps.imply(session, build.id, implied, seen="the test", at=at)

    async def told(
        self, name: str, kind: CallbackKind, *, remote: str = "192.0.2.20", body: str = ""
    ) -> None:
        """A host has called; the key makes each telling a new one."""
        build = await self.build(name)
        async with self.database.sessions.begin() as session:
            await callbacks.keep(
                session,
                kind=kind,
                key=f"{kind}:{uuid4()}",
                host_id=build.host_id,
                build_id=build.id,
                remote=remote,
                body=body or json.dumps({"hostname": name}),
                at=now(),
            )

    async def change(self, table: type[SQLModel], **values: object) -> None:
        """Set columns of the site's rows, as another site file would."""
        async with self.database.sessions.begin() as session:
            await session.exec(sa.update(table).values(**values))

    async def host(self, name: str) -> Host:
        """A host as it is now."""
        async with self.database.sessions() as session:
            return await hosts.named(session, name)

    async def interface(self, name: str) -> Interface:
        """The interface that a host boots from."""
        async with self.database.sessions() as session:
            host = await hosts.named(session, name)
            mine = select(Interface).where(
                col(Interface.host_id) == host.id, col(Interface.provisioning)
            )
            return (await session.exec(mine)).one()

    async def hold(self, name: str, *, step: int) -> None:
        """Hold a host as if a step had failed."""
        async with self.database.sessions.begin() as session:
            build = await session.get_one(Build, (await self.build(name)).id)
            said = {"reason": "the test says so", "advice": "retry"}
            await builds.hold(session, build, step=step, **said, at=now())

    async def promise(self, name: str, ip: str) -> None:
        """Give a host an address in the inventory, and nowhere else."""
        async with self.database.sessions.begin() as session:
            host = await hosts.named(session, name)
            mine = select(Interface).where(
                col(Interface.host_id) == host.id, col(Interface.provisioning)
            )
            await hosts.take_address(session, (await session.exec(mine)).one(), ip)

    async def steps(self, name: str) -> dict[int, Step]:
        """The arrows of a host's latest build."""
        build = await self.build(name)
        async with self.database.sessions() as session:
            return (await steps.states(session, [build.id]))[build.id]

    async def tree_url(self) -> str:
        """Where the install tree is served."""
        async with self.database.sessions() as session:
            return (await session.exec(select(InstallTree.url))).one() or ""

    async def effects(self, name: str) -> list[Effect]:
        """The effects of a host's latest build."""
        build = await self.build(name)
        async with self.database.sessions() as session:
            return await effects.of_build(session, build.id)

    async def retry(self, name: str) -> Phase | None:
        """A person's retry of a held host."""
        async with self.database.sessions.begin() as session:
            return await retries.retry(session, await hosts.named(session, name), at=now())

    async def company(self, name: str) -> UUID:
        """The company of a host's live claim."""
        build = await self.build(name)
        async with self.database.sessions() as session:
            live = select(Claim.company).where(
                col(Claim.build_id) == build.id, col(Claim.ended_at).is_(None)
            )
            return (await session.exec(live)).one()

    async def build(self, name: str) -> Build:
        """A host's latest build."""
        async with self.database.sessions() as session:
            host = await hosts.named(session, name)
            build = await builds.latest_build(session, host.id)
            assert build is not None
            return build


@dataclass
class Bench(Ledger):
    """Doubles, proxy and inventory of one test."""

    dhcp: KeaDouble
    dns: DnsDouble
    tftp: TftpDouble
    root: Path
    tree: Path
    images: Images
    tree_requests: list[str]
    """Paths that were asked of the install tree's server."""
    proxy_app: FastAPI
    settings: ProxySettings
    boot_root: BootRoot
    nodes: httpx.AsyncClient
    proxy: SmartProxy
    clients: Clients
    means: Means

    def temporary(self, mac: str) -> IPv4Address:
        """As the DHCP server gives it."""
        return self.dhcp.boot(mac)

    async def party(self, *names: str) -> Company:
        """Hosts together, as one flow run takes them along; claims that they had are gone."""
        travellers = [Traveller(build=(await self.build(one)).id, host=one) for one in names]
        company = Company(id=uuid4(), phase=Phase.INCEPTION, travellers=tuple(travellers))
        at, worker = now(), self.means.worker
        async with self.database.sessions.begin() as session:
            await claims.renew(session, worker, timedelta(hours=1))
            await session.exec(sa.delete(Claim))
            await claims.claim(session, company.phase, company.builds, company=company.id, at=at)
            await claims.adopt(session, company.id, worker, uuid4())
        return company

    async def one_of_each(self, name: str, number: int) -> None:
        """The host is on its way into the installer, with one record of each kind."""
        assert (await self.host(name)).state is HostState.REBOOTING
        arrows = await self.steps(name)
        assert {arrows[n].state for n in range(6, 18)} == {StepState.DONE}
        mac = f"52:54:00:aa:bb:{number:02x}"
        reserved = [one["ip-address"] for one in self.dhcp.reservations if one["hw-address"] == mac]
        assert self.dns_records("A")[name] == reserved
        assert len(reserved) == 1
        pointers = {key: value for key, value in self.dns_records("PTR").items() if name in value}
        assert list(pointers.values()) == [[name]]
        assert next(iter(pointers)).startswith(reserved[0].rpartition(".")[2] + ".")
        assert len([one for one in self.boot_configs() if one.name.endswith(f"{number:02x}")]) == 1
        made = await self.effects(name)
        assert {one.state for one in made} == {EffectState.VERIFIED}
        assert len({(one.system, one.place, one.key) for one in made}) == len(made) == 7
        assert self.images.reboots.count(f"192.0.2.{99 + number}") == 1

    def dns_records(self, kind: str) -> dict[str, list[str]]:
        """What the name server holds of a type, by name."""
        wanted = dns.rdatatype.from_text(kind)
        zones = self.dns.zones.values()
        return {
            str(rrset.name).rstrip("."): [str(one).rstrip(".") for one in rrset]
            for zone in zones
            for rrset in zone
            if rrset.rdtype == wanted
        }

    def put_dns(self, name: str, kind: str, value: str) -> None:
        """Somebody else's record."""
        rrset = dns.rrset.from_text(name + ".", 300, "IN", kind, value)
        self._zone_of(rrset).apply(rrset)

    def drop_dns(self, name: str, kind: str) -> None:
        """Take away what a name holds of a type."""
        empty = RRset(dns.name.from_text(name), dns.rdataclass.IN, dns.rdatatype.from_text(kind))
        empty.deleting = dns.rdataclass.ANY
        self._zone_of(empty).apply(empty)

    def _zone_of(self, rrset: RRset) -> Zone:
        zones = self.dns.zones.items()
        return next(zone for origin, zone in zones if rrset.name.is_subdomain(origin))

    def boot_configs(self) -> list[Path]:
        """The configurations of single hosts that the boot server has."""
        return sorted(one for one in self.root.glob("pxelinux.cfg/01-*") if one.is_file())


class Clients:
    """All proxies of the site file are the one of the test, which may be exchanged."""

    def __init__(self, client: SmartProxy) -> None:
        self.client = client

    def of(self, proxy: Proxy) -> SmartProxy:
        return self.client


class _Counted:
    """An ASGI app that remembers what it was asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        await self._app(scope, receive, send)


def tasks_of(*modules: ModuleType) -> list[Task[..., Any]]:
    """All Prefect tasks of modules."""
    return [one for module in modules for one in vars(module).values() if isinstance(one, Task)]


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries as many as ever, and at once."""
    speakers = (boot, certificates, content, dhcp, dns_tasks, host_tasks, kickstart, power)
    for one in tasks_of(*speakers, candlepin, puppet, repositories, undo):
        monkeypatch.setattr(one, "retry_delay_seconds", None)
        monkeypatch.setattr(one, "retry_jitter_factor", None)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flows are called as ``flow.fn``, without Prefect's engine and its half second for a run."""
    phases = (anaconda_build, discovery_intake, first_boot, inception)
    for module in (*phases, attend, cancel, decommission, drift, plan, undo):
        for name, one in list(vars(module).items()):
            if isinstance(one, Task):
                monkeypatch.setattr(module, name, one.fn)
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", str(uuid4()))
    for speaker in (
        *(attend, candlepin, certificates, company, drift, drift_tasks),
        *(plan, puppet, repositories, travel, undo),
    ):
        monkeypatch.setattr(speaker, "get_run_logger", lambda: logging.getLogger("flow"))
    for told_to_prefect in ("_name_run", "show_page", "show_outcomes"):
        monkeypatch.setattr(travel, told_to_prefect, AsyncMock())
    for teller in (undo, drift):
        monkeypatch.setattr(teller, "acreate_table_artifact", AsyncMock())


@pytest.fixture
async def bench(
    database: Database, prefect_api: str, tmp_path: Path, no_pauses: None
) -> AsyncIterator[Bench]:
    """One subnet with one proxy, all servers doubles without delay."""
    root, tree = tmp_path / "boot", tmp_path / "tree"
    root.mkdir()
    make_tree(tree)
    images = Images()
    async with AsyncExitStack() as stack:
        dhcp = KeaDouble(NETWORK)
        agent = await stack.enter_async_context(dhcp.serving())
        dns = await stack.enter_async_context(DnsDouble(list(ZONES)))
        tftp = await stack.enter_async_context(TftpDouble(root))
        files = Starlette(routes=[Mount("/", StaticFiles(directory=tree))])
        served_tree = _Counted(files)
        tree_url = await stack.enter_async_context(served(served_tree))
        nodes = httpx.AsyncClient(transport=httpx.MockTransport(images.answer))
        stack.push_async_callback(nodes.aclose)
        settings = ProxySettings(
            foreman_url="http://127.0.0.1:1",
            dhcp=DhcpSettings(kind="kea", kea=KeaSettings(agent_url=agent, timeout=3)),
            dns=(
                DnsSettings(
                    address=IPv4Address(dns.address),
                    port=dns.port,
                    key_name=OWNER.name,
                    secret=SecretStr(OWNER.secret),
                    zones=ZONES,
                ),
            ),
            tftp=TftpSettings(root=root),
            discovery=DiscoverySettings(networks=(NETWORK,), scheme="http", port=8448),
        )
        sources = httpx.AsyncClient(timeout=5, trust_env=False)
        stack.push_async_callback(sources.aclose)
        boot_root = BootRoot(root, sources, FetchLimits(pause=0))
        app = create_app(settings, boot=boot_root, nodes=nodes)
        proxy = SmartProxy(SmartProxySettings(url="http://proxy.test"), transport=in_process(app))
        stack.push_async_callback(proxy.close)
        clients = Clients(proxy)
        means = Means(
            pulps=pulp_clients(),
            puppets=puppet_clients(),
            candlepins=candlepin_clients(),
            sessions=database.sessions,
            proxies=clients,
            token_key=b"k" * 32,
            worker="test/1",
            deadlines=Deadlines(verify=0.2, silence=0.2, every=0.01),
        )
        use(means)
        async with database.sessions.begin() as session:
            await apply_site(session, site(tree_url, dns.port, tftp.port))
        yield Bench(
            database=database,
            dhcp=dhcp,
            dns=dns,
            tftp=tftp,
            root=root,
            tree=tree,
            images=images,
            tree_requests=served_tree.paths,
            proxy_app=app,
            settings=settings,
            boot_root=boot_root,
            nodes=nodes,
            proxy=proxy,
            clients=clients,
            means=means,
        )


def make_tree(tree: Path) -> None:
    """An install tree with just what inception looks at."""
    images = tree / "images" / "pxeboot"
    images.mkdir(parents=True)
    lines = ["[general]", "arch = x86_64", "", "[checksums]"]
    for name, body in (("vmlinuz", b"kernel" * 1000), ("initrd.img", b"initrd" * 1000)):
        (images / name).write_bytes(body)
        digest = hashlib.sha256(body).hexdigest()
        lines.append(f"images/pxeboot/{name} = sha256:{digest}")
    lines += ["", "[images-x86_64]", "kernel = images/pxeboot/vmlinuz"]
    lines += ["initrd = images/pxeboot/initrd.img", "", "[stage2]"]
    lines += ["mainimage = images/install.img", ""]
    (tree / ".treeinfo").write_text("\n".join(lines))


def site(tree_url: str, dns_port: int, tftp_port: int) -> SiteFile:
    """The test's site file."""
    group = {
        "operating_system": "LabOS 1",
        "install_tree": "labos",
        "subnet": "lab",
        "domain": "lab.example",
        "root_password_hash": "!",
        "packages": ["labos-base"],
    }
    return SiteFile.model_validate(
        {
            "site": {"name": "test", "gateway_url": "http://192.0.2.1:8000"},
            "proxy": [{"name": "p", "url": "local:", "host_url": "http://192.0.2.1:8000"}],
            "domain": [
                {"name": "lab.example", "proxy": "p", "name_servers": [f"127.0.0.1:{dns_port}"]}
            ],
            "subnet": [
                {
                    "name": "lab",
                    "network": str(NETWORK),
                    "range_from": "192.0.2.20",
                    "range_to": "192.0.2.29",
                    "boot_server": "127.0.0.1",
                    "boot_port": tftp_port,
                    "filenames": {"PXELinux": "pxelinux.0"},
                    "dhcp_proxy": "p",
                    "tftp_proxy": "p",
                    "domain": "lab.example",
                }
            ],
            "operating_system": [{"name": "LabOS 1"}],
            "install_tree": [{"name": "labos", "operating_system": "LabOS 1", "url": tree_url}],
            "host_group": [
                {"name": "plain", **group},
                {"name": "ipxe", "loader": "iPXE", **group},
                {"name": "grub", "loader": "PXEGrub2", "after_build": "remove", **group},
            ],
        }
    )
