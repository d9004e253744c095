"""Free addresses: stable for whom they were given to, never the same for two."""

import asyncio
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from integrations.records import Lease, Reservation
from tests.proxy.site import Site, site

NET = IPv4Network("192.0.2.0/24")
A, B = "52:54:00:aa:bb:01", "52:54:00:aa:bb:02"


async def asked(at: Site, mac: str | None, first: int, last: int) -> str | None:
    given = {"from": f"192.0.2.{first}", "to": f"192.0.2.{last}"}
    async with at.trusted() as http:
        answer = await http.get(
            "/dhcp/192.0.2.0/unused_ip", params={**given, **({"mac": mac} if mac else {})}
        )
    assert answer.status_code == 200
    ip: Any = answer.json()["ip"]
    return str(ip) if ip is not None else None


def reserved(mac: str, ip: str) -> Reservation:
    return Reservation(mac=mac, ip=IPv4Address(ip), name="x.example.org", network=NET)


async def test_the_same_question_has_the_same_answer(tmp_path: Path) -> None:
    at = site(tmp_path)
    first = await asked(at, A, 30, 200)
    assert [await asked(at, A.upper(), 30, 200) for _ in range(3)] == [first] * 3


async def test_it_has_the_same_answer_after_a_restart(tmp_path: Path) -> None:
    assert await asked(site(tmp_path), A, 30, 200) == await asked(site(tmp_path), A, 30, 200)


async def test_two_at_once_never_get_the_same(tmp_path: Path) -> None:
    at = site(tmp_path)
    macs = [f"52:54:00:00:00:{number:02x}" for number in range(1, 41)]
    given = await asyncio.gather(*(asked(at, mac, 100, 139) for mac in macs))
    assert len(set(given)) == 40
    assert None not in given
    assert await asked(at, A, 100, 139) is None


async def test_reservations_and_active_leases_are_passed_over(tmp_path: Path) -> None:
    at = site(tmp_path)
    at.dhcp.kept.append(reserved(B, "192.0.2.30"))
    at.dhcp.leased.append(Lease(mac=B, ip=IPv4Address("192.0.2.31")))
    at.dhcp.leased.append(Lease(mac=B, ip=IPv4Address("192.0.2.32"), active=False))
    assert await asked(at, A, 30, 32) == "192.0.2.32"


async def test_an_interface_gets_its_own_address_again(tmp_path: Path) -> None:
    at = site(tmp_path)
    at.dhcp.leased.append(Lease(mac=B, ip=IPv4Address("192.0.2.41")))
    at.dhcp.kept.append(reserved(A, "192.0.2.40"))
    assert await asked(at, A, 30, 50) == "192.0.2.40"
    assert await asked(at, B, 30, 50) == "192.0.2.41"
    assert await asked(at, A, 60, 60) == "192.0.2.60"


async def test_what_was_given_out_comes_free_after_half_an_hour(tmp_path: Path) -> None:
    at = site(tmp_path)
    assert await asked(at, A, 30, 30) == "192.0.2.30"
    at.clock[0] += 1799
    assert await asked(at, B, 30, 30) is None
    at.clock[0] += 2
    assert await asked(at, B, 30, 30) == "192.0.2.30"


async def test_an_address_that_was_taken_meanwhile_is_not_given_again(tmp_path: Path) -> None:
    at = site(tmp_path)
    mine = await asked(at, A, 30, 31)
    assert mine is not None
    at.dhcp.kept.append(reserved(B, mine))
    assert await asked(at, A, 30, 31) not in (mine, None)


async def test_the_routers_and_the_networks_own_addresses_are_never_free(tmp_path: Path) -> None:
    assert await asked(site(tmp_path), A, 0, 1) is None
    assert await asked(site(tmp_path), A, 255, 255) is None


async def test_who_names_no_mac_gets_another_each_time(tmp_path: Path) -> None:
    at = site(tmp_path)
    assert {await asked(at, None, 30, 31) for _ in range(3)} == {"192.0.2.30", "192.0.2.31", None}


async def test_what_is_given_back_is_free_for_others_at_once(tmp_path: Path) -> None:
    at = site(tmp_path)
    assert await asked(at, A, 50, 50) == "192.0.2.50"
    assert await asked(at, B, 50, 50) is None
    async with at.trusted() as http:
        answers = [
            await http.delete("/dhcp/192.0.2.0/unused_ip", params={"mac": mac}) for mac in (B, A)
        ]
    assert [one.status_code for one in answers] == [200, 200]
    assert await asked(at, B, 50, 50) == "192.0.2.50"
