"""``rackrise rules``: what an operator does with rules, and what a program reads of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from inventory.hosts import discover
from tests.conftest import Database
from tests.inventory.world import T0, make_group, make_rule, seen

BIG = ("--condition", "memory >= 60 GiB", "--group", "web", "--host-name", "big{{ number }}")


@pytest.fixture
async def site(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("RACKRISE_DATABASE_URL", database.url)
    async with database.sessions.begin() as session:
        await make_rule(session, await make_group(session), name="of the file")
        facts = {"memorysize_mb": "65536.00", "manufacturer": "Dell Inc."}
        await discover(session, seen(1, **facts), site_id=None, at=T0)
    return database


async def rackrise(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["rules", *words])


async def told(*words: str) -> Any:
    result = await rackrise(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def test_a_rule_is_tried_made_changed_and_removed(site: Database) -> None:
    trial = await told("try", *BIG, "--priority", "1")
    assert trial["more"] == 0
    assert [(one["takes"], one["name"]) for one in trial["hosts"]] == [(True, "big1.example.org")]
    assert [one["draft"]["name"] for one in await told("list")] == ["of the file"]
    made = await told("add", "big", *BIG, "--limit", "5")
    assert (made["draft"]["host_limit"], made["managed_by"]) == (5, "operator")
    night = ("--provision", "in_window", "--window", "mon-fri 22:00-05:00")
    changed = await told("change", "big", *night, "--time-zone", "Europe/Berlin", "--disable")
    assert changed["draft"] == {
        **made["draft"],
        "provision": "in_window",
        "windows": ["mon-fri 22:00-05:00"],
        "time_zone": "Europe/Berlin",
        "enabled": False,
    }
    assert await told("show", "big") == changed
    # Windows are of no use any more, and go by themselves.
    again = await told("change", "big", "--provision", "when_asked", "--enable")
    assert (again["draft"]["windows"], again["draft"]["enabled"]) == ([], True)
    assert await told("remove", "big") == {"removed": "big", "hosts": 0}
    assert [one["draft"]["name"] for one in await told("list")] == ["of the file"]


async def test_a_rule_that_is_there_is_tried_as_it_would_be(site: Database) -> None:
    trial = await told("try", "of the file", "--condition", "memory > 1 TiB")
    assert [one["takes"] for one in trial["hosts"]] == [False]
    trial = await told("try", "of the file")
    assert [(one["takes"], one["first"]) for one in trial["hosts"]] == [(True, None)]


async def test_people_read_tables(site: Database) -> None:
    assert (await rackrise("add", "big", *BIG, "--limit", "5", "--priority", "1")).exit_code == 0
    listed = (await rackrise("list")).stdout
    (line,) = (one for one in listed.splitlines() if "big" in one)
    assert "memory >= 60 GiB" in line
    assert "0 of 5" in line
    assert "operator" in line
    tried = (await rackrise("try", "big")).stdout
    assert "its condition is true for 1 of 1 hosts" in tried
    explained = (await rackrise("explain", "mac525400000001")).stdout
    (line,) = (one for one in explained.splitlines() if "takes (chosen)" in one)
    assert "memory = 68719476736 (64.0 GiB)" in line
    assert "name big1" in line
    (chosen, other) = await told("explain", "mac525400000001")
    assert (chosen["rule"], chosen["chosen"], other["chosen"]) == ("big", True, False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("change", "of the file", "--disable"), "comes from the site file: edit it there"),
        (("remove", "of the file"), "comes from the site file: edit it there"),
        (("show", "nothing"), "there is no discovery rule 'nothing'; there are: of the file"),
        (("explain", "nobody"), "there is no host 'nobody'"),
        (("try", "new"), "discovery rule new, condition: Field required"),
        (("add", "of the file", *BIG), "there is a discovery rule 'of the file' already"),
        (("add", "x", *BIG, "--group", "db"), "there is no host group 'db'; there are: web"),
        (("add", "x", *BIG, "--condition", "memory > 1 gig"), "'gig' behind a number is no unit"),
        (("add", "x", *BIG, "--provision", "in_window"), "needs windows"),
        (("add", "x", *BIG, "--provision", "in_window", "--window", "mo 1-2"), "is no window"),
        (("change", "of the file"), "say what is to be changed"),
    ],
)
async def test_what_is_refused_is_a_sentence(
    site: Database, words: tuple[str, ...], said: str
) -> None:
    result = await rackrise(*words)
    assert result.exit_code == 2, result.output
    # Usage errors are framed and wrapped.
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output
