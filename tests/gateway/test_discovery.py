import asyncio
import json
import os
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import select

from inventory.arrows import Evidence
from inventory.builds import close_build, latest_build
from inventory.hosts import host_by_mac, lock_host, move
from inventory.life import Event, HostState
from inventory.models import BuildOutcome, Callback, CallbackKind, Facts, Host, Site, StepState
from tests.gateway.conftest import PROXY, World
from tests.inventory.world import later

PATHS = ["/api/v2/discovered_hosts/facts", "/api/discovered_hosts/facts", "/discovery/create"]


def facts(number: int = 1, **more: Any) -> dict[str, Any]:
    mac = f"52:54:00:00:00:{number:02x}"
    return {
        "discovery_bootif": mac,
        "interfaces": "eth0,lo",
        "macaddress_eth0": mac,
        "ipaddress_eth0": f"192.0.2.{100 + number}",
        "memorysize_mb": "512.00",
        **more,
    }


async def post(
    client: httpx.AsyncClient, told: dict[str, Any], path: str = PATHS[0]
) -> httpx.Response:
    # The bare question mark is how a Smart Proxy relays it.
    return await client.post(path + "?", json={"facts": told})


@pytest.mark.parametrize("path", PATHS)
async def test_a_new_machine_is_registered_on_each_path(
    world: World, client: httpx.AsyncClient, path: str
) -> None:
    answer = await post(client, facts(), path)
    assert answer.status_code == 201
    assert answer.json() == {"id": 1, "name": "mac525400000001", "state": "discovered"}
    (callback,) = await world.callbacks()
    assert (callback.kind, callback.remote) == (CallbackKind.FACTS, "192.0.2.77")
    async with world.database.sessions.begin() as session:
        build = await latest_build(session, 1)
    assert build is not None
    steps = await world.steps(build)
    assert [steps[n].evidence for n in (1, 2, 3, 4, 5)] == [Evidence.IMPLIED] * 3 + [
        Evidence.OBSERVED
    ] * 2
    assert steps[6].state is StepState.PENDING


async def test_the_same_machine_twice_is_one_host_with_the_newer_facts(
    world: World, client: httpx.AsyncClient
) -> None:
    await post(client, facts(uptime="1"))
    again = facts(uptime="2", discovery_bootif="52-54-00-00-00-01".upper())
    assert (await post(client, again)).json()["id"] == 1
    changed = await post(client, facts(memorysize_mb="1024.00"))
    assert changed.json()["id"] == 1
    async with world.database.sessions.begin() as session:
        kept = await session.get_one(Facts, (1, "discovery"))
        assert kept.values["memorysize_mb"] == "1024.00"
        assert [one.state for one in await session.exec(select(Host))] == [HostState.DISCOVERED]


async def test_what_is_told_again_in_the_same_build_is_no_news(
    world: World, client: httpx.AsyncClient
) -> None:
    await post(client, facts(uptime="1"))
    await post(client, facts(uptime="2"))
    assert len(await world.callbacks()) == 1


async def test_a_cancelled_host_that_is_discovered_again_is_news(
    world: World, client: httpx.AsyncClient
) -> None:
    await post(client, facts())
    async with world.database.sessions.begin() as session:
        host = await lock_host(session, 1)
        for event in (Event.SELECT, Event.CANCEL, Event.RECORDS_GONE):
            await move(session, host, event, later(1))
        build = await latest_build(session, 1)
        assert build is not None
        await close_build(session, build, BuildOutcome.CANCELLED, later(1))
    assert (await post(client, facts())).json()["state"] == "discovered"
    first, second = await world.callbacks()
    assert first.build_id != second.build_id


async def test_a_host_in_its_build_keeps_its_state(world: World, client: httpx.AsyncClient) -> None:
    host, _ = await world.host(1, HostState.INSTALLING)
    answer = await post(client, facts())
    assert (answer.status_code, answer.json()["state"]) == (201, "installing")
    assert await world.state(host.id) is HostState.INSTALLING


async def test_a_hundred_posts_at_once_make_one_host(
    world: World, client: httpx.AsyncClient
) -> None:
    answers = await asyncio.gather(*(post(client, facts(uptime=str(n))) for n in range(100)))
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.json()["id"] for answer in answers} == {answers[0].json()["id"]}
    assert len(await world.callbacks()) == 1


async def test_two_hosts_cannot_claim_one_mac(world: World, client: httpx.AsyncClient) -> None:
    await post(client, facts(1))
    second = facts(2, interfaces="eth0,eth1", macaddress_eth1="52:54:00:00:00:01")
    answer = await post(client, second)
    assert answer.status_code == 409
    assert "52:54:00:00:00:01 belongs to the host mac525400000001" in answer.json()["message"]
    async with world.database.sessions.begin() as session:
        assert await host_by_mac(session, "52:54:00:00:00:02") is None


async def test_3700_facts_are_taken(world: World, client: httpx.AsyncClient) -> None:
    many = {f"blockdevice_sd{n}_size": "1" * 60 for n in range(3700)}
    assert (await post(client, facts() | many)).status_code == 201


async def test_structured_and_unstorable_values_are_taken(
    world: World, client: httpx.AsyncClient
) -> None:
    body = json.dumps({"facts": facts(os={"name": "x"}, efi=True, n=None)})[:-2]
    body += r', "serialnumber": "A\u0000\ud800", "big": 1e999, "nan": NaN}}'
    answer = await client.post(
        PATHS[0], content=body, headers={"Content-Type": "application/json; charset=utf-8"}
    )
    assert answer.status_code == 201
    async with world.database.sessions.begin() as session:
        kept = await session.get_one(Facts, (1, "discovery"))
        assert kept.values["os"] == {"name": "x"}
        assert kept.values["serialnumber"] == "A\ufffd\ufffd"


async def test_what_does_not_call_itself_json_is_415(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATHS[0], content=b"{}")
    assert answer.status_code == 415
    assert "application/json" in answer.json()["message"]


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"a": "b"}, "discovery_bootif is missing"),
        (facts(ipaddress_eth0=""), "has no IP address"),
        (facts(discovery_bootif="nonsense"), "is not a MAC address"),
    ],
)
async def test_unusable_facts_are_422_with_a_sentence(
    world: World, client: httpx.AsyncClient, told: dict[str, Any], sentence: str
) -> None:
    answer = await post(client, told)
    assert answer.status_code == 422
    assert sentence in answer.json()["message"]
    assert await world.callbacks() == []


async def test_an_unknown_site_is_422(world: World, client: httpx.AsyncClient) -> None:
    async with world.database.sessions.begin() as session:
        session.add(Site(name="other", gateway_url="http://198.51.100.1"))
    answer = await post(client, facts(ipaddress_eth0="203.0.113.1"))
    assert answer.status_code == 422
    assert "203.0.113.1 lies in no known subnet" in answer.json()["message"]


async def test_a_megabyte_of_garbage_is_refused_with_a_sentence(
    world: World, client: httpx.AsyncClient
) -> None:
    json_type = {"Content-Type": "application/json"}
    for garbage in (os.urandom(1 << 20), b"[" * (1 << 20), b'{"facts":' * (1 << 17)):
        answer = await client.post(PATHS[0], content=garbage, headers=json_type)
        assert answer.status_code == 422
        assert len(answer.json()["message"]) < 500
    answer = await client.post(PATHS[0], content=b" " * (5 << 20), headers=json_type)
    assert answer.status_code == 413
    assert await world.callbacks() == []


@given(body=st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_body_is_a_fault_of_ours(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(PATHS[0], content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.json()["message"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "remote"),
    [
        ("192.0.2.77", "203.0.113.9", "192.0.2.77"),
        (PROXY, "203.0.113.9", "203.0.113.9"),
        (PROXY, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (PROXY, f"203.0.113.9, {PROXY}", "203.0.113.9"),
        (PROXY, "::ffff:203.0.113.9", "203.0.113.9"),
        (PROXY, "nonsense", PROXY),
        (f"::ffff:{PROXY}", "203.0.113.9", "203.0.113.9"),
        (PROXY, "", PROXY),
    ],
)
async def test_forwarded_addresses_are_believed_from_trusted_proxies_only(
    world: World, peer: str, forwarded: str, remote: str
) -> None:
    client = world.client(peer)
    client.headers["X-Forwarded-For"] = forwarded
    await post(client, facts())
    callback: Callback = (await world.callbacks())[0]
    assert callback.remote == remote


@pytest.mark.parametrize("state", [HostState.INSTALLING, HostState.FIRST_BOOT])
async def test_a_host_that_comes_back_into_discovery_again_and_again_is_held(
    world: World, client: httpx.AsyncClient, state: HostState
) -> None:
    host, build = await world.host(1, state)
    for boots in (1, 2):
        world.seconds += 120
        await post(client, facts(boots=str(boots)))
        # Of the same boot.
        await post(client, facts(boots=str(boots), again="yes"))
        assert await world.state(host.id) is state
        assert (await world.build(build)).network_boots == boots
    assert "has booted the discovery image 2 times" in (await world.build(build)).trouble
    world.seconds += 120
    await post(client, facts(boots="3"))
    assert await world.state(host.id) is HostState.HELD
    held = await world.build(build)
    assert "3 times instead of its" in (held.held_reason or "")
    assert "boot order" in (held.held_advice or "")


async def test_a_host_in_operation_that_boots_the_network_is_told_of(
    world: World, client: httpx.AsyncClient
) -> None:
    host, build = await world.host(1, HostState.IN_OPERATION)
    for boots in range(1, 5):
        world.seconds += 120
        await post(client, facts(boots=str(boots)))
    assert await world.state(host.id) is HostState.IN_OPERATION
    assert "4 times instead of its own disk" in (await world.build(build)).trouble


async def test_facts_that_were_under_way_when_it_was_sent_off_are_no_news(
    world: World, client: httpx.AsyncClient
) -> None:
    _, build = await world.host(1, HostState.REBOOTING)
    world.seconds = 20
    await post(client, facts(boots="1"))
    assert (await world.build(build)).network_boots == 0
