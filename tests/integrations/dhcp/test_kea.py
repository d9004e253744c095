"""What only Kea can do to us: go deaf, lose updates, forget at a restart."""

from __future__ import annotations

import asyncio
import fcntl
import sys
from collections.abc import AsyncIterator
from copy import deepcopy
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from integrations.dhcp.kea import KeaDhcp, KeaSettings
from integrations.dhcp.kea_channel import Json, KeaChannel, UnixChannel
from integrations.errors import Busy, Conflict, OutsideError, Refused, Unavailable, Unverified
from integrations.records import Outcome
from lab.client import client
from lab.namespace import Namespace
from lab.process import until
from lab.servers.kea import KeaServer, kea
from tests.integrations.dhcp.sites import (
    NETWORK,
    CountingChannel,
    ask_for_address,
    lab_network,
    reservation,
    unique,
)

pytestmark = pytest.mark.servers

FOREIGN: tuple[Json, ...] = (
    {"client-id": "01:11:22:33:44:55:66", "ip-address": "192.0.2.60", "hostname": "by-client"},
    {"circuit-id": "'rack7'", "ip-address": "192.0.2.61"},
    {
        "hw-address": "52:54:00:bb:00:01",
        "ip-address": "192.0.2.62",
        "hostname": "printer.example.org",
        "option-data": [{"name": "domain-name", "data": "example.org"}],
        "user-context": {"comment": "ask the second floor"},
    },
    {"hw-address": "52:54:00:bb:00:02", "client-classes": ["no-address"]},
)


@dataclass
class Kea:
    inside: Namespace
    running: KeaServer
    channel: KeaChannel

    @property
    def settings(self) -> KeaSettings:
        return self.running.settings

    async def config(self) -> Json:
        config: Json = (await self.channel.send("config-get", None))["arguments"]["Dhcp4"]
        return config


@pytest.fixture
async def site() -> AsyncIterator[Kea]:
    async with (
        lab_network() as (inside, directory),
        kea(inside, directory, reservations=FOREIGN) as running,
    ):
        assert running.settings.control_socket is not None
        yield Kea(inside, running, UnixChannel(running.settings.control_socket, timeout=5))


class SpoiltChannel:
    """Adds to every ``config-set``, once it is armed, something that Kea refuses."""

    def __init__(self, channel: KeaChannel, times: int) -> None:
        self._channel = channel
        self.address = channel.address
        self.times = times

    async def send(self, command: str, arguments: Json | None) -> Json:
        if command == "config-set" and arguments is not None and self.times > 0:
            self.times -= 1
            arguments = {"Dhcp4": {**arguments["Dhcp4"], "bogus": True}}
        return await self._channel.send(command, arguments)

    async def close(self) -> None:
        await self._channel.close()


async def test_a_rejected_config_set_makes_kea_deaf_and_an_accepted_one_heals_it(site: Kea) -> None:
    spoilt = {"Dhcp4": {**await site.config(), "bogus": True}}
    assert (await site.channel.send("config-set", spoilt))["result"] == 1
    async with client(site.inside, unique("dc"), reservation().mac) as interface:
        with pytest.raises(RuntimeError, match="no lease"):
            await interface.ask()
        await KeaDhcp(site.settings).reserve(reservation())
        assert (await interface.ask()).ip == reservation().ip


async def test_the_driver_never_leaves_kea_deaf(site: Kea) -> None:
    before = await site.config()
    server = KeaDhcp(site.settings, channel=SpoiltChannel(site.channel, times=1))
    with pytest.raises(Refused, match="bogus"):
        await server.reserve(reservation())
    assert await site.config() == before
    leased = await ask_for_address(site.inside, reservation().mac)
    assert leased >= IPv4Address("192.0.2.100")
    assert await server.reserve(reservation()) is Outcome.CREATED


async def test_a_restoration_that_fails_says_what_it_means(site: Kea) -> None:
    server = KeaDhcp(site.settings, channel=SpoiltChannel(site.channel, times=2))
    with pytest.raises(Refused, match="may be without DHCP sockets"):
        await server.reserve(reservation())


async def test_one_that_kea_itself_refuses_does_not_sink_the_others(site: Kea) -> None:
    channel = CountingChannel(site.channel)
    server = KeaDhcp(site.settings, channel=channel)
    wishes = [reservation(number) for number in range(1, 6)]
    # Only Kea knows that it does not want this one.
    wishes[2] = reservation(3, next_server="255.255.255.255")
    results = await asyncio.gather(*map(server.reserve, wishes), return_exceptions=True)
    assert [results[index] for index in (0, 1, 3, 4)] == [Outcome.CREATED] * 4
    assert isinstance(results[2], Refused)
    assert "255.255.255.255" in str(results[2])
    assert await ask_for_address(site.inside, wishes[4].mac) == wishes[4].ip


async def test_everything_else_in_the_configuration_stays_as_it_was(site: Kea) -> None:
    before = await site.config()
    server = KeaDhcp(site.settings)
    await server.reserve(reservation(1))
    await server.reserve(reservation(2))
    during = deepcopy(await site.config())
    subnet = during["subnet4"][0]
    assert len(subnet["reservations"]) == len(FOREIGN) + 2
    subnet["reservations"] = [
        item for item in subnet["reservations"] if item.get("user-context", {}).get("name") is None
    ]
    assert during == before
    await server.release(reservation(1))
    await server.release(reservation(2))
    assert await site.config() == before


@pytest.mark.parametrize(
    ("ip", "owner"),
    [
        ("192.0.2.60", "by-client (client-id 01112233445566"),
        ("192.0.2.61", "unnamed (circuit-id 7261636B37"),
        ("192.0.2.62", "printer.example.org (52:54:00:bb:00:01"),
    ],
)
async def test_an_address_of_somebody_else_is_a_conflict_whatever_identifies_him(
    site: Kea, ip: str, owner: str
) -> None:
    with pytest.raises(Conflict) as caught:
        await KeaDhcp(site.settings).reserve(reservation(ip=ip))
    assert owner in caught.value.owner


async def test_a_foreign_reservation_is_listed_but_never_released(site: Kea) -> None:
    server = KeaDhcp(site.settings)
    (printer,) = await server.reservations(NETWORK)
    assert (printer.name, printer.ip) == ("printer.example.org", IPv4Address("192.0.2.62"))
    with pytest.raises(Conflict, match="not the one that was made"):
        await server.release(printer)


async def test_a_reservation_survives_a_restart_of_kea(site: Kea) -> None:
    await KeaDhcp(site.settings).reserve(reservation())
    await site.running.server.kill()
    async with kea(site.inside, site.running.conf.parent) as fresh:
        assert await KeaDhcp(fresh.settings).by_mac(NETWORK, reservation().mac) == reservation()


async def test_a_file_that_kea_cannot_write_undoes_the_reservation(site: Kea) -> None:
    class ReadOnly(SpoiltChannel):
        async def send(self, command: str, arguments: Json | None) -> Json:
            if command == "config-write":
                arguments = {"filename": "/nowhere/kea-dhcp4.conf"}
            return await super().send(command, arguments)

    server = KeaDhcp(site.settings, channel=ReadOnly(site.channel, times=0))
    with pytest.raises(Refused, match="config-write"):
        await server.reserve(reservation())
    assert await KeaDhcp(site.settings).by_mac(NETWORK, reservation().mac) is None


async def test_a_kea_without_carrier_is_not_taken_for_a_working_one(site: Kea) -> None:
    config = await site.config()
    for retries in ("service-sockets-max-retries", "service-sockets-retry-wait-time"):
        del config["interfaces-config"][retries]
    assert (await site.channel.send("config-set", {"Dhcp4": config}))["result"] == 0
    for link in ("vk0", "vk1"):
        await site.inside.run("ip", "link", "set", link, "down")

    async def no_carrier() -> bool:
        return "NO-CARRIER" in await site.inside.run("ip", "link", "show", "br0")

    await until(no_carrier, what="the bridge has no carrier", deadline=5)
    with pytest.raises(Unverified, match="no DHCP sockets"):
        await KeaDhcp(site.settings).reserve(reservation())


_WRITER = """
import asyncio, sys
from pathlib import Path
from integrations.dhcp.kea import KeaDhcp, KeaSettings
from tests.integrations.dhcp.sites import reservation

async def write(socket, first):
    server = KeaDhcp(KeaSettings(control_socket=Path(socket)))
    for number in range(first, first + 15):
        await server.reserve(reservation(number))

asyncio.run(write(sys.argv[1], int(sys.argv[2])))
"""


async def test_two_processes_lose_no_update(site: Kea) -> None:
    writers = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _WRITER,
            str(site.settings.control_socket),
            str(first),
            cwd=Path(__file__).parents[3],
        )
        for first in (1, 21)
    ]
    async with asyncio.timeout(60):
        assert [await writer.wait() for writer in writers] == [0, 0]
    found = await KeaDhcp(site.settings).reservations(NETWORK)
    ours = sorted(item.ip for item in found if item.name.startswith("web"))
    assert ours == [reservation(n).ip for n in (*range(1, 16), *range(21, 36))]


async def test_a_lock_that_is_held_too_long_is_busy(site: Kea) -> None:
    settings = site.settings.model_copy(update={"lock_timeout": 0.2})
    with settings.lock_path().open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="another writer"):
            await KeaDhcp(settings).reserve(reservation())
    assert await KeaDhcp(settings).reserve(reservation()) is Outcome.CREATED


async def test_a_lock_file_that_cannot_be_made_is_refused_with_its_path(site: Kea) -> None:
    settings = site.settings.model_copy(update={"lock_file": Path("/nowhere/writer")})
    with pytest.raises(Refused, match="/nowhere/writer"):
        await KeaDhcp(settings).reserve(reservation())


async def test_a_kea_that_is_gone_is_unavailable(site: Kea) -> None:
    await site.running.server.kill()
    with pytest.raises(Unavailable) as caught:
        await KeaDhcp(site.settings).reserve(reservation())
    assert isinstance(caught.value, OutsideError)
