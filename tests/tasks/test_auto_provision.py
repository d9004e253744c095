"""Limits under concurrency, windows, and hosts that are weighed again: ``auto-provision``."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlmodel import col, func, select

from flows import auto_provision as flow_module
from flows.auto_provision import auto_provision
from inventory import claims, rule_book
from inventory.arrows import Phase
from inventory.errors import RuleFailed
from inventory.hosts import lock_host
from inventory.life import HostState
from inventory.models import Build, DiscoveryRule, Host, HostGroup
from inventory.orders import provision
from inventory.rule_orders import Outcome, Verdict, weigh
from tasks import rules as rules_module
from tasks.means import Means, use
from tasks.rules import provision_waiting
from tests.conftest import Database
from tests.inventory.test_rule_book import draft
from tests.inventory.world import T0, discovered, make_group, make_rule

NIGHT = {"provision": "in_window", "windows": ["mon-fri 22:00-05:00"]}
CLOSED = T0.replace(hour=12)  # a Friday
OPEN = T0.replace(hour=23)


@dataclass
class Site:
    """An inventory with one host group, and the clock by which its tasks go."""

    database: Database
    group: HostGroup
    now: datetime = CLOSED
    failed: list[str] = field(default_factory=list)

    async def rule(self, **more: Any) -> DiscoveryRule:
        """A rule of the site file, that takes every host."""
        async with self.database.sessions.begin() as session:
            return await make_rule(session, self.group, **more)

    async def hosts(self, count: int, first: int = 0) -> list[Host]:
        """Machines that were discovered one second after the other."""
        found = [
            (await discovered(self.database.sessions, n))[0] for n in range(first, first + count)
        ]
        async with self.database.sessions.begin() as session:
            for number, host in enumerate(found):
                row = await lock_host(session, host.id)
                row.state_since = T0 + timedelta(seconds=first + number)
        return found

    async def weigh(self, host: Host) -> Outcome:
        """As in its discovery."""
        async with self.database.sessions.begin() as session:
            return (await weigh(session, host.id, at=self.now)).outcome

    async def run(self) -> dict[str, Verdict]:
        """One round of auto-provision, by host."""
        return {one.host: one for one in await provision_waiting.fn()}

    async def count(self, *where: Any) -> int:
        async with self.database.sessions() as session:
            return (await session.exec(select(func.count()).select_from(Host).where(*where))).one()

    async def provisioned(self) -> int:
        return await self.count(col(Host.state) == HostState.SELECTED)


@pytest.fixture
async def site(database: Database, monkeypatch: pytest.MonkeyPatch) -> Site:
    async with database.sessions.begin() as session:
        made = Site(database, await make_group(session))
    use(
        Means(
            sessions=database.sessions,
            proxies=cast(Any, None),
            pulps=cast(Any, None),
            puppets=cast(Any, None),
            candlepins=cast(Any, None),
            token_key=b"",
            worker="test/1",
            clock=lambda: made.now,
        )
    )
    for module in (rules_module, flow_module):
        monkeypatch.setattr(module, "get_run_logger", lambda: logging.getLogger("flow"))
    return made


@pytest.mark.parametrize("attempt", range(3))
async def test_twenty_hosts_at_once_and_a_limit_of_five_are_exactly_five(
    site: Site, attempt: int
) -> None:
    await site.rule(host_limit=5)
    hosts = await site.hosts(20)
    outcomes = await asyncio.gather(*(site.weigh(one) for one in hosts))
    assert outcomes.count(Outcome.PROVISIONED) == 5
    assert outcomes.count(Outcome.NO_ROOM) == 15
    assert await site.provisioned() == 5
    assert await site.count(col(Host.discovery_rule_id).is_not(None)) == 5
    full = await site.run()
    assert {one.outcome for one in full.values()} == {Outcome.NO_ROOM}
    assert await site.provisioned() == 5


@pytest.mark.parametrize("attempt", range(3))
@pytest.mark.parametrize("when", [{}, NIGHT], ids=["at once", "in window"])
async def test_discovery_and_auto_provision_at_the_same_moment_keep_the_limit(
    site: Site, when: dict[str, Any], attempt: int
) -> None:
    site.now = OPEN
    await site.rule(host_limit=5, **when)
    hosts = await site.hosts(20)
    await asyncio.gather(
        *(site.weigh(one) for one in hosts[:10]),
        site.run(),
        *(site.weigh(one) for one in hosts[10:]),
        site.run(),
    )
    await site.run()
    assert await site.provisioned() == 5
    assert await site.count(col(Host.discovery_rule_id).is_not(None)) == 5


async def test_two_rules_share_a_storm_each_to_its_limit(site: Site) -> None:
    await site.rule(name="first", priority=1, host_limit=5)
    await site.rule(name="second", priority=2, host_limit=3, host_name="b{{ number }}")
    hosts = await site.hosts(20)
    await asyncio.gather(*(site.weigh(one) for one in hosts), site.run())
    assert await site.provisioned() == 8
    assert await site.count(col(Host.name).like("b%")) == 3


async def test_a_host_waits_for_its_window(site: Site) -> None:
    await site.rule(**NIGHT)
    (host,) = await site.hosts(1)
    async with site.database.sessions.begin() as session:
        told = await weigh(session, host.id, at=CLOSED)
    assert told.outcome is Outcome.WAITS
    assert told.words == (
        f"rule all takes the host for web as web{host.id}; its window opens: 2026-01-02 22:00 UTC"
    )
    assert (await site.run())[host.name].outcome is Outcome.WAITS
    assert await site.provisioned() == 0
    site.now = OPEN
    verdict = (await site.run())[host.name]
    assert (verdict.outcome, verdict.rule) == (Outcome.PROVISIONED, "all")
    assert await site.count(col(Host.name) == f"web{host.id}.example.org") == 1
    async with site.database.sessions() as session:
        (build,) = await session.exec(select(Build))
    assert build.asked_by == "discovery rule all"
    assert await site.run() == {}


async def test_a_window_that_is_open_is_left_to_auto_provision_in_its_order(site: Site) -> None:
    site.now = OPEN
    await site.rule(host_limit=2, **NIGHT)
    old, middle, new = await site.hosts(3)
    assert await site.weigh(old) is Outcome.WAITS
    told = await site.run()
    assert [told[one.name].outcome for one in (old, middle, new)] == [
        Outcome.PROVISIONED,
        Outcome.PROVISIONED,
        Outcome.NO_ROOM,
    ]


async def test_a_rule_for_when_somebody_asks_only_recommends(site: Site) -> None:
    rule = await site.rule(provision="when_asked")
    (host,) = await site.hosts(1)
    assert await site.weigh(host) is Outcome.RECOMMENDED
    site.now = OPEN
    assert (await site.run())[host.name].outcome is Outcome.RECOMMENDED
    recommended = col(Host.discovery_rule_id) == rule.id
    assert await site.count(recommended, col(Host.state) == HostState.DISCOVERED) == 1


async def test_hosts_without_a_rule_are_weighed_again_when_there_is_room_or_a_new_rule(
    site: Site,
) -> None:
    rule = await site.rule(condition="facts.rack == 7", host_limit=1)
    first, second = await site.hosts(2)
    for host in (first, second):
        assert await site.weigh(host) is Outcome.NO_RULE
    assert await site.run() == {}
    async with site.database.sessions.begin() as session:
        await session.exec(sa.update(DiscoveryRule).values(condition="true"))
    told = await site.run()
    assert [told[one.name].outcome for one in (first, second)] == [
        Outcome.PROVISIONED,
        Outcome.NO_ROOM,
    ]
    async with site.database.sessions.begin() as session:
        (await lock_host(session, first.id)).state = HostState.RETIRED
    assert (await site.run())[second.name].outcome is Outcome.PROVISIONED
    assert await site.count(col(Host.discovery_rule_id) == rule.id) == 2


async def test_a_better_rule_takes_over_and_one_that_is_gone_lets_go(site: Site) -> None:
    await site.rule(**NIGHT)
    (host,) = await site.hosts(1)
    await site.weigh(host)
    async with site.database.sessions.begin() as session:
        await rule_book.create(session, draft(condition="true", priority=1, provision="when_asked"))
    told = (await site.run())[host.name]
    assert (told.outcome, told.rule) == (Outcome.RECOMMENDED, "big")
    async with site.database.sessions.begin() as session:
        await rule_book.delete(session, "big")
        await session.exec(sa.update(DiscoveryRule).values(enabled=False))
    assert await site.run() == {}
    assert await site.count(col(Host.discovery_rule_id).is_not(None)) == 0


async def test_of_a_smaller_limit_the_oldest_keep_their_places(site: Site) -> None:
    await site.rule(host_limit=4, **NIGHT)
    hosts = await site.hosts(4)
    await asyncio.gather(*(site.weigh(one) for one in hosts))
    async with site.database.sessions.begin() as session:
        await session.exec(sa.update(DiscoveryRule).values(host_limit=2))
    site.now = OPEN
    told = await site.run()
    assert [told[one.name].outcome for one in hosts[:2]] == [Outcome.PROVISIONED] * 2
    assert await site.provisioned() == 2
    assert await site.count(col(Host.discovery_rule_id).is_not(None)) == 2


async def test_one_that_can_get_no_name_is_told_and_keeps_no_other_from_it(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.now = OPEN
    await site.rule(host_limit=1, host_name="web{{ number }}", **NIGHT)
    bad, good = await site.hosts(2)
    async with site.database.sessions.begin() as session:
        other = (await discovered(site.database.sessions, 9))[0]
        await provision(session, other, site.group, name=f"web{bad.id}", asked_by="the test", at=T0)
    async with site.database.sessions.begin() as session:
        await weigh(session, bad.id, at=CLOSED)
    for _ in range(2):
        told = await site.run()
        assert (told[bad.name].outcome, told[bad.name].rule) == (Outcome.FAILED, "all")
        assert f"the name web{bad.id}.example.org belongs to" in told[bad.name].words
    assert "discovery rule all: the name" in caplog.text
    assert await site.count(col(Host.name) == f"web{good.id}.example.org") == 1
    assert await site.count(col(Host.name) == bad.name, col(Host.discovery_rule_id).is_(None)) == 1


async def test_in_its_discovery_a_host_without_a_name_is_an_error_and_takes_no_place(
    site: Site,
) -> None:
    await site.rule(host_name="{{ serial }}", **NIGHT)
    (host,) = await site.hosts(1)
    with pytest.raises(RuleFailed, match="discovery rule all, host_name: 'serial' is undefined"):
        await site.weigh(host)
    assert await site.count(col(Host.discovery_rule_id).is_not(None)) == 0


async def test_a_host_whose_discovery_is_under_way_is_left_to_it(site: Site) -> None:
    await site.rule()
    (host,) = await site.hosts(1)
    async with site.database.sessions.begin() as session:
        (build,) = await session.exec(select(Build.id))
        company = uuid4()
        await claims.claim(session, Phase.DISCOVERY, [build], company=company, at=T0)
    assert await site.run() == {}
    async with site.database.sessions.begin() as session:
        told = await weigh(session, host.id, at=T0, scheduled=True)
        assert told.outcome is Outcome.ELSEWHERE
        await claims.end(session, [build], company, T0)
    assert (await site.run())[host.name].outcome is Outcome.PROVISIONED


async def test_the_run_has_a_table_of_hosts_rules_and_what_came_of_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = AsyncMock()
    monkeypatch.setattr(flow_module, "acreate_table_artifact", told)
    monkeypatch.setattr(flow_module, "provision_waiting", provision_waiting.fn)
    await site.rule(host_limit=1)
    first, second = await site.hosts(2)
    await auto_provision.fn()
    artifact = told.await_args_list[0].kwargs
    assert artifact["key"] == "auto-provision"
    assert artifact["description"] == "1 provisioned, 1 no room"
    assert artifact["table"] == [
        {
            "host": first.name,
            "outcome": "provisioned",
            "rule": "all",
            "words": f"rule all takes the host for web as web{first.id}",
        },
        {
            "host": second.name,
            "outcome": "no room",
            "rule": "all",
            "words": "all places of rule all are taken; the host awaits orders",
        },
    ]
