"""A rule tried before it is kept, and the rules of one host explained; nothing is touched."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import select

from inventory.errors import BadRule
from inventory.hosts import discover, lock_host, named
from inventory.life import HostState
from inventory.models import DiscoveryRule, Host, HostGroup
from inventory.rule_trials import Tried, Value, Would, explain, try_rule
from tests.conftest import Database
from tests.inventory.test_rule_book import draft
from tests.inventory.world import later, make_group, make_rule, seen

BIG = {"memorysize_mb": "65536.00", "manufacturer": "Dell Inc."}
SMALL = {"memorysize_mb": "2048.00"}


async def known(database: Database, number: int, **facts: Any) -> Host:
    async with database.sessions.begin() as session:
        host, _, _ = await discover(session, seen(number, **facts), site_id=None, at=later(number))
        return host


@pytest.fixture
async def site(database: Database) -> Database:
    async with database.sessions.begin() as session:
        group = await make_group(session)
        await make_rule(session, group, name="dell", priority=5, condition="vendor == 'Dell Inc.'")
        await make_rule(session, group, name="rest", priority=200, host_limit=1)
    return database


async def everything(database: Database) -> list[object]:
    async with database.sessions() as session:
        hosts = await session.exec(select(Host).order_by(Host.name))
        rules = await session.exec(select(DiscoveryRule).order_by(DiscoveryRule.name))
        return [one.model_dump() for one in (*hosts, *rules)]


async def test_a_draft_is_tried_against_the_hosts_that_are_there(site: Database) -> None:
    big = await known(site, 1, **BIG)
    small = await known(site, 2, **SMALL)
    old = await known(site, 3, **SMALL, memory_note="odd")
    unknown = await known(site, 4)
    async with site.sessions.begin() as session:
        (await lock_host(session, old.id)).state = HostState.IN_OPERATION
    before = await everything(site)
    async with site.sessions.begin() as session:
        trial = await try_rule(session, draft(condition="memory >= 1 GiB"))
    assert trial.more == 0
    assert trial.hosts == [
        Tried(unknown.name, HostState.DISCOVERED, False),
        Tried(small.name, HostState.DISCOVERED, True, f"big{small.id}.example.org"),
        Tried(big.name, HostState.DISCOVERED, True, f"big{big.id}.example.org", "dell"),
        Tried(old.name, HostState.IN_OPERATION, True, f"big{old.id}.example.org"),
    ]
    assert await everything(site) == before


async def test_a_change_of_a_rule_is_not_before_itself(site: Database) -> None:
    await known(site, 1, **BIG)
    for name, replaces, priority, first in (
        ("dell", "dell", 5, None),
        ("new", None, 5, "dell"),
        ("new", None, 4, None),
        ("rest", "rest", 4, None),
        ("rest", "rest", 200, "dell"),
    ):
        async with site.sessions() as session:
            tried = draft(name=name, condition="true", priority=priority)
            trial = await try_rule(session, tried, replaces=replaces)
        assert [one.first for one in trial.hosts] == [first]


async def test_errors_are_told_by_host_and_no_more_hosts_than_asked(site: Database) -> None:
    await known(site, 1, **SMALL)
    await known(site, 2, **SMALL, rack="seven")
    await known(site, 3, **SMALL, rack=7)
    async with site.sessions() as session:
        trial = await try_rule(session, draft(condition="facts.rack > 6"), most=2)
        named = await try_rule(session, draft(condition="true", host_name="r{{ facts.rack }}"))
        same = await try_rule(session, draft(condition="true", host_name="same"))
        taken = await try_rule(session, draft(condition="true", host_name="mac{{ number }}"))
    assert trial.more == 1
    assert [(one.takes, one.error and one.error[:14]) for one in trial.hosts] == [
        (True, None),
        (False, "'>' not suppor"),
    ]
    assert [one.name for one in named.hosts] == ["r7.example.org", "rseven.example.org", None]
    assert "no attribute 'rack'" in (named.hosts[2].error or "")
    assert {one.error for one in same.hosts} == {"3 of these hosts would get this name"}
    assert {one.error for one in taken.hosts} == {None}
    async with site.sessions.begin() as session:
        (await lock_host(session, 1)).name = "mac2.example.org"
    async with site.sessions() as session:
        taken = await try_rule(session, draft(condition="true", host_name="mac{{ number }}"))
    assert {one.error for one in taken.hosts} == {
        None,
        "another host has the name mac2.example.org",
    }


async def test_a_draft_that_is_wrong_is_tried_against_nobody(site: Database) -> None:
    async with site.sessions() as session:
        with pytest.raises(BadRule, match="no host group 'db'"):
            await try_rule(session, draft(host_group="db"))


async def test_each_rule_says_what_it_would_do_with_a_host_and_why(site: Database) -> None:
    async with site.sessions.begin() as session:
        group_id = (await session.exec(select(HostGroup.id))).one()
        wanted: tuple[tuple[str, int, dict[str, Any]], ...] = (
            ("broken", 1, {"condition": "facts.memorysize_mb > 1"}),
            ("off", 2, {"condition": "virtual", "enabled": False}),
            ("nameless", 3, {"condition": "true", "host_name": "{{ serial }}"}),
            ("full", 50, {"condition": "memory > 1 GiB or disks > 1", "host_limit": 1}),
        )
        for name, priority, more in wanted:
            session.add(
                DiscoveryRule(
                    **{"name": name, "priority": priority, "host_name": "a", **more},
                    host_group_id=group_id,
                )
            )
    first = await known(site, 1, **SMALL)
    host = await known(site, 2, **SMALL)
    async with site.sessions.begin() as session:
        rows = await session.exec(select(DiscoveryRule))
        full = next(one for one in rows if one.name == "full")
        (await lock_host(session, first.id)).discovery_rule_id = full.id
    before = await everything(site)
    async with site.sessions() as session:
        told = await explain(session, host)
    assert [(one.rule, one.verdict) for one in told] == [
        ("broken", Would.ERROR),
        ("off", Would.OFF),
        ("nameless", Would.ERROR),
        ("dell", Would.DOES_NOT),
        ("full", Would.NO_ROOM),
        ("rest", Would.TAKES),
    ]
    why = {one.rule: one.why for one in told}
    assert "'>' not supported" in why["broken"]
    assert why["off"] == "the rule is out of use; its condition is false"
    assert "but it can give no name: 'serial' is undefined" in why["nameless"]
    assert why["dell"] == "its condition is false; not known: vendor"
    assert why["full"] == "its condition is true, but all 1 places are taken"
    # As in its discovery: a rule that fails at the name does not leave the host to the next.
    assert [one.rule for one in told if one.chosen] == ["nameless"]
    assert told[-1].name == f"web{host.id}"
    assert told[0].values == [Value("facts.memorysize_mb", "'2048.00'")]
    assert told[4].values == [
        Value("memory", "2147483648 (2.0 GiB)"),
        Value("disks", "(not known)"),
    ]
    assert await everything(site) == before
    async with site.sessions() as session:
        # The one that has the place would be taken again.
        mine = {
            one.rule: one.verdict
            for one in await explain(session, await named(session, first.name))
        }
    assert mine["full"] is Would.TAKES
