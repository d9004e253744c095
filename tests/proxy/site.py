"""A site in memory for tests of the proxy: what stands behind it, and a client in front."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from integrations.bootfetch import FetchLimits
from integrations.bootfiles import BootRoot
from integrations.dhcp.rules import find_clash, own_subnet, require_well_formed
from integrations.dns import DnsResult, RecordType
from integrations.errors import Conflict, OutsideError, Refused, Unavailable
from integrations.power import BootDevice, Power, PowerState
from integrations.power.settings import PowerSettings
from integrations.records import DhcpSubnet, DnsRecord, Lease, Outcome, Reservation
from proxy.app import create_app, in_process
from proxy.settings import DiscoverySettings, FeatureSettings, ProxySettings, TftpSettings

SAMPLES = Path(__file__).parents[2].parent / "shared" / "contracts" / "smart-proxy-samples"
GATEWAY = "http://gateway.example.org:8080"
EVERYWHERE = FeatureSettings(
    bmc="true", dhcp="true", dns="true", logs="true", tftp="true", discovery="true"
)


def down(system: str) -> Unavailable:
    return Unavailable(system=system, address="192.0.2.1", operation="answer", said="refused")


@dataclass
class MemoryDhcp:
    """A DHCP server in memory, by the rules that the real ones follow."""

    served: list[DhcpSubnet]
    kept: list[Reservation] = field(default_factory=list)
    leased: list[Lease] = field(default_factory=list)
    down: bool = False

    async def subnets(self) -> list[DhcpSubnet]:
        if self.down:
            raise down("DHCP")
        return self.served

    async def reservations(self, network: IPv4Network) -> list[Reservation]:
        own_subnet(await self.subnets(), network, address="memory", operation="list")
        return [one for one in self.kept if one.network == network]

    async def leases(self, network: IPv4Network) -> list[Lease]:
        return [one for one in self.leased if one.ip in network]

    async def by_mac(self, network: IPv4Network, mac: str) -> Reservation | None:
        return next((one for one in await self.reservations(network) if one.mac == mac), None)

    async def by_ip(self, network: IPv4Network, ip: IPv4Address) -> list[Reservation]:
        return [one for one in await self.reservations(network) if one.ip == ip]

    async def reserve(self, reservation: Reservation) -> Outcome:
        place = {"address": "memory", "operation": "reserve"}
        require_well_formed(reservation, **place)
        if find_clash(reservation, await self.reservations(reservation.network), **place):
            return Outcome.ALREADY
        self.kept.append(reservation)
        return Outcome.CREATED

    async def release(self, reservation: Reservation) -> Outcome:
        if reservation not in self.kept:
            return Outcome.ABSENT
        self.kept.remove(reservation)
        return Outcome.REMOVED

    async def close(self) -> None:
        pass


@dataclass
class MemoryDns:
    """A name server in memory that tells the truth about what it serves."""

    zones: tuple[str, ...]
    kept: list[DnsRecord] = field(default_factory=list)
    down: bool = False

    def _check(self, name: str) -> None:
        if self.down:
            raise down("DNS")
        if not name.endswith(self.zones):
            raise Refused(
                system="DNS",
                address="memory",
                operation="change",
                said=f"{name} lies in none of its zones",
            )

    async def lookup(self, name: str, kind: RecordType) -> list[DnsRecord]:
        self._check(name)
        return [one for one in self.kept if (one.name, one.type) == (name, kind)]

    async def add(self, records: Sequence[DnsRecord]) -> list[DnsResult]:
        return [DnsResult(one, await self._outcome(self._add, one)) for one in records]

    async def remove(self, records: Sequence[DnsRecord]) -> list[DnsResult]:
        return [DnsResult(one, await self._outcome(self._remove, one)) for one in records]

    async def _outcome(self, how: Callable[[DnsRecord], Any], one: DnsRecord) -> Any:
        try:
            self._check(one.name)
            return how(one)
        except OutsideError as error:
            return error

    def _add(self, one: DnsRecord) -> Outcome:
        there = [o for o in self.kept if (o.name, o.type) == (one.name, one.type)]
        if one in there:
            return Outcome.ALREADY
        if there:
            raise Conflict(
                system="DNS", address="memory", operation="add", said="in use", owner=str(there)
            )
        self.kept.append(one)
        return Outcome.CREATED

    def _remove(self, one: DnsRecord) -> Outcome:
        self.kept.remove(one)
        return Outcome.REMOVED


@dataclass
class MemoryPower:
    """A controller in memory; remembers what it was told."""

    power: PowerState = PowerState.ON
    told: list[str] = field(default_factory=list)
    asked: list[PowerSettings] = field(default_factory=list)
    fails: OutsideError | None = None

    def __call__(self, settings: PowerSettings) -> Power:
        self.asked.append(settings)
        return self

    async def state(self) -> PowerState:
        if self.fails:
            raise self.fails
        return self.power

    async def on(self) -> None:
        self.told.append("on")
        self.power = PowerState.ON

    async def off(self) -> None:
        self.told.append("off")
        self.power = PowerState.OFF

    async def reboot(self) -> None:
        self.told.append("reboot")

    async def boot_once(self, device: BootDevice) -> None:
        self.told.append(f"boot {device}")

    async def close(self) -> None:
        pass


@dataclass
class Site:
    """A proxy with everything around it."""

    app: FastAPI
    settings: ProxySettings
    dhcp: MemoryDhcp
    dns: MemoryDns
    power: MemoryPower
    root: Path
    clock: list[float]
    to_gateway: list[httpx.Request]
    to_nodes: list[httpx.Request]

    def trusted(self) -> httpx.AsyncClient:
        """A client inside of the proxy's process."""
        return httpx.AsyncClient(transport=in_process(self.app), base_url="http://proxy")

    def plain(self) -> httpx.AsyncClient:
        """A client of an app that no listener has marked: counts as plain HTTP."""
        transport = httpx.ASGITransport(self.app, client=("192.0.2.77", 4711))
        return httpx.AsyncClient(transport=transport, base_url="http://proxy")


Answer = Callable[[httpx.Request], httpx.Response]


def streamed(content: bytes, **headers: str) -> httpx.Response:
    """A file as a web server gives it out: with its length, and not read before it is asked for."""

    async def body() -> AsyncIterator[bytes]:
        yield content

    return httpx.Response(
        200, content=body(), headers={"Content-Length": str(len(content)), **headers}
    )


def site(
    root: Path,
    *,
    network: str = "192.0.2.0/24",
    range_: tuple[str, str] = ("192.0.2.10", "192.0.2.250"),
    zones: tuple[str, ...] = ("test.lan", "example.org", "in-addr.arpa"),
    gateway: Answer = lambda _: httpx.Response(200, text="#rendered\n"),
    node: Answer = lambda _: httpx.Response(200, json={"result": True}),
    source: Answer = lambda _: streamed(b"kernel"),
    name: str | None = "localhost",
    **settings: Any,
) -> Site:
    """Make a site; keywords beyond those named are proxy settings."""
    net = IPv4Network(network)
    subnet = DhcpSubnet(
        network=net,
        routers=(net[1],),
        name_servers=(net[1],),
        range_from=IPv4Address(range_[0]),
        range_to=IPv4Address(range_[1]),
    )
    chosen: dict[str, Any] = {
        "foreman_url": GATEWAY,
        "template_url": "http://proxy.test:8000",
        "tftp": TftpSettings(root=root, server_name="192.0.2.2"),
        "features": EVERYWHERE,
        "discovery": DiscoverySettings(networks=(IPv4Network("127.0.0.0/8"), net)),
        **settings,
    }
    to_gateway: list[httpx.Request] = []
    to_nodes: list[httpx.Request] = []

    def noting(kept: list[httpx.Request], answer: Answer) -> httpx.AsyncClient:
        def handle(request: httpx.Request) -> httpx.Response:
            kept.append(request)
            return answer(request)

        return httpx.AsyncClient(transport=httpx.MockTransport(handle))

    async def name_of(_: str) -> str | None:
        return name

    dhcp, dns, power = MemoryDhcp([subnet]), MemoryDns(zones), MemoryPower()
    clock = [1000.0]
    made = ProxySettings(**chosen)
    limits = FetchLimits(attempts=1, pause=0, deadline=10)
    app = create_app(
        made,
        dhcp_server=dhcp,
        dns_server=dns,
        boot=BootRoot(root, noting([], source), limits),
        http=noting(to_gateway, gateway),
        nodes=noting(to_nodes, node),
        power=power,
        name_of=name_of,
        clock=lambda: clock[0],
        now=lambda: 1_700_000_000.0,
    )
    return Site(app, made, dhcp, dns, power, root, clock, to_gateway, to_nodes)
