"""What people see as tables, programs get as JSON."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.conftest import Database
from tests.inventory.world import discovered, make_group


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
