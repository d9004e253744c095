"""What only dhcpd can do to us: accept a second owner of an address, forget a static host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from pydantic import SecretStr

from integrations.dhcp.isc import IscDhcp, IscSettings
from integrations.dhcp.omapi import Algorithm, OmapiClient
from integrations.errors import Conflict, Refused, Unavailable
from integrations.records import Outcome
from lab.namespace import Namespace
from lab.process import Running
from lab.reach import reach
from lab.servers.isc import isc
from tests.integrations.dhcp.sites import NETWORK, ask_for_address, lab_network, reservation

pytestmark = pytest.mark.servers

STATIC = """
host printer { hardware ethernet 52:54:00:BB:00:01; fixed-address 192.0.2.62; }
"""


@dataclass
class Isc:
    inside: Namespace
    directory: Path
    settings: IscSettings
    running: Running


Start = Callable[..., Awaitable[Isc]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:
        inside, directory = await stack.enter_async_context(lab_network())

        async def starting(algorithm: Algorithm = "hmac-md5") -> Isc:
            server = await stack.enter_async_context(
                isc(inside, directory, algorithm=algorithm, extra=STATIC)
            )
            port = await stack.enter_async_context(reach(inside, server.settings.port))
            settings = server.settings.model_copy(update={"port": port})
            return Isc(inside, directory, settings, server.server)

        yield starting


@pytest.mark.parametrize("algorithm", ["hmac-md5", "hmac-sha1", "hmac-sha256", "hmac-sha512"])
async def test_every_algorithm_of_the_key_works(start: Start, algorithm: Algorithm) -> None:
    site = await start(algorithm)
    assert await IscDhcp(site.settings).reserve(reservation()) is Outcome.CREATED


async def test_an_unknown_key_and_a_broken_secret_are_refused(start: Start) -> None:
    site = await start()
    for wrong in (
        {"key_name": "nobody"},
        {"secret": SecretStr("not base64")},
        {"algorithm": "hmac-sha256"},
    ):
        with pytest.raises(Refused):
            await IscDhcp(site.settings.model_copy(update=wrong)).reserve(reservation())


async def test_a_host_of_the_configuration_is_seen_and_left_alone(start: Start) -> None:
    site = await start()
    server = IscDhcp(site.settings)
    (printer,) = await server.reservations(NETWORK)
    assert (printer.name, printer.mac) == ("printer", "52:54:00:bb:00:01")
    with pytest.raises(Conflict, match="printer"):
        await server.reserve(reservation(ip="192.0.2.62"))
    # OMAPI would do it, and the next start of dhcpd would bring it back.
    with pytest.raises(Conflict, match=r"written in .*dhcpd\.conf"):
        await server.release(printer)
    assert await server.reservations(NETWORK) == [printer]


async def test_omapi_itself_accepts_an_address_twice(start: Start) -> None:
    """The trap that the driver's own check is for."""
    site = await start()
    omapi = OmapiClient("127.0.0.1", site.settings.port, "lab", _secret(site), "hmac-md5", 5)
    for number in (1, 2):
        wish = reservation(number, ip="192.0.2.50")
        await asyncio.to_thread(omapi.add, wish, "set a trap")
    found = await IscDhcp(site.settings).by_ip(NETWORK, IPv4Address("192.0.2.50"))
    assert len(found) == 2


def _secret(site: Isc) -> str:
    return site.settings.secret.get_secret_value()


async def test_two_programs_never_both_keep_an_address(start: Start) -> None:
    site = await start()
    programs = [IscDhcp(site.settings) for _ in range(2)]
    for number in range(1, 11):
        wishes = [reservation(number), reservation(number + 50, ip=reservation(number).ip)]
        results = await asyncio.gather(
            *(program.reserve(wish) for program, wish in zip(programs, wishes, strict=True)),
            return_exceptions=True,
        )
        found = await programs[0].by_ip(NETWORK, reservation(number).ip)
        kept = [wish for wish, told in zip(wishes, results, strict=True) if told is Outcome.CREATED]
        assert found == kept
        assert len(kept) <= 1


async def test_a_name_is_given_once(start: Start) -> None:
    server = IscDhcp((await start()).settings)
    await server.reserve(reservation(1))
    with pytest.raises(Conflict, match=r"the name .* web01") as caught:
        await server.reserve(reservation(2, name=reservation(1).name))
    assert reservation(1).mac in caught.value.owner


async def test_reservations_survive_a_restart(start: Start) -> None:
    site = await start()
    await IscDhcp(site.settings).reserve(reservation(1))
    await IscDhcp(site.settings).reserve(reservation(2))
    await IscDhcp(site.settings).release(reservation(1))
    await site.running.stop()
    again = await start()
    server = IscDhcp(again.settings)
    assert await server.by_mac(NETWORK, reservation(1).mac) is None
    assert await server.by_mac(NETWORK, reservation(2).mac) == reservation(2)
    assert await server.release(reservation(2)) is Outcome.REMOVED


async def test_a_reserved_address_has_no_lease(start: Start) -> None:
    site = await start()
    server = IscDhcp(site.settings)
    await server.reserve(reservation())
    assert await ask_for_address(site.inside, reservation().mac) == reservation().ip
    assert await server.leases(NETWORK) == []


async def test_a_server_that_is_gone_is_unavailable(start: Start) -> None:
    site = await start()
    await site.running.kill()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        await IscDhcp(site.settings).reserve(reservation())


async def test_a_missing_file_is_refused_with_its_path(start: Start) -> None:
    settings = (await start()).settings
    server = IscDhcp(settings.model_copy(update={"leases_file": Path("/nowhere/dhcpd.leases")}))
    with pytest.raises(Refused, match=r"/nowhere/dhcpd\.leases"):
        await server.reservations(NETWORK)
