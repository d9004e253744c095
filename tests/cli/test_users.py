from __future__ import annotations

import asyncio

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from inventory import people_elsewhere
from inventory.acts_on_people import Rights
from inventory.models import Role, now
from inventory.people_elsewhere import Elsewhere
from tests.conftest import Database

ADA = Elsewhere("https://id.example.org", "7f3a", "ada")


async def rackrise(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["user", *words])


async def test_who_is_without_groups_is_told_apart_from_who_is_disabled(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RACKRISE_DATABASE_URL", database.url)
    async with database.sessions.begin() as session:
        await people_elsewhere.admit(session, ADA, Rights(Role.OPERATOR), at=now())
    assert "elsewhere" in (await rackrise("list")).stdout
    assert "OpenID" not in (await rackrise("change", "ada", "--role", "viewer")).stdout

    async with database.sessions.begin() as session:
        await people_elsewhere.dismiss(session, ADA, at=now())
    changed = await rackrise("change", "ada", "--role", "operator")
    assert changed.exit_code == 0, changed.stderr
    assert "when a group at the OpenID provider gives them rights again" in changed.stdout
    assert "without groups" in (await rackrise("list")).stdout

    disabled = await rackrise("change", "ada", "--role", "viewer", "--disabled")
    assert disabled.stdout == "ada may not sign in any more\n"
    assert "not any more" in (await rackrise("list")).stdout
