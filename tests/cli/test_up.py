"""What ``rackrise up`` says: the first admin's password, once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

import deployments.up
from cli.main import app
from deployments.up import Place, Up, first_admin
from inventory import people
from inventory.models import Role
from tests.conftest import Database


async def test_the_first_admins_password_is_told_once(database: Database) -> None:
    password = await first_admin(database.url)
    assert password is not None
    assert await first_admin(database.url) is None
    async with database.sessions.begin() as session:
        (admin,) = await people.everybody(session)
        assert (admin.name, admin.role) == ("admin", Role.ADMIN)
        # What is kept lets it be checked, and not be told again.
        assert password not in str(admin.model_dump())


@pytest.mark.parametrize("password", ["fresh-password", None])
def test_it_is_printed_when_it_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, password: str | None
) -> None:
    @asynccontextmanager
    async def running(_: Place) -> AsyncIterator[Up]:
        # Whoever reads what is printed then presses Ctrl-C.
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        yield Up(
            environment={"RACKRISE_DATABASE_URL": "postgresql:///x", "PREFECT_API_URL": "http://p"},
            prefect_url="http://127.0.0.1:4200",
            prefect_key=tmp_path / "prefect.key",
            gateway_url="http://127.0.0.1:8080",
            console_url="http://127.0.0.1:8090",
            first_password=password,
            processes=dict,
        )

    monkeypatch.setattr(deployments.up, "up", running)
    told = CliRunner().invoke(app, ["up", "--site", str(tmp_path / "x"), "--data", str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert "Console:           http://127.0.0.1:8090\n" in told.stdout
    line = "Sign in as admin, password (shown this once): "
    if password is None:
        assert "Sign in as admin" not in told.output
    else:
        assert told.output.count(password) == told.output.count(f"{line}{password}\n") == 1
