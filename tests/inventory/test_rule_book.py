"""Rules by hand: checked before they are kept, and the site file's left to the site file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from inventory import rule_book
from inventory.errors import (
    BadRule,
    NameOfOperator,
    OfSiteFile,
    RuleExists,
    UnknownRule,
)
from inventory.hosts import lock_host
from inventory.machines import Machine
from inventory.models import DiscoveryRule, Host, ManagedBy, ProvisionWhen
from inventory.rule_draft import RuleDraft, read_draft
from inventory.rules import choose
from inventory.sitefile import SiteFileError, apply_site, read_site_file
from tests.conftest import Database
from tests.inventory.test_sitefile import SITE
from tests.inventory.world import discovered, make_group, make_rule


def draft(**more: Any) -> RuleDraft:
    """A rule that somebody writes by hand."""
    values = {
        "name": "big",
        "condition": "memory >= 60 GiB",
        "host_group": "web",
        "host_name": "big{{ number }}",
        "host_limit": 5,
    }
    return read_draft(values | more)


@pytest.fixture
async def book(database: Database) -> Database:
    async with database.sessions.begin() as session:
        await make_rule(session, await make_group(session), name="of the file", priority=10)
    return database


async def test_a_rule_is_kept_changed_and_taken_away(book: Database) -> None:
    async with book.sessions.begin() as session:
        made = await rule_book.create(session, draft())
    assert (made.draft, made.managed_by, made.taken) == (draft(), ManagedBy.OPERATOR, 0)
    at_night = draft(
        name="bigger",
        provision="in_window",
        windows=["mon-fri 22:00-05:00"],
        time_zone="Europe/Berlin",
        enabled=False,
        priority=1,
    )
    async with book.sessions.begin() as session:
        changed = await rule_book.change(session, "big", at_night)
    async with book.sessions() as session:
        assert (await rule_book.rule_named(session, "bigger")).draft == at_night == changed.draft
        names = [one.draft.name for one in await rule_book.list_rules(session)]
        assert names == ["bigger", "of the file"]
        row = (
            await session.exec(select(DiscoveryRule).where(col(DiscoveryRule.name) == "bigger"))
        ).one()
        assert (row.provision, row.windows) == (ProvisionWhen.IN_WINDOW, ["mon-fri 22:00-05:00"])
    async with book.sessions.begin() as session:
        assert await rule_book.delete(session, "bigger") == 0
    async with book.sessions() as session:
        with pytest.raises(UnknownRule, match="no discovery rule 'bigger'; there are: of the file"):
            await rule_book.rule_named(session, "bigger")


async def test_rules_of_the_site_file_are_left_to_it(book: Database) -> None:
    said = "edit it there"
    async with book.sessions() as session:
        was = (await rule_book.rule_named(session, "of the file")).draft
        off = was.model_copy(update={"enabled": False})
        with pytest.raises(OfSiteFile, match=said):
            await rule_book.change(session, "of the file", off)
        with pytest.raises(OfSiteFile, match=said):
            await rule_book.delete(session, "of the file")
        with pytest.raises(RuleExists):
            await rule_book.create(session, draft(name="of the file"))
    async with book.sessions() as session:
        (row,) = await rule_book.list_rules(session)
        assert row.draft == was


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        ({"condition": "memory >="}, [("condition", "line 1: ")]),
        ({"condition": "memroy > 1 GiB"}, [("condition", "there is no name 'memroy'; there are")]),
        ({"condition": "memory > 1 gig"}, [("condition", "line 1: 'gig' behind a number is no")]),
        ({"condition": "vendor | center(9)"}, [("condition", "line 1: No filter named 'center'")]),
        ({"host_name": "{{ nmber }}"}, [("host_name", "there is no name 'nmber'")]),
        ({"host_name": "{{ "}, [("host_name", "line 1: ")]),
        ({"host_group": "db"}, [("host_group", "there is no host group 'db'; there are: web")]),
        (
            {"host_group": "db", "condition": "", "host_name": " "},
            [("condition", "it is empty"), ("host_name", "it is empty"), ("host_group", "there")],
        ),
    ],
)
async def test_what_is_wrong_is_told_all_at_once(
    book: Database, values: dict[str, str], problems: list[tuple[str, str]]
) -> None:
    async with book.sessions() as session:
        with pytest.raises(BadRule) as refused:
            await rule_book.create(session, draft(**values))
        told = refused.value.problems
        assert [what for what, _ in told] == [what for what, _ in problems]
        assert all(
            said.startswith(start) for (_, said), (_, start) in zip(told, problems, strict=True)
        )
    async with book.sessions.begin() as session:
        await rule_book.create(session, draft())
    async with book.sessions() as session:
        with pytest.raises(BadRule):
            await rule_book.change(session, "big", draft(**values))


@pytest.mark.parametrize(
    ("values", "what", "said"),
    [
        ({"windows": ["mon 1-2"], "provision": "in_window"}, "windows.0", "write days and times"),
        ({"provision": "in_window"}, "provision", 'provision = "in_window" needs windows'),
        ({"windows": ["mon 01:00-02:00"]}, "provision", 'windows are for provision = "in_window"'),
        ({"provision": "sometimes"}, "provision", "'at_once', 'in_window' or 'when_asked'"),
        ({"time_zone": "Berlin"}, "time_zone", "there is no time zone 'Berlin'"),
        ({"host_limit": -1}, "host_limit", "greater than or equal to 0"),
        ({"priority": 2**40}, "priority", "less than"),
        ({"limit": 5}, "limit", "Extra inputs"),
    ],
)
def test_a_draft_that_is_none_says_why(values: dict[str, Any], what: str, said: str) -> None:
    with pytest.raises(BadRule) as refused:
        draft(**values)
    assert [one for one, _ in refused.value.problems] == [what]
    assert said in str(refused.value)


async def test_the_hosts_of_a_rule_that_goes_stay(book: Database) -> None:
    async with book.sessions.begin() as session:
        await rule_book.create(session, draft(condition="true", priority=1))
    hosts = [(await discovered(book.sessions, number))[0] for number in (1, 2)]
    for host in hosts:
        async with book.sessions.begin() as session:
            assert await choose(session, await lock_host(session, host.id), Machine())
    async with book.sessions.begin() as session:
        assert (await rule_book.rule_named(session, "big")).taken == 2
        assert await rule_book.delete(session, "big") == 2
    async with book.sessions() as session:
        assert set(await session.exec(select(Host.discovery_rule_id))) == {None}


async def test_a_rule_may_go_while_hosts_are_weighed_by_it(book: Database) -> None:
    hosts = [(await discovered(book.sessions, number))[0] for number in range(10)]

    async def weighed(host_id: int) -> str | None:
        async with book.sessions.begin() as session:
            found = await choose(session, await lock_host(session, host_id), Machine())
            return found.name if found else None

    async def gone() -> None:
        async with book.sessions.begin() as session:
            await rule_book.delete(session, "big")

    for limit in (0, 5, 0, 5):
        async with book.sessions.begin() as session:
            await rule_book.create(session, draft(condition="true", priority=1, host_limit=limit))
        found = await asyncio.gather(*(weighed(one.id) for one in hosts), gone())
        assert set(found) <= {"big", "of the file", None}
        async with book.sessions() as session:
            (left,) = await session.exec(select(DiscoveryRule.id))
            assert set(await session.exec(select(Host.discovery_rule_id))) <= {left, None}


async def test_the_site_file_changes_only_its_own(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(SITE)
    async with database.sessions.begin() as session:
        await apply_site(session, read_site_file(file))
    async with database.sessions.begin() as session:
        await rule_book.create(session, draft())
    text = SITE + '\n[[discovery_rule]]\nname = "big"\ncondition = "true"\nhost_group = "web"\n'
    file.write_text(text + 'host_name = "b{{ number }}"\npriority = 1\n')
    with pytest.raises(NameOfOperator, match=r"'big' of the site file .* made by hand"):
        async with database.sessions.begin() as session:
            await apply_site(session, read_site_file(file))
    async with database.sessions() as session:
        kept = {one.draft.name: one for one in await rule_book.list_rules(session)}
    assert kept["big"].draft == draft()
    assert kept["all"].managed_by is ManagedBy.SITE_FILE


async def test_the_site_file_has_windows_too(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    windows = 'windows = ["mon-fri 22:00-05:00"]\ntime_zone = "Europe/Berlin"\n'
    file.write_text(SITE + 'provision = "in_window"\n' + windows)
    for _ in range(2):
        async with database.sessions.begin() as session:
            changes = await apply_site(session, read_site_file(file))
    assert str(changes[-1]) == "discovery rule all: unchanged"
    file.write_text(SITE + 'provision = "in_window"\n' + windows.replace("mon-fri", "mo-fr"))
    with pytest.raises(SiteFileError, match=r"site.toml:\d+: .*'mo' is no day; days are mon"):
        read_site_file(file)
