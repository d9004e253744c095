"""What an operator reads at three in the morning: whole names, whole dates, and what to do."""

from __future__ import annotations

import asyncio

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from inventory.builds import hold
from inventory.models import Host
from tests.conftest import Database
from tests.inventory.world import discovered, later, make_group

NAME = "a-very-long-name-of-a-machine.in-a-rack.in-the-east.example.org"


@pytest.fixture
async def held(database: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    """A host that is held, and the inventory where the command finds it."""
    monkeypatch.setenv("RACKRISE_DATABASE_URL", database.url)
    async with database.sessions.begin() as session:
        await make_group(session)
    host, build = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        (await session.get_one(Host, host.id)).name = NAME
        reason, advice = "DHCP at 192.0.2.1 is silent", "See that it runs; then retry."
        await hold(session, build, step=12, reason=reason, advice=advice, at=later(50))
    return NAME


async def rackrise(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(words))


async def test_in_a_pipe_a_host_is_one_line_with_all_of_it(held: str) -> None:
    result = await rackrise("hosts", "list")
    (line,) = (one for one in result.stdout.splitlines() if held in one)
    assert "2026-01-02 03:04:55" in line
    assert "12: DHCP at 192.0.2.1 is silent. See that it runs; then retry." in line


async def test_a_held_host_says_why_and_what_to_do(held: str) -> None:
    result = await rackrise("hosts", "show", held)
    assert len([one for one in result.stdout.splitlines() if " → " in one]) == 34
    last = result.stdout.splitlines()[-1]
    assert last.startswith(f"{held} is held at 12: DHCP at 192.0.2.1 is silent.")


async def test_what_cannot_be_asked_of_a_host_says_when_it_can(held: str) -> None:
    assert (await rackrise("hosts", "retry", held)).exit_code == 0
    again = await rackrise("hosts", "retry", held)
    assert again.exit_code == 2
    assert f"the host {held} is discovered; only a host that is held can be retried" in again.stderr
    unknown = await rackrise("hosts", "provision", held, "--group", "nothing")
    assert unknown.exit_code == 2
    assert "there is no host group 'nothing'; there are: web" in unknown.stderr


async def test_giving_up_says_who_and_why(held: str) -> None:
    result = await rackrise("hosts", "cancel", held, "--why", "the board is broken")
    assert result.exit_code == 0, result.stderr
    (line,) = (one for one in (await rackrise("hosts", "list")).stdout.splitlines() if held in one)
    assert "cancelling" in line
    assert "at the command line: the board is broken; it was held: DHCP at 192.0.2.1" in line


async def test_a_host_leaves_only_when_that_is_said_twice(held: str) -> None:
    result = await rackrise("hosts", "decommission", held)
    assert result.exit_code == 1
    assert "Remove all that there is" in result.stdout
    assert (await rackrise("hosts", "decommission", held, "--yes")).exit_code == 0
    assert "decommissioning" in (await rackrise("hosts", "list")).stdout


async def test_what_has_no_group_cannot_be_rebuilt(held: str) -> None:
    result = await rackrise("hosts", "rebuild", held)
    assert result.exit_code == 2
    assert "name a host group" in result.stderr


async def test_hosts_held_at_the_same_step_go_on_together(database: Database, held: str) -> None:
    for number, reason in ((2, "DHCP at 192.0.2.1 is silent"), (3, "DNS says no")):
        _, build = await discovered(database.sessions, number)
        async with database.sessions.begin() as session:
            await hold(session, build, step=12, reason=reason, advice="", at=later(50))
    result = await rackrise("hosts", "retry", "--held-at", "12")
    assert result.exit_code == 2
    assert "held for 2 reasons" in result.stderr
    result = await rackrise("hosts", "retry", "--held-at", "12", "--because", "dhcp")
    assert result.exit_code == 0, result.stderr
    assert len([one for one in result.stdout.splitlines() if "goes on with" in one]) == 2
    result = await rackrise("hosts", "retry", "--held-at", "12", "--all")
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    assert (await rackrise("hosts", "retry", "--held-at", "12")).exit_code == 2
    assert (await rackrise("hosts", "retry")).exit_code == 2


async def test_one_that_cannot_go_on_keeps_no_other_from_it(database: Database, held: str) -> None:
    other, _ = await discovered(database.sessions, 2)
    result = await rackrise("hosts", "retry", other.name, held)
    assert result.exit_code == 2
    assert f"{held} goes on with" in result.stdout
    assert "only a host that is held" in result.stderr
