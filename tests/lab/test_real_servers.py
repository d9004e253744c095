"""Inception against the real DHCP, DNS and TFTP servers: each record once, nobody else's touched.

The DHCP servers, which answer whoever asks, run in a namespace; name server and TFTP server on free
ports of the loopback, where this process is. Machines are not there: their discovery image is a
double.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from deployments.clients import candlepin_clients, pulp_clients, puppet_clients
from flows.inception import inception
from integrations.dns import DnsSettings
from integrations.smart_proxy import SmartProxy, SmartProxySettings
from inventory import claims
from inventory.arrows import Evidence, Phase
from inventory.fleet import everyone
from inventory.life import HostState
from inventory.models import EffectState, Step, StepState, Subnet, now
from inventory.site_apply import apply_site
from lab.doubles.serve import served
from lab.namespace import namespace
from lab.reach import reach
from lab.servers.bind import Bind, bind
from lab.servers.isc import IscServer, isc
from lab.servers.kea import KeaServer, kea
from lab.servers.tftpd import tftpd
from lab.tsig import OWNER
from proxy.app import create_app, in_process
from proxy.settings import DhcpSettings, DiscoverySettings, ProxySettings, TftpSettings
from tasks.company import NothingDone
from tasks.means import Deadlines, Means, use
from tests.conftest import Database
from tests.flows.bench import NETWORK, ZONES, Clients, Images, Ledger, bare, make_tree, site
from tests.lab.real_world import boot_files, plant, records, reservations

__all__ = ["bare"]

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("bare")]

FOREIGN_MAC, FOREIGN_IP = "52:54:00:ff:ff:ff", "192.0.2.21"
TAKEN = 9
"""The host of whose interface somebody else has a reservation."""
TAKEN_MAC, TAKEN_IP = f"52:54:00:aa:bb:{TAKEN:02x}", "192.0.2.77"
FOREIGN = [(TAKEN_MAC, TAKEN_IP), (FOREIGN_MAC, FOREIGN_IP)]
_NUMBERS = count()


@dataclass
class Stand(Ledger):
    """Real servers, and the inventory of one test."""

    dhcp: IscServer | KeaServer
    dns: Bind
    dns_directory: Path
    root: Path
    images: Images

    async def records(self) -> dict[str, list[str]]:
        """What the name server holds, and how often it was changed."""
        return await records(ZONES, self.dns.port)

    async def plant(self, name: str, kind: str, value: str) -> None:
        """Somebody else's record."""
        zone = next(one for one in ZONES if name.endswith(one))
        await plant(zone, name, kind, value, self.dns.port)

    async def world(self) -> tuple[object, ...]:
        """Everything outside in which a second change would show."""
        files = boot_files(self.root)
        return reservations(self.dhcp), await self.records(), files, list(self.images.reboots)

    async def address(self, name: str) -> str:
        """The address that a host was given."""
        async with self.database.sessions() as session:
            rows = {one.name: one.ip for one in await everyone(session)}
        assert rows[name] is not None
        return rows[name] or ""

    async def incept(self, name: str) -> None:
        """Run inception as the dispatcher has it run: a retry has its claim already."""
        async with self.database.sessions.begin() as session:
            build = await self.build(name)
            made = await claims.claim(
                session, Phase.INCEPTION, [build.id], company=build.id, at=now()
            )
        company = build.id if made else await self.company(name)
        await inception.fn(hosts=[name], company=company)

    async def fails(self, name: str, *, at: int, saying: str) -> None:
        """Inception must leave the host held at an arrow, with reason and advice."""
        with pytest.raises(NothingDone):
            await self.incept(name)
        assert (await self.host(name)).state is HostState.HELD
        build = await self.build(name)
        assert build.held_step == at
        assert saying in (build.held_reason or "")
        assert "retry" in (build.held_advice or "")
        assert not self.images.reboots


def pointer(ip: str) -> str:
    """How ``records`` calls an address' PTR."""
    return f"{IPv4Address(ip).reverse_pointer} PTR"


@asynccontextmanager
async def dhcp_server(kind: str, directory: Path) -> AsyncIterator[IscServer | KeaServer]:
    """A server that somebody has made two reservations in by hand; we reach its control side."""
    async with AsyncExitStack() as stack:
        net = await stack.enter_async_context(
            namespace(f"rr-{os.getpid()}-servers{next(_NUMBERS)}")
        )
        if kind == "kea":
            foreign = tuple(
                {"hw-address": mac, "ip-address": ip, "hostname": "theirs.lab.example"}
                for mac, ip in FOREIGN
            )
            yield await stack.enter_async_context(kea(net, directory, reservations=foreign))
        else:
            theirs = "".join(
                f"host theirs-{number} {{\n  hardware ethernet {mac};\n  fixed-address {ip};\n}}\n"
                for number, (mac, ip) in enumerate(FOREIGN)
            )
            server = await stack.enter_async_context(isc(net, directory, extra=theirs))
            port = await stack.enter_async_context(reach(net, server.settings.port))
            reached = server.settings.model_copy(update={"port": port})
            yield IscServer(reached, server.server)


@pytest.fixture(params=["kea", "isc"])
async def stand(
    request: pytest.FixtureRequest, database: Database, tmp_path: Path, bare: None
) -> AsyncIterator[Stand]:
    root, tree, images = tmp_path / "boot", tmp_path / "tree", Images(before_first=100)
    root.mkdir(mode=0o755)
    make_tree(tree)
    dns_port, tftp_port = free_ports()
    async with AsyncExitStack() as stack:
        # A short path: that of a control socket may have 107 characters.
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="rr-")))
        dhcp = await stack.enter_async_context(dhcp_server(request.param, directory))
        dns_directory = tmp_path / "named"
        dns = await stack.enter_async_context(bind(dns_directory, ZONES, port=dns_port))
        await stack.enter_async_context(tftpd(root, tmp_path / "tftpd.log", port=tftp_port))
        files = Starlette(routes=[Mount("/", StaticFiles(directory=tree))])
        tree_url = await stack.enter_async_context(served(files))
        nodes = httpx.AsyncClient(transport=httpx.MockTransport(images.answer))
        stack.push_async_callback(nodes.aclose)
        app = create_app(proxy_settings(dhcp, dns, root), nodes=nodes)
        proxy = SmartProxy(SmartProxySettings(url="http://proxy.test"), transport=in_process(app))
        stack.push_async_callback(proxy.close)
        use(
            Means(
                pulps=pulp_clients(),
                puppets=puppet_clients(),
                candlepins=candlepin_clients(),
                sessions=database.sessions,
                proxies=Clients(proxy),
                token_key=b"k" * 32,
                worker="test/1",
                deadlines=Deadlines(verify=2, silence=2, every=0.05),
            )
        )
        async with database.sessions.begin() as session:
            await apply_site(session, site(tree_url, dns.port, tftp_port))
        yield Stand(database, dhcp, dns, dns_directory, root, images)


def free_ports() -> list[int]:
    """Two UDP ports for servers that can not choose one themselves."""
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], two.getsockname()[1]]


def proxy_settings(dhcp: IscServer | KeaServer, dns: Bind, root: Path) -> ProxySettings:
    """Our proxy beside the servers."""
    return ProxySettings(
        foreman_url="http://127.0.0.1:1",
        dhcp=DhcpSettings(kind="kea", kea=dhcp.settings)
        if isinstance(dhcp, KeaServer)
        else DhcpSettings(kind="isc", isc=dhcp.settings),
        dns=(
            DnsSettings(
                address=IPv4Address(dns.address),
                port=dns.port,
                key_name=OWNER.name,
                secret=SecretStr(OWNER.secret),
                zones=ZONES,
                timeout=2,
            ),
        ),
        tftp=TftpSettings(root=root),
        discovery=DiscoverySettings(networks=(NETWORK,), scheme="http", port=8448),
    )


async def test_every_record_is_made_once_and_a_second_run_changes_nothing(stand: Stand) -> None:
    name = await stand.selected(1)
    serials = {key: one for key, one in (await stand.records()).items() if key.endswith("serial")}
    await stand.incept(name)
    assert (await stand.host(name)).state is HostState.REBOOTING
    arrows = await stand.steps(name)
    assert [arrows[n].evidence for n in range(6, 18)] == [Evidence.OBSERVED] * 12
    assert {one.state for one in await stand.effects(name)} == {EffectState.VERIFIED}
    ip = await stand.address(name)
    ours = ("52:54:00:aa:bb:01", ip)
    assert reservations(stand.dhcp) == [ours, *FOREIGN]
    held = await stand.records()
    assert held == {
        "ns.lab.example A": ["127.0.0.1"],
        f"{name} A": [ip],
        pointer(ip): [name],
        # Each zone is changed once.
        **{key: [str(int(before) + 1)] for key, (before,) in serials.items()},
    }
    world = await stand.world()
    await stand.incept(name)
    assert await stand.world() == world
    # Also when nobody remembers that it was done.
    await stand.change(Step, state=StepState.PENDING)
    await stand.incept(name)
    assert await stand.world() == world
    assert stand.images.reboots == ["192.0.2.101"]


async def test_somebody_elses_reservation_of_the_interface_is_a_conflict(stand: Stand) -> None:
    name = await stand.selected(TAKEN)
    await stand.fails(name, at=12, saying=TAKEN_IP)
    assert reservations(stand.dhcp) == FOREIGN


async def test_somebody_elses_reservation_of_the_address_is_a_conflict(stand: Stand) -> None:
    name = await stand.selected(1)
    await stand.promise(name, FOREIGN_IP)
    await stand.fails(name, at=7, saying=FOREIGN_MAC)
    assert reservations(stand.dhcp) == FOREIGN


async def test_an_exhausted_range_holds_the_host(stand: Stand) -> None:
    await stand.change(Subnet, range_from=FOREIGN_IP, range_to=FOREIGN_IP)
    name = await stand.selected(1)
    await stand.fails(name, at=7, saying="no address is free")
    assert reservations(stand.dhcp) == FOREIGN


@pytest.mark.parametrize("stand", ["kea"], indirect=True)
async def test_somebody_elses_name_is_a_conflict(stand: Stand) -> None:
    name = await stand.selected(1)
    await stand.plant(name, "A", "192.0.2.99")
    before = await stand.records()
    await stand.fails(name, at=14, saying="192.0.2.99")
    assert await stand.records() == before


@pytest.mark.parametrize("stand", ["kea"], indirect=True)
async def test_somebody_elses_pointer_is_a_conflict(stand: Stand) -> None:
    await stand.change(Subnet, range_to="192.0.2.20")
    name = await stand.selected(1)
    await stand.plant("20.2.0.192.in-addr.arpa", "PTR", "theirs.lab.example.")
    await stand.fails(name, at=14, saying="theirs.lab.example")
    assert (await stand.records())[pointer("192.0.2.20")] == ["theirs.lab.example"]


@pytest.mark.parametrize("stand", ["kea"], indirect=True)
async def test_somebody_elses_boot_configuration_is_a_conflict(stand: Stand) -> None:
    name = await stand.selected(1)
    foreign = stand.root / "pxelinux.cfg" / "01-52-54-00-aa-bb-01"
    foreign.parent.mkdir()
    foreign.write_text("# made by hand\n")
    before = await stand.world()
    await stand.fails(name, at=9, saying="made by hand")
    assert await stand.world() == before


@pytest.mark.parametrize("stand", ["kea"], indirect=True)
async def test_a_dead_name_server_holds_the_host_until_it_is_back(stand: Stand) -> None:
    name = await stand.selected(1)
    await stand.dns.server.stop()
    await stand.fails(name, at=14, saying="no answer")
    reserved = reservations(stand.dhcp)
    assert len(reserved) == len(FOREIGN) + 1
    async with bind(stand.dns_directory, ZONES, port=stand.dns.port):
        files = boot_files(stand.root)
        assert await stand.retry(name) is Phase.INCEPTION
        await stand.incept(name)
        assert (await stand.host(name)).state is HostState.REBOOTING
        held, ip = await stand.records(), await stand.address(name)
        assert (held[f"{name} A"], held[pointer(ip)]) == ([ip], [name])
        assert reservations(stand.dhcp) == reserved
        assert boot_files(stand.root) == files
