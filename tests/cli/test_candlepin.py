"""``rackrise candlepin``, and what a host that is registered shows of itself."""

from __future__ import annotations

import asyncio

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from integrations.candlepin import OAuthLogin, UserLogin
from inventory import profiles
from inventory.models import Candlepin
from tasks.company import Problem
from tasks.credentials import candlepin_settings
from tests.conftest import Database
from tests.inventory.world import discovered, later, make_group

PACKAGE = {"name": "bash", "version": "5.1.8", "release": "9", "arch": "x86_64", "epoch": 0}


async def rackrise(*words: str, **environment: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(words), env=environment)


def row(block: str) -> Candlepin:
    url = "https://candlepin.example.org/candlepin"
    return Candlepin(name="c", url=url, credentials=block, front="https://r.example.org/rhsm")


async def test_key_and_secret_are_kept_in_a_block(prefect_api: str) -> None:
    result = await rackrise(
        *("candlepin", "credentials", "cli-oauth", "--oauth-key", "rackrise", "--user", "foreman"),
        RACKRISE_CANDLEPIN_SECRET="very secret",
    )
    assert result.exit_code == 0, result.output
    settings = await candlepin_settings(row("cli-oauth"))
    assert isinstance(settings.login, OAuthLogin)
    assert (settings.login.key, settings.login.user) == ("rackrise", "foreman")
    assert settings.login.secret.get_secret_value() == "very secret"
    assert "very secret" not in f"{result.output} {settings!r}"


async def test_a_user_and_a_password_serve_as_well(prefect_api: str) -> None:
    result = await rackrise(
        "candlepin", "credentials", "cli-basic", RACKRISE_CANDLEPIN_SECRET="password"
    )
    assert result.exit_code == 0, result.output
    settings = await candlepin_settings(row("cli-basic"))
    assert isinstance(settings.login, UserLogin)
    assert settings.login.user == "admin"


async def test_a_block_that_is_not_there_says_how_it_is_made(prefect_api: str) -> None:
    with pytest.raises(Problem, match="no Candlepin credentials 'gone'") as caught:
        await candlepin_settings(row("gone"))
    assert "rackrise candlepin credentials" in caught.value.advice


async def test_what_a_host_reported_is_shown(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RACKRISE_DATABASE_URL", database.url)
    async with database.sessions.begin() as session:
        await make_group(session)
    host, _ = await discovered(database.sessions)
    nothing = await rackrise("hosts", "packages", host.name)
    assert nothing.output == f"{host.name} has reported no packages\n"
    newer = {**PACKAGE, "version": "5.2", "epoch": 1}
    async with database.sessions.begin() as session:
        await profiles.keep(session, host.id, "rpm", [PACKAGE], later(1))
        await profiles.keep(session, host.id, "rpm", [newer], later(2))
        await profiles.keep(session, host.id, "modulemd", [{"stream": "3.1"}], later(3))
    shown = await rackrise("hosts", "show", host.name)
    (line,) = (one for one in shown.stdout.splitlines() if " rpm " in one)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["rpm", "1", "2026-01-02 03:04:07", "2026-01-02 03:04:07", "1", "1"]
    listed = await rackrise("hosts", "packages", host.name)
    assert listed.stdout == "bash-1:5.2-9.x86_64\n"
    changed = await rackrise("hosts", "packages", host.name, "--changes")
    assert changed.stdout.splitlines() == [
        "2026-01-02 03:04:07 UTC, rpm",
        "  - bash-5.1.8-9.x86_64",
        "  + bash-1:5.2-9.x86_64",
    ]
