"""What people see as tables, programs get as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli.main import app
from tests.conftest import Database
from tests.inventory.world import discovered, make_group

WITHOUT = {
    *("gateway", "worker", "prefect", "proxy", "up"),
    *("backup", "restore", "migrate"),
    *("bmc credentials", "content credentials", "puppet credentials", "candlepin credentials"),
}
"""They run on and on, or have nothing to say but that it is done."""


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, (*words, name))
        else:
            yield " ".join((*words, name)), one


def test_every_command_that_shows_or_does_something_speaks_json() -> None:
    without = {
        name
        for name, one in commands(typer.main.get_command(app))
        if not any("--json" in option.opts for option in one.params)
    }
    assert without == WITHOUT


@pytest.fixture
async def known(database: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    """A host; returns its name."""
    monkeypatch.setenv("RACKRISE_DATABASE_URL", database.url)
    async with database.sessions.begin() as session:
        await make_group(session)
    host, _ = await discovered(database.sessions)
    return host.name


async def shown(*words: str) -> Any:
    result = await asyncio.to_thread(CliRunner().invoke, app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def test_hosts_in_json(known: str) -> None:
    (row,) = await shown("hosts", "list")
    assert (row["name"], row["state"]) == (known, "discovered")
    one = await shown("hosts", "show", known)
    assert one["host"]["name"] == known
    assert [each["number"] for each in one["arrows"]] == list(range(1, 35))
    assert await shown("hosts", "packages", known) == []
    assert await shown("hosts", "packages", known, "--changes") == []
    assert await shown("puppet", "changes", known) == []


async def test_what_applying_a_site_file_has_changed_in_json(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RACKRISE_DATABASE_URL", database.url)
    file = tmp_path / "site.toml"
    file.write_text('[site]\nname = "s"\ngateway_url = "http://192.0.2.1:8000"\n')
    assert await shown("site", "apply", str(file)) == ["site s: created"]
    assert await shown("site", "apply", str(file)) == ["site s: unchanged"]
    monkeypatch.setenv("LOGNAME", "grace")
    text = file.read_text() + '[[operating_system]]\nname = "LabOS 1"\n'
    file.write_text(text.replace("192.0.2.1", "192.0.2.2"))
    await shown("site", "apply", str(file))
    # One for each time that something was changed, and by whom.
    last, first = await shown("audit", "--about", "site s")
    assert (first["action"], first["after"]) == ("apply", {"site s": "created"})
    assert (last["who"], last["door"]) == ("grace", "command line")
    assert last["after"] == {
        "site s": "changed: gateway_url",
        "operating_system LabOS 1": "created",
    }


async def test_what_is_done_to_hosts_in_json(known: str) -> None:
    told = await shown("hosts", "provision", known, "--group", "web", "--name", "web1")
    assert told == {"name": "web1.example.org", "state": "selected"}
    told = await shown("hosts", "cancel", "web1.example.org")
    assert told == {"name": "web1.example.org", "state": "cancelling"}


async def test_waves_in_json(known: str) -> None:
    started = await shown("waves", "start", "spring", known, "--group", "web")
    assert (started["name"], started["state"], started["waiting"]) == ("spring", "running", 1)
    assert (await shown("waves", "pause", "spring"))["state"] == "paused"
    assert (await shown("waves", "go-on", "spring"))["state"] == "running"
    assert (await shown("waves", "cancel", "spring"))["state"] == "cancelled"


async def test_webhooks_in_json(known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACKRISE_SECRET_KEY", "k" * 40)
    made = await shown("webhooks", "add", "pager", "https://pager.example.org/")
    assert made["secret"].startswith("whsec_")
    (row,) = await shown("webhooks", "list")
    assert (row["name"], row["enabled"]) == ("pager", True)
    assert "secret" not in str(row)
    assert await shown("webhooks", "show", "pager") == []
    assert await shown("webhooks", "redeliver", "pager") == {"deliveries": 0}
    assert await shown("webhooks", "remove", "pager") == {"removed": "pager"}


async def test_people_in_json(known: str) -> None:
    made = await shown("user", "add", "ada", "--role", "operator")
    assert (made["name"], made["role"]) == ("ada", "operator")
    assert len(made["password"]) > 15
    token = await shown("user", "token", "ada", "robot")
    assert token["name"] == "robot"
    assert await shown("user", "token", "ada", "robot", "--remove") == {"removed": "robot"}
    changed = await shown("user", "change", "ada", "--role", "viewer")
    assert changed == {"name": "ada", "role": "viewer", "disabled": False}
