"""One contract for every DHCP server: what the port promises, tried on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv4Network

import pytest
import pytest_asyncio

from integrations.errors import Conflict, Refused, Unavailable
from integrations.records import DhcpSubnet, Outcome
from tests.integrations.dhcp.sites import NETWORK, SITES, Site, changed, reservation

pytestmark = pytest.mark.asyncio(loop_scope="module")

REAL = ("isc", "kea-by-socket", "kea-by-agent")


ALL = [pytest.param(name, marks=pytest.mark.servers) if name in REAL else name for name in SITES]
# A unix socket asks nobody who he is.
ASKS_FOR_CREDENTIALS = [
    one for one, name in zip(ALL, SITES, strict=True) if name != "kea-by-socket"
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ALL)
async def shared_site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with SITES[request.param]() as opened:
        yield opened
        for server in (opened.server, opened.impatient, opened.stranger):
            if server is not None:
                await server.close()


@pytest_asyncio.fixture(loop_scope="module")
async def site(shared_site: Site) -> AsyncIterator[Site]:
    yield shared_site
    left = await shared_site.server.reservations(NETWORK)
    await asyncio.gather(*(shared_site.server.release(item) for item in left))
    assert await shared_site.server.reservations(NETWORK) == []


async def test_the_subnet_is_known_with_its_range_and_options(site: Site) -> None:
    assert await site.server.subnets() == [
        DhcpSubnet(
            network=NETWORK,
            routers=(IPv4Address("192.0.2.1"),),
            name_servers=(IPv4Address("192.0.2.1"),),
            range_from=IPv4Address("192.0.2.100"),
            range_to=IPv4Address("192.0.2.199"),
        )
    ]


async def test_a_reservation_is_read_back_as_it_was_made(site: Site) -> None:
    wanted = reservation()
    assert await site.server.reserve(wanted) is Outcome.CREATED
    assert await site.server.by_mac(NETWORK, wanted.mac) == wanted
    assert await site.server.by_ip(NETWORK, wanted.ip) == [wanted]
    assert await site.server.reservations(NETWORK) == [wanted]


async def test_a_reservation_without_boot_data_is_read_back_so(site: Site) -> None:
    wanted = reservation(hostname="", next_server="", filename="")
    assert await site.server.reserve(wanted) is Outcome.CREATED
    assert await site.server.by_mac(NETWORK, wanted.mac) == wanted


async def test_an_ipxe_url_survives_as_a_boot_file(site: Site) -> None:
    wanted = reservation(filename="http://192.0.2.1:8080/unattended/iPXE?mac=52:54&a=b%20c")
    await site.server.reserve(wanted)
    assert await site.server.by_mac(NETWORK, wanted.mac) == wanted


async def test_a_repeat_is_already_done(site: Site) -> None:
    await site.server.reserve(reservation())
    assert await site.server.reserve(reservation()) is Outcome.ALREADY
    assert len(await site.server.reservations(NETWORK)) == 1


async def test_upper_case_mac_is_the_same_interface(site: Site) -> None:
    await site.server.reserve(reservation())
    assert await site.server.reserve(reservation(mac="52-54-00-AA-00-01")) is Outcome.ALREADY
    found = await site.server.by_mac(NETWORK, "5254.00AA.0001")
    assert found == reservation()


@pytest.mark.parametrize(
    "changes",
    [
        {"filename": "grubnetx64.efi"},
        {"filename": ""},
        {"next_server": "192.0.2.2"},
        {"hostname": "other"},
        {"name": "other.example.org"},
        {"ip": "192.0.2.77"},
    ],
    ids=lambda changes: "-".join(changes) + ("" if all(changes.values()) else "-empty"),
)
async def test_another_reservation_of_the_mac_is_a_conflict(
    site: Site, changes: dict[str, object]
) -> None:
    await site.server.reserve(reservation())
    with pytest.raises(Conflict) as caught:
        await site.server.reserve(changed(changes))
    assert "web01.example.org" in caught.value.owner
    assert "52:54:00:aa:00:01" in caught.value.owner
    assert await site.server.reservations(NETWORK) == [reservation()]


async def test_an_address_is_never_given_twice(site: Site) -> None:
    await site.server.reserve(reservation(1))
    with pytest.raises(Conflict, match=r"web01\.example\.org") as caught:
        await site.server.reserve(reservation(2, ip=reservation(1).ip))
    assert "52:54:00:aa:00:01" in caught.value.owner
    assert await site.server.reservations(NETWORK) == [reservation(1)]


async def test_two_who_want_one_address_at_once_do_not_both_get_it(site: Site) -> None:
    wishes = [reservation(1), reservation(2, ip=reservation(1).ip)]
    results = await asyncio.gather(
        *(site.server.reserve(wish) for wish in wishes), return_exceptions=True
    )
    assert sorted(map(type, results), key=str) == [Conflict, Outcome]
    assert len(await site.server.by_ip(NETWORK, reservation(1).ip)) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ip": "10.9.9.9"}, "10.9.9.9 is not within 192.0.2.0/24"),
        ({"ip": "192.0.2.255"}, "broadcast"),
        ({"network": IPv4Network("198.51.100.0/24"), "ip": "198.51.100.9"}, "192.0.2.0/24"),
        ({"filename": 'a"; option routers 192.0.2.66'}, "file name"),
        ({"hostname": 'a"; }'}, "hostname"),
        ({"name": "a { }"}, "name"),
        ({"next_server": "boot.example.org"}, "IPv4"),
        ({"filename": "x" * 128}, "127"),
    ],
    ids=[
        "outside",
        "broadcast",
        "unknown-subnet",
        "filename",
        "hostname",
        "name",
        "server",
        "long",
    ],
)
async def test_wrong_input_is_refused_with_the_reason(
    site: Site, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(Refused, match=said) as caught:
        await site.server.reserve(changed(changes))
    assert not isinstance(caught.value, Conflict)


async def test_reading_an_unknown_subnet_is_refused(site: Site) -> None:
    with pytest.raises(Refused, match=r"served are: 192\.0\.2\.0/24"):
        await site.server.reservations(IPv4Network("198.51.100.0/24"))
    with pytest.raises(Refused, match=r"served are: 192\.0\.2\.0/24"):
        await site.server.leases(IPv4Network("198.51.100.0/24"))


async def test_released_is_gone_and_may_be_made_again_otherwise(site: Site) -> None:
    await site.server.reserve(reservation())
    assert await site.server.release(reservation()) is Outcome.REMOVED
    assert await site.server.by_mac(NETWORK, reservation().mac) is None
    assert await site.server.reserve(reservation(filename="other.0")) is Outcome.CREATED


async def test_releasing_what_is_not_there_is_absent(site: Site) -> None:
    assert await site.server.release(reservation()) is Outcome.ABSENT


async def test_a_record_that_was_changed_is_not_released(site: Site) -> None:
    await site.server.reserve(reservation(filename="changed.0"))
    with pytest.raises(Conflict, match=r"web01\.example\.org|not the one") as caught:
        await site.server.release(reservation())
    assert "web01.example.org" in caught.value.owner
    assert await site.server.by_mac(NETWORK, reservation().mac) is not None


async def test_twenty_at_once_are_all_there(site: Site) -> None:
    before = site.commands["config-set"]
    wanted = [reservation(number) for number in range(1, 21)]
    outcomes = await asyncio.gather(*map(site.server.reserve, wanted))
    assert set(outcomes) == {Outcome.CREATED}
    found = await site.server.reservations(NETWORK)
    assert sorted(found, key=lambda item: item.ip) == wanted
    # Those that wait for the first one's set are made together.
    assert site.commands["config-set"] - before < 5
    assert site.commands["list-commands"] <= 1


async def test_each_of_many_has_an_outcome_of_its_own(site: Site) -> None:
    await site.server.reserve(reservation(1))
    results = await asyncio.gather(
        site.server.reserve(reservation(1)),
        site.server.reserve(reservation(1, filename="other.0")),
        site.server.reserve(reservation(2, ip=reservation(1).ip)),
        site.server.reserve(reservation(3, ip="10.9.9.9")),
        site.server.reserve(reservation(4)),
        site.server.release(reservation(5)),
        return_exceptions=True,
    )
    kinds = [item if isinstance(item, Outcome) else type(item) for item in results]
    assert kinds == [
        Outcome.ALREADY,
        Conflict,
        Conflict,
        Refused,
        Outcome.CREATED,
        Outcome.ABSENT,
    ]


async def test_a_caller_that_gives_up_does_not_spoil_the_others(site: Site) -> None:
    calls = [asyncio.create_task(site.server.reserve(reservation(n))) for n in range(1, 6)]
    await asyncio.sleep(0)
    calls[0].cancel()
    calls[2].cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [results[index] for index in (1, 3, 4)] == [Outcome.CREATED] * 3


async def test_a_server_that_does_not_answer_is_unavailable_in_time(site: Site) -> None:
    async with site.silenced():
        async with asyncio.timeout(3):
            with pytest.raises(Unavailable):
                await site.impatient.reserve(reservation(9))
    # It may have heard the request all the same and act on it when it wakes.
    assert await site.server.reserve(reservation(9)) in (Outcome.CREATED, Outcome.ALREADY)


@pytest.mark.parametrize("shared_site", ASKS_FOR_CREDENTIALS, indirect=True)
async def test_wrong_credentials_are_refused(site: Site) -> None:
    assert site.stranger is not None
    with pytest.raises(Refused):
        await site.stranger.reserve(reservation())
    assert await site.server.reservations(NETWORK) == []


async def test_a_client_gets_its_reserved_address_or_a_lease_of_the_range(site: Site) -> None:
    await site.server.reserve(reservation())
    assert await site.boot(reservation().mac) == reservation().ip
    leased = await site.boot("52:54:00:aa:00:fe")
    assert IPv4Address("192.0.2.100") <= leased <= IPv4Address("192.0.2.199")
    lease = next(item for item in await site.server.leases(NETWORK) if item.ip == leased)
    assert lease.mac == "52:54:00:aa:00:fe"
    assert lease.active
    assert lease.starts is not None
    assert lease.ends is not None
    assert 500 < (lease.ends - lease.starts).total_seconds() <= 600
