from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlmodel import col, func, select

from inventory.arrows import ARROWS
from inventory.builds import close_build, current_build
from inventory.errors import AddressTaken, MacClaimed, NameTaken, UnknownSite
from inventory.hosts import (
    Discovered,
    SeenInterface,
    discover,
    host_by_mac,
    host_by_name,
    lock_host,
    move,
    take_address,
    take_name,
)
from inventory.life import Event, ForbiddenTransition, HostState
from inventory.models import Build, BuildOutcome, Facts, Host, Interface, Site, Step
from tests.conftest import Database
from tests.inventory.world import T0, discovered, later, mac, make_group, seen


@pytest.fixture(autouse=True)
async def _site(database: Database) -> None:
    async with database.sessions.begin() as session:
        await make_group(session)


async def test_a_hundred_parallel_posts_of_one_machine_are_one_host(database: Database) -> None:
    async def post() -> tuple[int, bool]:
        async with database.sessions.begin() as session:
            host, _, new = await discover(session, seen(1), site_id=None, at=T0)
            return host.id, new

    answers = await asyncio.gather(*(post() for _ in range(100)))
    assert len({host_id for host_id, _ in answers}) == 1
    assert [new for _, new in answers].count(True) == 1
    async with database.sessions() as session:
        for table, rows in ((Host, 1), (Build, 1), (Interface, 1), (Step, 34), (Facts, 1)):
            assert (await session.exec(select(func.count()).select_from(table))).one() == rows


async def test_a_new_host_has_a_name_a_site_a_subnet_and_thirty_four_pending_steps(
    database: Database,
) -> None:
    host, build = await discovered(database.sessions)
    assert (host.name, host.state, host.state_since) == (
        "mac525400000001",
        HostState.DISCOVERED,
        T0,
    )
    assert (build.generation, build.closed_at) == (1, None)
    async with database.sessions() as session:
        interface = (await session.exec(select(Interface))).one()
        assert (interface.provisioning, interface.discovered_ip) == (True, "192.0.2.201")
        assert interface.subnet_id is not None
        steps = await session.exec(select(func.count()).select_from(Step))
        assert steps.one() == len(ARROWS)
        assert await host_by_mac(session, mac(1)) == host
        assert await host_by_name(session, host.name) == host
        assert host.state is HostState.DISCOVERED


async def test_facts_are_replaced_and_what_the_database_cannot_store_is_marked(
    database: Database,
) -> None:
    await discovered(database.sessions)
    odd: dict[str, Any] = {"serial": "A\x00B", "half": "\ud800", "n": float("nan"), "l": ["\x00"]}
    async with database.sessions.begin() as session:
        await discover(session, seen(1, **odd), site_id=None, at=later(900))
    async with database.sessions() as session:
        facts = (await session.exec(select(Facts))).one()
    assert facts.values == {"serial": "A\ufffdB", "half": "\ufffd", "n": "nan", "l": ["\ufffd"]}
    assert facts.received_at == later(900)


async def test_a_second_host_with_the_same_interface_is_refused_and_told_whose_it_is(
    database: Database,
) -> None:
    owner, _ = await discovered(database.sessions, 1)
    liar = Discovered(mac(2), (SeenInterface("eth0", mac(2)), SeenInterface("eth1", mac(1))))
    with pytest.raises(MacClaimed, match=f"{mac(1)} belongs to the host {owner.name}"):
        async with database.sessions.begin() as session:
            await discover(session, liar, site_id=None, at=T0)
    async with database.sessions() as session:
        assert await host_by_mac(session, mac(2)) is None


async def test_a_host_that_boots_from_its_other_interface_is_the_same_host(
    database: Database,
) -> None:
    both = (SeenInterface("eth0", mac(1), "192.0.2.201"), SeenInterface("eth1", mac(2)))
    async with database.sessions.begin() as session:
        first, _, _ = await discover(session, Discovered(mac(1), both), site_id=None, at=T0)
        again, _, new = await discover(session, Discovered(mac(2), both), site_id=None, at=T0)
    assert (again.id, new) == (first.id, False)
    async with database.sessions() as session:
        boots = await session.exec(select(Interface.mac).where(col(Interface.provisioning)))
        assert boots.all() == [mac(2)]


async def test_a_host_of_an_unknown_network_needs_a_site_to_choose(database: Database) -> None:
    stranger = Discovered(mac(9), (SeenInterface("eth0", mac(9), "203.0.113.9"),))
    async with database.sessions.begin() as session:
        _, _, new = await discover(session, stranger, site_id=None, at=T0)
        assert new  # there is only one site
        session.add(Site(name="elsewhere", gateway_url="http://203.0.113.1"))
    other = Discovered(mac(10), (SeenInterface("eth0", mac(10), "203.0.113.10"),))
    with pytest.raises(UnknownSite, match=r"203\.0\.113\.10"):
        async with database.sessions.begin() as session:
            await discover(session, other, site_id=None, at=T0)


async def test_a_host_in_build_that_posts_facts_keeps_its_state(database: Database) -> None:
    host, build = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        host = await lock_host(session, host.id)
        await move(session, host, Event.SELECT, later(1))
        again, same, new = await discover(session, seen(1), site_id=None, at=later(2))
    assert (again.state, again.state_since, same.id, new) == (
        HostState.SELECTED,
        later(1),
        build.id,
        False,
    )


async def test_a_cancelled_host_that_posts_facts_begins_a_new_generation(
    database: Database,
) -> None:
    host, build = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        await move(session, host, Event.SELECT, later(1))
        await move(session, host, Event.CANCEL, later(2))
        await move(session, host, Event.RECORDS_GONE, later(2))
        await close_build(session, build, BuildOutcome.CANCELLED, later(2))
    async with database.sessions.begin() as session:
        again, second, new = await discover(session, seen(1), site_id=None, at=later(3))
    assert (again.state, second.generation, new) == (HostState.DISCOVERED, 2, False)
    async with database.sessions() as session:
        assert await current_build(session, host.id) == second


async def test_a_forbidden_event_moves_nothing(database: Database) -> None:
    host, _ = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        with pytest.raises(ForbiddenTransition, match="discovered cannot follow built"):
            await move(session, host, Event.BUILT, later(1))


async def test_a_name_is_taken_once_and_the_transaction_goes_on(database: Database) -> None:
    one, _ = await discovered(database.sessions, 1)
    two, _ = await discovered(database.sessions, 2)
    async with database.sessions.begin() as session:
        one, two = await lock_host(session, one.id), await lock_host(session, two.id)
        await take_name(session, one, "web01.example.org")
        await take_name(session, one, "web01.example.org")
        with pytest.raises(NameTaken, match=f"web01.example.org belongs to host {one.id}"):
            await take_name(session, two, "web01.example.org")
        await take_name(session, two, "web02.example.org")
        assert (one.name, two.name) == ("web01.example.org", "web02.example.org")
    async with database.sessions() as session:
        assert await host_by_name(session, "web02.example.org") == two


async def test_a_hundred_parallel_grabs_are_a_hundred_addresses(database: Database) -> None:
    for number in range(1, 101):
        await discovered(database.sessions, number)

    async def grab(number: int) -> str:
        async with database.sessions.begin() as session:
            found = await session.exec(select(Interface).where(col(Interface.mac) == mac(number)))
            interface = found.one()
            # Four begin at each address, so that every address is fought for.
            for last in range(20 + number // 4 * 4, 200):
                ip = f"192.0.2.{last}"
                try:
                    await take_address(session, interface, ip)
                except AddressTaken:
                    continue
                return ip
            raise AssertionError("the range is exhausted")

    addresses = await asyncio.gather(*(grab(number) for number in range(1, 101)))
    assert len(set(addresses)) == 100


async def test_an_interface_keeps_the_address_that_it_has(database: Database) -> None:
    await discovered(database.sessions, 1)
    owner, _ = await discovered(database.sessions, 2)
    async with database.sessions.begin() as session:
        one, two = (await session.exec(select(Interface).order_by(col(Interface.id)))).all()
        await take_address(session, two, "192.0.2.30")
        await take_address(session, two, "192.0.2.30")
        with pytest.raises(AddressTaken, match=rf"192\.0\.2\.30 belongs to the host {owner.name}"):
            await take_address(session, one, "192.0.2.30")
        assert (one.ip, two.ip) == (None, "192.0.2.30")
