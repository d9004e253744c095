"""The simulated Kea gives addresses as a DHCP server does; the contract tries its protocol."""

from __future__ import annotations

from ipaddress import IPv4Address

import httpx
import pytest

from lab.doubles.dhcp import Fault, KeaDouble

FIRST, SECOND, THIRD = (f"52:54:00:aa:00:0{number}" for number in (1, 2, 3))


def small() -> KeaDouble:
    return KeaDouble(
        range_from=IPv4Address("192.0.2.100"), range_to=IPv4Address("192.0.2.101"), now=lambda: 0
    )


def test_a_host_that_boots_again_keeps_its_address() -> None:
    double = small()
    assert [double.boot(mac) for mac in (FIRST, SECOND, FIRST.upper())] == [
        IPv4Address("192.0.2.100"),
        IPv4Address("192.0.2.101"),
        IPv4Address("192.0.2.100"),
    ]


def test_a_pool_that_is_empty_answers_nobody() -> None:
    double = small()
    double.boot(FIRST)
    double.boot(SECOND)
    with pytest.raises(TimeoutError, match="every address of the pool is taken"):
        double.boot(THIRD)


def test_a_reservation_comes_before_a_lease_and_leaves_the_pool() -> None:
    double = small()
    double.boot(FIRST)
    double.reservations.append({"hw-address": FIRST, "ip-address": "192.0.2.50"})
    double.reservations.append({"hw-address": THIRD, "ip-address": "192.0.2.100"})
    assert double.boot(FIRST) == IPv4Address("192.0.2.50")
    assert double.boot(SECOND) == IPv4Address("192.0.2.101")
    assert double.boot(THIRD) == IPv4Address("192.0.2.100")
    assert len(double.leases) == 3


@pytest.mark.parametrize("fault", [Fault.OFFLINE, Fault.SILENT])
def test_a_server_that_is_down_offers_nothing(fault: Fault) -> None:
    double = small()
    double.fault = fault
    with pytest.raises(TimeoutError, match="no DHCP offer"):
        double.boot(FIRST)


async def test_a_rejected_config_set_leaves_no_sockets_until_the_next_one() -> None:
    double = small()
    bad = {"command": "config-set", "arguments": {"Dhcp4": double.config, "hash": "x"}}
    good = {"command": "config-set", "arguments": {"Dhcp4": double.config}}
    async with double.serving() as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.post("/", json=bad)).json()[0]["result"] == 1
        with pytest.raises(TimeoutError):
            double.boot(FIRST)
        assert (await http.post("/", json=good)).json()[0]["result"] == 0
    assert double.boot(FIRST) == IPv4Address("192.0.2.100")


async def test_without_the_login_nothing_is_answered() -> None:
    double = KeaDouble(user="lab", password="secret")
    async with double.serving() as url, httpx.AsyncClient() as http:
        answer = await http.post(url, json={"command": "config-get"})
        assert answer.status_code == 401
        answer = await http.post(url, json={"command": "config-get"}, auth=("lab", "secret"))
        assert answer.json()[0]["result"] == 0
