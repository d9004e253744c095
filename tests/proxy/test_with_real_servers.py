"""Our client, our proxy on a socket, and the real DHCP and name servers behind it."""

import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import dns.asyncquery
import dns.update
import pytest
from pydantic import SecretStr

from integrations.dns import DnsSettings, NameServer, authoritative_lookup
from integrations.errors import Conflict, Refused, Unavailable
from integrations.records import DnsRecord, Outcome, Reservation
from integrations.smart_proxy import SmartProxy, SmartProxySettings
from lab.namespace import namespace
from lab.process import Running
from lab.reach import reach
from lab.servers.bind import bind
from lab.servers.isc import isc
from lab.servers.kea import kea
from lab.tsig import OWNER
from proxy.serve import listening
from proxy.settings import (
    DhcpSettings,
    FeatureSettings,
    ListenerSettings,
    ProxySettings,
    TftpSettings,
)

pytestmark = pytest.mark.servers

NET = IPv4Network("192.0.2.0/24")
WEB01 = Reservation(
    mac="52:54:00:aa:bb:01",
    ip=IPv4Address("192.0.2.50"),
    name="web01.lab.example",
    hostname="web01",
    next_server="192.0.2.1",
    filename="pxelinux.0",
    network=NET,
)
A = DnsRecord(name="web01.lab.example", type="A", value="192.0.2.50")
PTR = DnsRecord(name="50.2.0.192.in-addr.arpa", type="PTR", value="web01.lab.example")
ZONES = ("lab.example", "2.0.192.in-addr.arpa")
_NUMBERS = count()


@dataclass(frozen=True)
class Dhcp:
    """A real DHCP server and how our proxy reaches it."""

    settings: DhcpSettings
    server: Running


@asynccontextmanager
async def dhcp_server(kind: str) -> AsyncIterator[Dhcp]:
    # A short path: that of a control socket may have 107 characters.
    with TemporaryDirectory(prefix="px-") as directory:
        async with namespace(f"px{os.getpid()}n{next(_NUMBERS)}") as inside:
            if kind == "isc":
                async with (
                    isc(inside, Path(directory)) as dhcpd,
                    reach(inside, dhcpd.settings.port) as port,
                ):
                    reached = dhcpd.settings.model_copy(update={"port": port, "timeout": 2})
                    yield Dhcp(DhcpSettings(kind="isc", isc=reached), dhcpd.server)
            else:
                async with kea(inside, Path(directory)) as kea4:
                    reached_kea = kea4.settings.model_copy(update={"timeout": 2})
                    yield Dhcp(DhcpSettings(kind="kea", kea=reached_kea), kea4.server)


@asynccontextmanager
async def through_proxy(
    root: Path, dhcp: DhcpSettings | None = None, dns_port: int | None = None
) -> AsyncIterator[SmartProxy]:
    servers = (
        DnsSettings(
            address=IPv4Address("127.0.0.1"),
            port=dns_port,
            key_name=OWNER.name,
            secret=SecretStr(OWNER.secret),
            zones=ZONES,
            timeout=2,
        )
        if dns_port
        else None
    )
    settings = ProxySettings(
        foreman_url="http://127.0.0.1:1",
        dhcp=dhcp or DhcpSettings(),
        dns=(servers,) if servers else (),
        tftp=TftpSettings(root=root),
        features=FeatureSettings(dhcp="true", dns="true", tftp="true"),
        listen=ListenerSettings(http_port=0),
    )
    async with (
        listening(settings) as where,
        SmartProxy(SmartProxySettings(url=where.http_url)) as proxy,
    ):
        yield proxy


@pytest.fixture
def dns_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def held(port: int, record: DnsRecord) -> list[DnsRecord]:
    server = NameServer(IPv4Address("127.0.0.1"), port)
    return await authoritative_lookup([server], record.name, record.type, 2)


@pytest.mark.parametrize("kind", ["isc", "kea"])
async def test_a_reservation_comes_stays_and_goes(tmp_path: Path, kind: str) -> None:
    other = WEB01.model_copy(update={"mac": "52:54:00:aa:bb:02", "name": "db01.lab.example"})
    async with dhcp_server(kind) as dhcp:
        async with through_proxy(tmp_path, dhcp.settings) as proxy:
            assert [one.network for one in await proxy.subnets()] == [NET]
            assert await proxy.reserve(WEB01) is Outcome.CREATED
            assert await proxy.reserve(WEB01) is Outcome.ALREADY
            assert await proxy.reservation_by_mac(NET, WEB01.mac) == WEB01
            with pytest.raises(Conflict, match=r"web01\.lab\.example"):
                await proxy.reserve(other)
            given = await proxy.unused_ip(NET, other.mac, WEB01.ip, WEB01.ip + 1)
            assert given == WEB01.ip + 1
        async with through_proxy(tmp_path, dhcp.settings) as proxy:  # a new proxy, same servers
            assert await proxy.network(NET) == ([WEB01], [])
            assert await proxy.unused_ip(NET, WEB01.mac, WEB01.ip, WEB01.ip + 1) == WEB01.ip
            assert await proxy.release(WEB01) is Outcome.REMOVED
            assert await proxy.release(WEB01) is Outcome.ABSENT


@pytest.mark.parametrize("kind", ["isc", "kea"])
async def test_a_dead_dhcp_server_is_told_and_worth_another_try(tmp_path: Path, kind: str) -> None:
    async with dhcp_server(kind) as dhcp, through_proxy(tmp_path, dhcp.settings) as proxy:
        await proxy.reserve(WEB01)
        os.kill(dhcp.server.pid, signal.SIGSTOP)
        try:
            other = {"mac": "52:54:00:aa:bb:02", "ip": WEB01.ip + 1, "name": "db01.lab.example"}
            with pytest.raises(Unavailable, match="No response from DHCP server"):
                await proxy.reserve(WEB01.model_copy(update=other))
        finally:
            os.kill(dhcp.server.pid, signal.SIGCONT)


async def test_records_are_there_when_the_proxy_says_so(tmp_path: Path, dns_port: int) -> None:
    async with (
        bind(tmp_path / "named", ZONES, port=dns_port),
        through_proxy(tmp_path, dns_port=dns_port) as proxy,
    ):
        for record in (A, PTR):
            await proxy.add_dns(record)
            await proxy.add_dns(record)
            assert await held(dns_port, record) == [record]
        for record in (A, PTR):
            await proxy.remove_dns(record)
            assert await held(dns_port, record) == []


async def test_somebody_elses_record_is_a_conflict_and_stays(tmp_path: Path, dns_port: int) -> None:
    foreign = A.model_copy(update={"value": "192.0.2.99"})
    async with bind(tmp_path / "named", ZONES, port=dns_port):
        message = dns.update.UpdateMessage("lab.example")
        message.add("web01", 300, "A", foreign.value)
        message.use_tsig(dns.tsig.Key(OWNER.name, OWNER.secret))
        await dns.asyncquery.tcp(message, "127.0.0.1", port=dns_port, timeout=5)
        async with through_proxy(tmp_path, dns_port=dns_port) as proxy:
            with pytest.raises(Conflict, match="already in use"):
                await proxy.add_dns(A)
        assert await held(dns_port, A) == [foreign]


async def test_a_dead_name_server_is_no_200(tmp_path: Path, dns_port: int) -> None:
    async with through_proxy(tmp_path, dns_port=dns_port) as proxy:
        with pytest.raises(Unavailable, match="No response from DNS server"):
            await proxy.add_dns(A)
        with pytest.raises(Unavailable, match="No response from DNS server"):
            await proxy.remove_dns(A)
        states = {one.name: one.state for one in await proxy.features()}
    assert (states["dns"], states["tftp"]) == ("failed", "running")


async def test_a_zone_that_nobody_serves_is_no_200(tmp_path: Path, dns_port: int) -> None:
    async with (
        bind(tmp_path / "named", ZONES, port=dns_port),
        through_proxy(tmp_path, dns_port=dns_port) as proxy,
    ):
        with pytest.raises(Refused, match="lies in none of"):
            await proxy.add_dns(A.model_copy(update={"name": "web01.other.example"}))
