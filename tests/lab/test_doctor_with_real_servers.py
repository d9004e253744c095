"""The doctor at real servers: all is well, then broken one by one; and nothing is left anywhere."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pydantic import SecretStr

from deployments.clients import candlepin_clients, pulp_clients, puppet_clients
from integrations.dns import DnsSettings
from integrations.smart_proxy import SmartProxy, SmartProxySettings
from inventory.site_apply import apply_site
from lab.namespace import namespace, run
from lab.process import Running
from lab.reach import reach
from lab.servers.bind import bind
from lab.servers.isc import IscServer, isc
from lab.servers.kea import KeaServer, kea
from lab.servers.tftpd import tftpd
from lab.tsig import OWNER
from proxy.app import create_app, in_process
from proxy.settings import DhcpSettings, ProxySettings, TftpSettings
from tasks.doctor.boot import examine_tftp
from tasks.doctor.checked import Checked, Outcome
from tasks.doctor.dhcp import examine_dhcp
from tasks.doctor.dns import examine_dns
from tasks.means import Means, use
from tests.conftest import Database
from tests.flows.bench import ZONES, Clients, site
from tests.lab.real_world import boot_files, records, reservations

pytestmark = pytest.mark.servers

_NUMBERS = count()


@dataclass
class Real:
    """Real servers, and a proxy in this process that drives them."""

    dhcp: IscServer | KeaServer
    dhcp_running: Running
    dns_port: int
    root: Path
    settings: ProxySettings
    clients: Clients
    first: object = None
    """What the servers held at first."""

    async def outside(self) -> tuple[object, dict[str, list[str]], object]:
        """What the servers hold, asked past Rackrise."""
        held = await records(ZONES, self.dns_port)
        plain = {key: value for key, value in held.items() if not key.endswith("serial")}
        return reservations(self.dhcp), plain, boot_files(self.root)

    async def serials(self) -> list[str]:
        held = await records(ZONES, self.dns_port)
        return [value[0] for key, value in held.items() if key.endswith("serial")]

    def drive(self, settings: ProxySettings) -> None:
        """Have a proxy with these settings from now on."""
        app = create_app(settings)
        client = SmartProxy(SmartProxySettings(url="http://proxy.test"), transport=in_process(app))
        self.clients.client = client

    async def examined(self) -> list[Checked]:
        """What the doctor finds; the servers must be left as they were at first."""
        self.drive(self.settings)
        tasks = (examine_dhcp, examine_dns, examine_tftp)
        found: list[Checked] = [one for task in tasks for one in await task.fn()]
        assert await self.outside() == self.first
        return found


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def dns_settings(port: int, secret: str) -> DnsSettings:
    return DnsSettings(
        address=IPv4Address("127.0.0.1"),
        port=port,
        key_name=OWNER.name,
        secret=SecretStr(secret),
        zones=ZONES,
        timeout=2,
    )


@asynccontextmanager
async def dhcp_server(
    kind: str, directory: Path
) -> AsyncIterator[tuple[DhcpSettings, IscServer | KeaServer]]:
    async with namespace(f"dr{os.getpid()}n{next(_NUMBERS)}") as inside:
        if kind == "isc":
            async with isc(inside, directory) as dhcpd, reach(inside, 7911) as port:
                reached = dhcpd.settings.model_copy(update={"port": port, "timeout": 2})
                yield DhcpSettings(kind="isc", isc=reached), dhcpd
        else:
            async with kea(inside, directory) as kea4:
                reached_kea = kea4.settings.model_copy(update={"timeout": 2})
                yield DhcpSettings(kind="kea", kea=reached_kea), kea4


@pytest.fixture(params=["isc", "kea"])
async def real(
    request: pytest.FixtureRequest, database: Database, tmp_path: Path
) -> AsyncIterator[Real]:
    root = tmp_path / "boot"
    # The directories that the boot servers' defaults are in, and what hosts load.
    for name in ("pxelinux.cfg/default", "grub2/grub.cfg", "pxelinux.0",
                 "boot/fdi-image/vmlinuz0", "boot/fdi-image/initrd0.img"):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"boots" * 1000)
    dns_port, tftp_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    async with AsyncExitStack() as stack:
        # A short path: that of a control socket may have 107 characters.
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="dr-")))
        dhcp, server = await stack.enter_async_context(dhcp_server(request.param, directory))
        await stack.enter_async_context(bind(tmp_path / "named", ZONES, port=dns_port))
        # It serves as nobody, who may not enter pytest's directories.
        for parent in (root, *root.parents):
            if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
                parent.chmod(0o755)
        await stack.enter_async_context(tftpd(root, tmp_path / "tftpd.log", port=tftp_port))
        settings = ProxySettings(
            foreman_url="http://127.0.0.1:1",
            dhcp=dhcp,
            dns=(dns_settings(dns_port, OWNER.secret),),
            tftp=TftpSettings(root=root),
        )
        client = SmartProxy(SmartProxySettings(url="http://unused.test"))
        here = Real(server, server.server, dns_port, root, settings, Clients(client))
        use(
            Means(
                pulps=pulp_clients(),
                puppets=puppet_clients(),
                candlepins=candlepin_clients(),
                sessions=database.sessions,
                proxies=here.clients,
                token_key=b"k" * 32,
                worker="test/1",
            )
        )
        async with database.sessions.begin() as session:
            await apply_site(session, site("http://127.0.0.1:1/tree", dns_port, tftp_port))
        here.first = await here.outside()
        yield here


@contextmanager
def stopped(server: Running) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@asynccontextmanager
async def read_only(directory: Path) -> AsyncIterator[None]:
    """Mounted so: rights alone do not keep root from writing."""
    await run("mount", "--bind", str(directory), str(directory))
    try:
        await run("mount", "-o", "remount,ro,bind", str(directory))
        yield
    finally:
        await run("umount", "-l", str(directory))


def failures(found: list[Checked]) -> list[Checked]:
    return [one for one in found if one.outcome is Outcome.FAILED]


def told(found: list[Checked]) -> str:
    return "\n".join(f"{one.outcome} {one.check}: {one.seen} → {one.advice}" for one in found)


async def test_all_is_well_then_broken_one_by_one_and_nothing_is_ever_left(real: Real) -> None:
    serials = await real.serials()
    found = await real.examined()
    assert {one.outcome for one in found} == {Outcome.OK}, told(found)
    proved = [one for one in found if "removed and seen gone" in one.seen]
    assert {one.system for one in proved} == {"DHCP", "DNS", "TFTP"}
    # The name server has really taken updates in both zones.
    assert all(before != after for before, after in zip(serials, await real.serials(), strict=True))

    whole = real.settings
    real.settings = whole.model_copy(update={"dns": (dns_settings(real.dns_port, "d3Jvbmc="),)})
    found = await real.examined()
    assert {one.system for one in failures(found)} == {"DNS"}, told(found)
    assert all("tsig-keygen" in one.advice for one in failures(found)), told(found)
    real.settings = whole

    with stopped(real.dhcp_running):
        found = await real.examined()
    assert {one.system for one in failures(found)} == {"DHCP"}, told(found)
    assert all("See that the DHCP server runs" in one.advice for one in failures(found))

    async with read_only(real.root):
        found = await real.examined()
    assert {one.system for one in failures(found)} == {"TFTP"}, told(found)
    assert all("must be writable for the proxy" in one.advice for one in failures(found)), told(
        found
    )

    found = await real.examined()
    assert not failures(found), told(found)
