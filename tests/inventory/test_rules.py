from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from sqlmodel import col, func, select

from inventory.errors import BadCondition
from inventory.hosts import lock_host
from inventory.life import HostState
from inventory.machines import Machine
from inventory.models import DiscoveryRule, Host
from inventory.rules import choose, host_short_name, matches
from tests.conftest import Database
from tests.inventory.world import discovered, mac, make_group, make_rule

FACTS = {"memorysize_mb": "2048.50", "is_virtual": True, "manufacturer": "QEMU", "disks": {"a": 1}}


def rule(condition: str = "true", host_name: str = "web{{ number }}") -> DiscoveryRule:
    return DiscoveryRule(name="r", condition=condition, host_group_id=1, host_name=host_name)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("true", True),
        ("facts.memorysize_mb | float >= 2048", True),
        ("facts.memorysize_mb | float > 4096", False),
        ("facts.is_virtual and facts.manufacturer == 'QEMU'", True),
        ("facts.disks.a == 1", True),
        ("facts.no_such_fact", False),
        ("facts.no_such_fact.part == 1", False),
        ("facts.no_such_fact > 1", False),
        ("not facts.no_such_fact", True),
    ],
)
def test_a_condition_is_computed_over_the_facts(condition: str, expected: bool) -> None:
    assert matches(rule(condition), Machine(FACTS)) is expected


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("facts.memorysize_mb >=", "condition, line 1"),
        ("facts.memorysize_mb >= 2048", "'>=' not supported between"),
        ("facts.__class__.__mro__", "unsafe"),
        ("facts.update({'a': 1})", "unsafe"),
    ],
)
def test_a_condition_that_cannot_be_computed_says_why(condition: str, reason: str) -> None:
    with pytest.raises(BadCondition, match=f"discovery rule r, .*{reason}"):
        matches(rule(condition), Machine(FACTS))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("web{{ '%02d' | format(number) }}", "web07"),
        ("n{{ mac | replace(':', '') }}", "n525400000001"),
        (" {{ facts.manufacturer }}-{{ number }}\n", "qemu-7"),
    ],
)
def test_a_short_name_is_made_from_facts_mac_and_number(template: str, expected: str) -> None:
    assert host_short_name(rule(host_name=template), Machine(FACTS, mac(1)), 7) == expected


@pytest.mark.parametrize(
    "template", ["{{ facts.no_such_fact }}", "a b", "", "{{ 'a' * 64 }}", "-a"]
)
def test_a_name_that_is_none_is_refused(template: str) -> None:
    with pytest.raises(BadCondition, match="discovery rule r, host_name"):
        host_short_name(rule(host_name=template), Machine(FACTS, mac(1)), 7)


async def chosen(database: Database, host_id: int, facts: dict[str, Any] | None = None) -> str:
    async with database.sessions.begin() as session:
        host = await lock_host(session, host_id)
        found = await choose(session, host, Machine(facts or {}))
        return found.name if found else ""


async def test_twenty_hosts_at_once_cannot_pass_a_limit_of_five(database: Database) -> None:
    async with database.sessions.begin() as session:
        await make_rule(session, await make_group(session), host_limit=5)
    hosts = [(await discovered(database.sessions, number))[0] for number in range(20)]
    names = await asyncio.gather(*(chosen(database, host.id) for host in hosts))
    assert names.count("all") == 5
    async with database.sessions() as session:
        taken = select(func.count()).where(col(Host.discovery_rule_id).is_not(None))
        assert (await session.exec(taken)).one() == 5


async def test_the_first_rule_by_priority_that_takes_the_host_is_chosen(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with database.sessions.begin() as session:
        group = await make_group(session)
        await make_rule(session, group, name="off", priority=1, enabled=False)
        await make_rule(session, group, name="broken", priority=2, condition="facts.memory > 'a'")
        await make_rule(session, group, name="big", priority=3, condition="facts.memory > 4")
        await make_rule(session, group, name="rest", priority=4)
    one, _ = await discovered(database.sessions, 1)
    with caplog.at_level(logging.WARNING):
        assert await chosen(database, one.id, {"memory": 8}) == "big"
        assert await chosen(database, one.id, {"memory": 2}) == "rest"
    assert "broken is passed over for mac525400000001" in caplog.text


async def test_asking_again_takes_no_second_place_and_the_retired_leave_room(
    database: Database,
) -> None:
    async with database.sessions.begin() as session:
        await make_rule(session, await make_group(session), host_limit=1)
    one, _ = await discovered(database.sessions, 1)
    two, _ = await discovered(database.sessions, 2)
    assert await chosen(database, one.id) == "all"
    assert await chosen(database, one.id) == "all"
    assert await chosen(database, two.id) == ""
    async with database.sessions.begin() as session:
        (await lock_host(session, one.id)).state = HostState.RETIRED
    assert await chosen(database, two.id) == "all"
