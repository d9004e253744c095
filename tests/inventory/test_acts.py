"""What people do to hosts: by right, within their limits, and with an entry in the log."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlmodel import col, select

from inventory import acts, audit, builds, hosts, rights
from inventory.errors import BadName, Forbidden, InventoryError, NotReady, UnknownHost
from inventory.fleet import Wanted, counts, everyone, page
from inventory.life import HostState
from inventory.models import AuditEntry, Build, Door, Host, HostGroup, Role, Site
from inventory.rights import Actor
from inventory.scope import Scope
from tests.conftest import Database
from tests.inventory.test_waves import arrive
from tests.inventory.world import discovered, later, make_group

ADA = Actor("ada", Door.CONSOLE, Role.OPERATOR)


async def site(database: Database) -> None:
    async with database.sessions.begin() as session:
        group = await make_group(session)
        other = group.model_dump(exclude={"id"}) | {"name": "db"}
        session.add(HostGroup(**other))
        session.add(Site(name="far", gateway_url="http://192.0.2.3:8000"))


async def log(database: Database) -> list[AuditEntry]:
    async with database.sessions() as session:
        return list(await session.exec(select(AuditEntry).order_by(col(AuditEntry.id))))


async def test_provisioning_is_kept_with_before_and_after(database: Database) -> None:
    await site(database)
    host, _ = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        await acts.provision(session, ADA, host.name, "web", as_name="w1", at=later(1))
    (entry,) = await log(database)
    assert (entry.who, entry.door, entry.action) == ("ada", Door.CONSOLE, "provision")
    assert entry.about == "host w1.example.org"
    assert entry.before == {"name": host.name, "state": "discovered", "host_group": None}
    assert entry.after == {"name": "w1.example.org", "state": "selected", "host_group": "web"}
    async with database.sessions() as session:
        build = await builds.current_build(session, host.id)
        assert build is not None
        assert build.asked_by == "ada in the console"


async def test_what_is_refused_leaves_no_entry(database: Database) -> None:
    await site(database)
    host, _ = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        with pytest.raises(NotReady):
            await acts.cancel(session, ADA, host.name, at=later(1))
    assert await log(database) == []


@pytest.mark.parametrize(
    "called",
    ["web 1", "a/b", "-web", "web_1", "www..org", "a" * 64, "x" * 250 + ".org", "wéb", "10.0.0.5"],
)
async def test_no_host_is_called_what_dns_cannot_say(database: Database, called: str) -> None:
    await site(database)
    host, _ = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        with pytest.raises(BadName, match="is no name for a host"):
            await acts.provision(session, ADA, host.name, "web", as_name=called, at=later(1))
    assert await log(database) == []


async def test_a_name_is_taken_in_lower_case(database: Database) -> None:
    await site(database)
    host, _ = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        told = await acts.provision(session, ADA, host.name, "web", as_name="Web1", at=later(1))
        assert told.name == "web1.example.org"


async def test_an_old_page_installs_nothing_over_what_is_in_operation(database: Database) -> None:
    await site(database)
    host, _ = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        await acts.provision(session, ADA, host.name, "web", as_name="w1", at=later(1))
    await arrive(database, "w1.example.org")
    async with database.sessions.begin() as session:
        with pytest.raises(NotReady, match="rebuild it"):
            await acts.provision(session, ADA, "w1.example.org", "web", at=later(2))
        told = await acts.provision_all(session, ADA, ["w1.example.org"], "web", at=later(2))
    assert told.selected == []


async def every_act(database: Database, actor: Actor, name: str, at: datetime) -> list[str]:
    """What each act is answered, nothing of it kept."""
    said = []
    for act in (
        lambda s: acts.provision(s, actor, name, "web", at=at),
        lambda s: acts.rebuild(s, actor, name, at=at),
        lambda s: acts.cancel(s, actor, name, at=at),
        lambda s: acts.decommission(s, actor, name, at=at),
        lambda s: acts.retry(s, actor, [name], at=at),
    ):
        async with database.sessions() as session:
            try:
                told = await act(session)
                said.append(str(getattr(told, "refused", {}).get(name, "done")))
            except InventoryError as error:
                said.append(f"{type(error).__name__}: {error}")
    return said


async def test_viewers_only_look(database: Database) -> None:
    await site(database)
    host, _ = await discovered(database.sessions)
    viewer = Actor("vic", Door.API, Role.VIEWER)
    said = await every_act(database, viewer, host.name, later(1))
    assert all(one.startswith("Forbidden: vic may not do this") for one in said), said
    assert await log(database) == []


async def test_what_lies_beyond_ones_limits_does_not_exist(database: Database) -> None:
    await site(database)
    host, _ = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        await acts.provision(session, ADA, host.name, "web", as_name="w1", at=later(1))
    name = "w1.example.org"
    for scope in (
        Scope(frozenset({"far"})),
        Scope(host_groups=frozenset({"db"})),
        Scope(frozenset({"far"}), frozenset({"web"})),
    ):
        limited = Actor("lim", Door.API, Role.ADMIN, scope)
        said = await every_act(database, limited, name, later(2))
        assert all("there is no host" in one or "host groups" in one for one in said[1:]), said
        async with database.sessions() as session:
            assert (await page(session, scope, Wanted())).rows == ()
            assert (await counts(session, scope)).all == 0
            with pytest.raises(UnknownHost):
                await rights.own_host(session, limited, name)
            assert await audit.entries(session, scope) == []
    within = Scope(frozenset({"lab"}), frozenset({"web"}))
    async with database.sessions() as session:
        assert [one.name for one in (await page(session, within, Wanted())).rows] == [name]
        assert len(await audit.entries(session, within)) == 1


async def test_hosts_without_a_group_may_become_only_what_is_theirs(database: Database) -> None:
    await site(database)
    host, _ = await discovered(database.sessions)
    db = Actor("dee", Door.CONSOLE, Role.OPERATOR, Scope(host_groups=frozenset({"db"})))
    async with database.sessions.begin() as session:
        with pytest.raises(Forbidden, match="db only, not web"):
            await acts.provision(session, db, host.name, "web", at=later(1))
        await acts.provision(session, db, host.name, "db", at=later(1))


async def test_a_host_that_cannot_go_on_keeps_no_other_from_it(database: Database) -> None:
    await site(database)
    names = []
    for number in (1, 2):
        host, build = await discovered(database.sessions, number)
        names.append(host.name)
        if number == 1:
            async with database.sessions.begin() as session:
                held = await session.get_one(Build, build.id)
                await builds.hold(session, held, step=4, reason="x", advice="y", at=later(1))
    async with database.sessions.begin() as session:
        told = await acts.retry(session, ADA, [*names, "nobody"], at=later(2))
    assert set(told.goes) == {names[0]}
    assert set(told.refused) == {names[1], "nobody"}
    assert [one.about for one in await log(database)] == [f"host {names[0]}"]
    async with database.sessions() as session:
        assert (await hosts.named(session, names[0])).state is HostState.DISCOVERED
        assert await session.get(Host, 1) is not None


async def test_everyone_is_all_hosts_also_those_that_have_gone(database: Database) -> None:
    await site(database)
    there = [(await discovered(database.sessions, number))[0] for number in (2, 1)]
    async with database.sessions.begin() as session:
        (await session.get_one(Host, there[0].id)).state = HostState.RETIRED
    async with database.sessions() as session:
        found = await everyone(session)
        assert [(one.name, one.state) for one in found] == [
            ("mac525400000001", HostState.DISCOVERED),
            ("mac525400000002", HostState.RETIRED),
        ]
        assert await everyone(session, " MAC525400000001 ") == found[:1]
        assert await everyone(session, "nobody") == []
