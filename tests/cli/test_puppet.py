"""``rackrise puppet``: our certificate is kept as a secret, and what Puppet was told is shown."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from inventory import classification, hosts
from inventory.classification import Answer
from inventory.models import Puppet
from tasks.credentials import PuppetCredentials, puppet_settings
from tests.conftest import Database
from tests.inventory.world import discovered, later, make_group


async def rackrise(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(words))


async def test_the_certificate_is_kept_in_a_block(prefect_api: str, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.pem" for name in ("certificate", "key", "ca")}
    for name, file in files.items():
        file.write_text(f"PEM of {name}")
    words = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    result = await rackrise("puppet", "credentials", "cli-puppet", *words)
    assert result.exit_code == 0, result.output
    assert "PEM of key" not in result.output
    block: PuppetCredentials = await PuppetCredentials.aload("cli-puppet")
    assert "PEM of key" not in repr(block)
    row = Puppet(
        name="p", url="https://puppet.example.org:8140", certname="p", credentials="cli-puppet"
    )
    settings = await puppet_settings(row)
    assert settings.key.get_secret_value() == "PEM of key"
    assert (settings.certificate, settings.ca) == ("PEM of certificate", "PEM of ca")


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.pem")
    words = ["--certificate", gone, "--key", gone, "--ca", gone]
    result = await rackrise("puppet", "credentials", "x", *words)
    assert result.exit_code == 2
    # Framed and wrapped, and so differently for each length of the path.
    assert {"does", "not", "exist."} <= set(result.stderr.split())


async def test_changes_of_a_host_are_shown_the_newest_last(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RACKRISE_DATABASE_URL", database.url)
    async with database.sessions.begin() as session:
        await make_group(session)
    host, _ = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        row = await hosts.named(session, host.name)
        for number, role in enumerate(("web", "database")):
            answer = Answer(classes={}, parameters={"role": role}, environment="production")
            await classification.keep(session, row, answer, later(number))
    result = await rackrise("puppet", "changes", host.name)
    assert result.exit_code == 0, result.output
    assert "2026-01-02 03:04:06 UTC\n-   role: web\n+   role: database" in result.output
