from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from inventory import wave_advance
from inventory.models import now
from tests.conftest import Database
from tests.inventory.test_waves import site


async def rackrise(*words: str, typed: str | None = None) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["waves", *words], typed)


async def test_a_wave_is_started_shown_paused_and_cancelled(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RACKRISE_DATABASE_URL", database.url)
    names = await site(database, 3)
    listed = tmp_path / "names.txt"
    listed.write_text(f"{names[1]}\n\n {names[2]} \n")
    refused = await rackrise("start", "spring", names[0], "nobody", "--group", "web")
    assert (refused.exit_code, "there is no host 'nobody'" in refused.stderr) == (2, True)
    assert json.loads((await rackrise("list", "--json")).stdout) == []

    made = await rackrise(
        *("start", "spring", names[0], "--group", "web", "--hosts-from", str(listed)),
        *("--per-pulp", "7", "--failures", "0.25"),
    )
    assert (made.exit_code, "with 3 hosts" in made.stdout) == (0, True)
    async with database.sessions.begin() as session:
        await wave_advance.advance(session, now())
    (row,) = json.loads((await rackrise("list", "--json")).stdout)
    assert (row["name"], row["under_way"], row["waiting"]) == ("spring", 1, 2)
    assert "spring" in (await rackrise("list")).stdout
    shown = json.loads((await rackrise("show", "spring", "--json")).stdout)
    assert [one["ended"] for one in shown["hosts"]] == ["under way", "waiting", "waiting"]
    assert (shown["per_pulp"], shown["failure_share"]) == (7, 0.25)

    assert (await rackrise("pause", "spring")).exit_code == 0
    again = await rackrise("pause", "spring")
    assert (again.exit_code, "is paused" in again.stderr) == (2, True)
    assert (await rackrise("go-on", "spring")).exit_code == 0
    assert (await rackrise("cancel", "spring")).exit_code == 0
    told = (await rackrise("show", "spring")).stdout
    assert "1 under way" in told
    assert "2 let go" in told

    typed = await rackrise(
        "start", "summer", "--group", "web", "--hosts-from", "-", typed=f"{names[2]}\n"
    )
    assert (typed.exit_code, "with 1 hosts" in typed.stdout) == (0, True)
    unknown = await rackrise("show", "autumn")
    assert (unknown.exit_code, "there is no wave 'autumn'" in unknown.stderr) == (2, True)
