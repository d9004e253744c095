"""The servers that the contract is tried on, each with the few levers that its tests need."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr

from integrations.dhcp import DhcpServer
from integrations.dhcp.isc import IscDhcp
from integrations.dhcp.kea import KeaDhcp, KeaSettings
from integrations.dhcp.kea_channel import Json, KeaChannel
from integrations.records import Reservation
from lab.client import client
from lab.doubles.dhcp import Fault, KeaDouble
from lab.namespace import Namespace, namespace
from lab.process import Running
from lab.reach import reach
from lab.servers.dhcp import DhcpLab
from lab.servers.isc import isc
from lab.servers.kea import agent_settings, kea, kea_agent

NETWORK = IPv4Network("192.0.2.0/24")
WRONG = SecretStr("d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmc=")
_NUMBERS = count()


def reservation(number: int = 1, **changes: object) -> Reservation:
    return changed(changes, number)


def changed(changes: dict[str, object], number: int = 1) -> Reservation:
    values: dict[str, object] = {
        "mac": f"52:54:00:aa:00:{number:02x}",
        "ip": IPv4Address(f"192.0.2.{10 + number}"),
        "name": f"web{number:02d}.example.org",
        "hostname": f"web{number:02d}",
        "next_server": "192.0.2.1",
        "filename": "pxelinux.0",
        "network": NETWORK,
    }
    return Reservation.model_validate(values | changes)


class CountingChannel:
    def __init__(self, channel: KeaChannel) -> None:
        self._channel = channel
        self.address = channel.address
        self.commands: Counter[str] = Counter()

    async def send(self, command: str, arguments: Json | None) -> Json:
        self.commands[command] += 1
        return await self._channel.send(command, arguments)

    async def close(self) -> None:
        await self._channel.close()


@dataclass
class Site:
    server: DhcpServer
    impatient: DhcpServer
    """Waits half a second for an answer."""
    stranger: DhcpServer | None
    """Has wrong credentials; None where there are none."""
    silenced: Callable[[], AbstractAsyncContextManager[None]]
    """The server does not answer while the block lasts."""
    boot: Callable[[str], Awaitable[IPv4Address]]
    """A client with that MAC asks for an address."""
    commands: Counter[str]
    """What was sent to Kea."""


def unique(prefix: str) -> str:
    return f"{prefix}{os.getpid()}n{next(_NUMBERS)}"


@asynccontextmanager
async def lab_network() -> AsyncIterator[tuple[Namespace, Path]]:
    # A short path: that of a control socket may have 107 characters.
    with TemporaryDirectory(prefix="dhcp-") as directory:
        async with namespace(unique("dh")) as inside:
            yield inside, Path(directory)


async def ask_for_address(inside: Namespace, mac: str) -> IPv4Address:
    async with client(inside, unique("dc"), mac) as interface:
        return (await interface.ask()).ip


def _stopped(server: Running) -> Callable[[], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def silenced() -> AsyncIterator[None]:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(server.pid, signal.SIGCONT)

    return silenced


def kea_site(
    settings: KeaSettings,
    silenced: Callable[[], AbstractAsyncContextManager[None]],
    boot: Callable[[str], Awaitable[IPv4Address]],
) -> Site:
    channel = CountingChannel(settings.channel())
    stranger = settings.model_copy(update={"password": WRONG})
    return Site(
        server=KeaDhcp(settings, channel=channel),
        impatient=KeaDhcp(settings.model_copy(update={"timeout": 0.5})),
        stranger=KeaDhcp(stranger) if settings.agent_url else None,
        silenced=silenced,
        boot=boot,
        commands=channel.commands,
    )


@asynccontextmanager
async def open_double(*, host_cmds: bool) -> AsyncIterator[Site]:
    double = KeaDouble(host_cmds=host_cmds, user="lab", password="secret", delay=(0, 0.005))

    @asynccontextmanager
    async def silenced() -> AsyncIterator[None]:
        double.fault = Fault.SILENT
        try:
            yield
        finally:
            double.fault = Fault.NONE

    async def boot(mac: str) -> IPv4Address:
        return double.boot(mac)

    with TemporaryDirectory() as directory:
        async with double.serving() as url:
            settings = KeaSettings(
                agent_url=url,
                user="lab",
                password=SecretStr("secret"),
                lock_file=Path(directory, "writer"),
            )
            yield kea_site(settings, silenced, boot)


@asynccontextmanager
async def open_isc() -> AsyncIterator[Site]:
    async with (
        lab_network() as (inside, directory),
        isc(inside, directory) as running,
        reach(inside, running.settings.port) as port,
    ):
        settings = running.settings.model_copy(update={"port": port})
        yield Site(
            server=IscDhcp(settings),
            impatient=IscDhcp(settings.model_copy(update={"timeout": 0.5})),
            stranger=IscDhcp(settings.model_copy(update={"secret": WRONG})),
            silenced=_stopped(running.server),
            boot=lambda mac: ask_for_address(inside, mac),
            commands=Counter(),
        )


@asynccontextmanager
async def open_kea_by_socket() -> AsyncIterator[Site]:
    async with lab_network() as (inside, directory), kea(inside, directory) as running:
        yield kea_site(
            running.settings,
            _stopped(running.server),
            lambda mac: ask_for_address(inside, mac),
        )


@asynccontextmanager
async def open_kea_by_agent() -> AsyncIterator[Site]:
    lab = DhcpLab()
    async with (
        lab_network() as (inside, directory),
        kea(inside, directory, lab) as running,
        kea_agent(inside, directory, lab),
        reach(inside, 8000) as port,
    ):
        settings = agent_settings(lab, port).model_copy(update={"lock_file": directory / "writer"})
        yield kea_site(settings, _stopped(running.server), lambda mac: ask_for_address(inside, mac))


SITES: dict[str, Callable[[], AbstractAsyncContextManager[Site]]] = {
    "kea-double": lambda: open_double(host_cmds=False),
    "kea-double-with-host-cmds": lambda: open_double(host_cmds=True),
    "isc": open_isc,
    "kea-by-socket": open_kea_by_socket,
    "kea-by-agent": open_kea_by_agent,
}
