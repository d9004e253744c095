from collections.abc import Mapping

import pytest
from httpx import AsyncClient
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from inventory import kickstarts
from inventory.arrows import Evidence
from inventory.builds import close_build, resume
from inventory.life import HostState
from inventory.models import Build, BuildOutcome, CallbackKind, HostGroup
from tests.gateway.conftest import World, token
from tests.inventory.world import later, mac

PROVISION = "/unattended/provision"


async def fetch(
    client: AsyncClient, headers: Mapping[str, str] = {}, query: Mapping[str, str] = {}
) -> tuple[int, str]:
    answer = await client.get(PROVISION, params={"token": token(1), **query}, headers=headers)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    return answer.status_code, answer.text


async def test_the_kickstart_is_given_and_noted(world: World, client: AsyncClient) -> None:
    host, build = await world.host(1, HostState.REBOOTING)
    status, text = await fetch(client)
    assert status == 200
    parser = KickstartParser(makeVersion("RHEL9"))
    parser.readKickstartFromString(text)
    assert parser.handler.network.network[0].hostname == "web1.example.org"
    assert parser.handler.url.url == "http://192.0.2.1/tree/"
    assert token(1) in text
    assert await world.state(host.id) is HostState.INSTALLING
    after = await world.build(build)
    assert after.kickstarts == 1
    assert after.deadline == later(101 + 60 * 60)
    steps = await world.steps(build)
    assert [steps[n].evidence for n in (18, 19, 20, 21, 22)] == [
        Evidence.IMPLIED,
        Evidence.IMPLIED,
        Evidence.OBSERVED,
        Evidence.OBSERVED,
        None,
    ]
    assert "192.0.2.77" in steps[20].seen
    (callback,) = await world.callbacks()
    assert callback.kind is CallbackKind.KICKSTART
    async with world.database.sessions() as session:
        kept = await kickstarts.last_of_host(session, host.id)
    assert kept is not None
    assert token(1) not in kept
    assert kept == text.replace(token(1), "[token]")


async def test_a_kickstart_is_not_kept_by_anybody_on_the_way(
    world: World, client: AsyncClient
) -> None:
    await world.host(1, HostState.REBOOTING)
    answer = await client.get(PROVISION, params={"token": token(1)})
    assert answer.headers["cache-control"] == "no-store"


async def test_queries_of_the_relay_are_ignored(world: World, client: AsyncClient) -> None:
    await world.host(1, HostState.REBOOTING)
    extra = {"url": "http://192.0.2.9:8000", "Content-Type": "text/plain", "static": "1"}
    assert (await fetch(client, query=extra))[0] == 200


SENT = "x-rhn-provisioning-mac-0"


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({}, {}, 200),
        ({SENT: f"eth0 {mac(1)}"}, {}, 200),
        ({"X_Rhn_Provisioning_Mac_0": f"eth0 {mac(1).upper()}"}, {}, 200),
        ({SENT: "eth0 52:54:00:ff:ff:ff", "x-rhn-provisioning-mac-1": f"eth1 {mac(1)}"}, {}, 200),
        ({}, {"mac": mac(1)}, 200),
        ({SENT: f"eth0 {mac(2)}"}, {}, 403),
        ({"X_Rhn_Provisioning_Mac_0": f"eth0 {mac(2)}"}, {}, 403),
        ({SENT: "eth0 52:54:00:ff:ff:ff"}, {}, 403),
        ({}, {"mac": mac(2)}, 403),
        # Without number 0 the headers do not count.
        ({"x-rhn-provisioning-mac-1": f"eth1 {mac(2)}"}, {}, 200),
        # InfiniBand and nonsense identify nobody.
        ({SENT: "ib0 80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:0f:65"}, {}, 200),
        ({SENT: ""}, {}, 200),
        ({}, {"mac": "nonsense"}, 400),
    ],
)
async def test_a_token_is_for_its_own_machine(
    world: World,
    client: AsyncClient,
    headers: dict[str, str],
    query: dict[str, str],
    status: int,
) -> None:
    host, _ = await world.host(1, HostState.REBOOTING)
    await world.host(2, HostState.REBOOTING)
    given, text = await fetch(client, headers, query)
    assert given == status, text
    expected = HostState.INSTALLING if status == 200 else HostState.REBOOTING
    assert await world.state(host.id) is expected


@pytest.mark.parametrize(
    ("macs", "status", "sentence"),
    [
        ([], 401, "for the token of a build"),
        ([mac(1)], 401, "that of web1.example.org is in its boot configuration"),
        ([mac(9)], 404, f"no host has the MAC address {mac(9)}"),
        ([mac(1), mac(2)], 409, "several hosts: web1.example.org, web2.example.org"),
    ],
)
async def test_without_a_token_no_mac_and_no_address_opens_anything(
    world: World, client: AsyncClient, macs: list[str], status: int, sentence: str
) -> None:
    await world.host(1, HostState.REBOOTING)
    await world.host(2, HostState.REBOOTING)
    headers = {f"X-RHN-Provisioning-MAC-{n}": f"eth{n} {one}" for n, one in enumerate(macs)}
    answer = await client.get(PROVISION, headers=headers)
    assert answer.status_code == status
    assert sentence in answer.text
    assert await world.callbacks() == []


@pytest.mark.parametrize("wrong", ["wrong", "token-of-host-1 ", "%00", "ü" * 5000])
async def test_a_wrong_token_never_falls_back_to_the_mac(
    world: World, client: AsyncClient, wrong: str
) -> None:
    await world.host(1, HostState.REBOOTING)
    sent = {"X-RHN-Provisioning-MAC-0": f"eth0 {mac(1)}"}
    status, text = await fetch(client, sent, {"token": wrong, "mac": mac(1)})
    assert (status, text) == (404, "no build has this token\n")


async def test_two_tokens_are_an_error(world: World, client: AsyncClient) -> None:
    answer = await client.get(f"{PROVISION}?token=a&token=b")
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (HostState.SELECTED, 409),
        (HostState.PREPARING, 409),
        (HostState.INSTALLING, 200),
        (HostState.INSTALLED, 405),
        (HostState.FIRST_BOOT, 405),
    ],
)
async def test_a_kickstart_is_given_in_build_mode_only(
    world: World, client: AsyncClient, state: HostState, status: int
) -> None:
    host, _ = await world.host(1, state)
    given, text = await fetch(client)
    assert given == status
    if status != 200:
        assert f"web1.example.org is {state}" in text
        assert await world.state(host.id) is state


async def test_a_replayed_token_gives_no_kickstart(world: World, client: AsyncClient) -> None:
    await world.host(1, HostState.REBOOTING)
    await fetch(client)
    await client.post(f"/unattended/built?token={token(1)}")
    status, text = await fetch(client)
    assert status == 405
    assert "$" not in text


async def test_the_token_of_a_build_that_ended_gives_no_kickstart(
    world: World, client: AsyncClient
) -> None:
    _, build = await world.host(1, HostState.REBOOTING)
    async with world.database.sessions.begin() as session:
        await close_build(session, build, BuildOutcome.SUPERSEDED, later(1))
    status, text = await fetch(client)
    assert (status, text) == (405, "this build of web1.example.org has ended (superseded)\n")


async def test_a_held_host_gets_no_kickstart_and_hears_why(
    world: World, client: AsyncClient
) -> None:
    _, build = await world.host(1, HostState.REBOOTING)
    await world.hold(build, "late")
    assert await fetch(client) == (405, "web1.example.org is held: late\n")


async def test_a_host_that_installs_in_a_loop_is_held(world: World, client: AsyncClient) -> None:
    host, build = await world.host(1, HostState.REBOOTING)
    assert [(await fetch(client))[0] for _ in range(3)] == [200, 200, 200]
    status, text = await fetch(client)
    assert status == 409
    assert "fetched its kickstart 3 times" in text
    assert await world.state(host.id) is HostState.HELD
    assert (await world.build(build)).held_step == 22
    # A person has looked and lets it go on: it has three attempts again.
    async with world.database.sessions.begin() as session:
        await resume(session, build, later(200))
    assert (await fetch(client))[0] == 200


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("packages", ["%end"], "packages.0"),
        ("root_password_hash", "planted secret", "root_password_hash"),
        ("kickstart_template", "none.ks.j2", "no kickstart template 'none.ks.j2'"),
        ("parameters", {"partitioning": "autopart"}, "parameters.partitioning"),
    ],
)
async def test_what_cannot_be_rendered_is_409_with_the_reason(
    world: World, client: AsyncClient, field: str, value: object, sentence: str
) -> None:
    host, _ = await world.host(1, HostState.REBOOTING)
    async with world.database.sessions.begin() as session:
        group = await session.get_one(HostGroup, world.group.id)
        setattr(group, field, value)
    status, text = await fetch(client)
    assert status == 409
    assert "host group web" in text
    assert sentence in text
    assert "planted secret" not in text
    assert await world.state(host.id) is HostState.REBOOTING


async def test_a_build_without_a_group_is_409(world: World, client: AsyncClient) -> None:
    _, build = await world.host(1, HostState.REBOOTING)
    async with world.database.sessions.begin() as session:
        (await session.get_one(Build, build.id)).host_group_id = None
    status, text = await fetch(client)
    assert status == 409
    assert "has no host group" in text


@pytest.mark.parametrize("kind", ["PXELinux", "finish", "templateServer", "userdata"])
async def test_other_kinds_are_404_with_a_sentence(client: AsyncClient, kind: str) -> None:
    answer = await client.get(f"/unattended/{kind}")
    assert answer.status_code == 404
    assert kind in answer.text


async def test_ipxe_sends_a_host_to_its_disk_unless_it_is_in_build(
    world: World, client: AsyncClient
) -> None:
    await world.host(1, HostState.REBOOTING)
    await world.host(2, HostState.FIRST_BOOT)
    in_build = await client.get(f"/unattended/iPXE?mac={mac(1)}")
    assert in_build.text == (
        "#!ipxe\nchain http://192.0.2.1:8001/httpboot/pxelinux.cfg/01-52-54-00-00-00-01.ipxe\n"
    )
    assert token(1) not in in_build.text
    assert (await client.get(f"/unattended/iPXE?mac={mac(2)}")).text == "#!ipxe\nexit\n"
    unknown = await client.get(f"/unattended/gPXE?mac={mac(9)}")
    assert (unknown.status_code, unknown.text[:7]) == (404, "#!ipxe\n")
    assert (await client.get("/unattended/iPXE")).status_code == 404
