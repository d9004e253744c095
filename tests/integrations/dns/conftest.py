"""A name server to test against: our double, and under the mark ``servers`` a real BIND."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.rcode
import dns.tsig
import dns.update
import pytest
from dns.rcode import Rcode

from integrations.dns import DnsServer, DnsSettings, NameServer
from lab.doubles.dns import DnsDouble
from lab.servers.bind import bind
from lab.tsig import OWNER, TsigKey

ZONES = ("lab.example", "sub.lab.example", "2.0.192.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa")
DENIED = "forbidden.lab.example"


@dataclass(frozen=True)
class Site:
    """A running name server and what a test does with it."""

    port: int
    stop: Callable[[], object]

    @property
    def server(self) -> NameServer:
        return NameServer(IPv4Address("127.0.0.1"), self.port)

    def client(self, key: TsigKey = OWNER, zones: tuple[str, ...] = ZONES) -> DnsServer:
        return client(self.port, key, zones)

    async def plant(self, zone: str, name: str, *record: str | int) -> None:
        """Put a record there as somebody else would."""
        message = dns.update.UpdateMessage(zone)
        message.add(name, *record)
        assert await self.update(message) == Rcode.NOERROR

    async def update(self, message: dns.update.UpdateMessage, key: TsigKey | None = OWNER) -> Rcode:
        """Send an update as it is."""
        if key:
            message.use_tsig(dns.tsig.Key(key.name, key.secret))
        answer = await dns.asyncquery.tcp(message, "127.0.0.1", port=self.port, timeout=5)
        return answer.rcode()


def client(
    port: int, key: TsigKey = OWNER, zones: tuple[str, ...] = ZONES, timeout: float = 2
) -> DnsServer:
    return DnsServer(
        DnsSettings.model_validate(
            {
                "address": "127.0.0.1",
                "port": port,
                "key_name": key.name,
                "secret": key.secret,
                "timeout": timeout,
                "zones": zones,
            }
        )
    )


def free_port() -> int:
    with socket.socket() as tcp:
        tcp.bind(("127.0.0.1", 0))
        return int(tcp.getsockname()[1])


@pytest.fixture(params=["double", pytest.param("bind", marks=pytest.mark.servers)])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    if request.param == "double":
        async with DnsDouble(ZONES, denied=[DENIED]) as double:
            yield Site(double.port, lambda: double.__aexit__(None, None, None))
    else:
        async with bind(tmp_path, ZONES, port=free_port(), denied=[DENIED]) as named:
            yield Site(named.port, named.server.kill)
