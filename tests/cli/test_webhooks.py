from __future__ import annotations

import asyncio

import pytest
from sqlmodel import select
from typer.testing import CliRunner, Result

from cli.main import app
from inventory import deliveries, events, webhooks
from inventory.models import Delivery, now
from inventory.sealing import Sealer
from tests.conftest import Database
from tests.inventory.world import discovered, make_group

KEY = "k" * 40


async def rackrise(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["webhooks", *words])


async def test_a_webhook_is_made_shown_told_again_and_removed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RACKRISE_DATABASE_URL", database.url)
    monkeypatch.delenv("RACKRISE_SECRET_KEY", raising=False)
    url = "https://example.org/hook"
    refused = await rackrise("add", "pager", url)
    assert (refused.exit_code, "RACKRISE_SECRET_KEY" in refused.stderr) == (2, True)

    monkeypatch.setenv("RACKRISE_SECRET_KEY", KEY)
    bad = await rackrise("add", "pager", url, "--kind", "host.eaten")
    assert (bad.exit_code, "there is no event host.eaten" in bad.stderr) == (2, True)
    made = await rackrise("add", "pager", url, "--kind", "host.discovered")
    async with database.sessions.begin() as session:
        await make_group(session)
        hook = await webhooks.named(session, "pager")
        assert made.stdout.splitlines()[-1] == Sealer(KEY).open(hook.sealed_secret)
    listed = (await rackrise("list")).stdout
    assert all(one in listed for one in ("pager", url, "host.discovered", "enabled"))

    await discovered(database.sessions)
    async with database.sessions.begin() as session:
        await events.publish(session, now())
        (row,) = await session.exec(select(Delivery))
        row.next_at, row.last_error = None, "given up: no answer"
        await webhooks.change(session, "pager", enabled=False, why="the receiver is gone")
    assert "disabled: the receiver is gone" in (await rackrise("list")).stdout
    shown = (await rackrise("show", "pager")).stdout
    assert "given up: no answer" in shown
    assert shown.splitlines()[-1] == "1 given up"
    assert (await rackrise("enable", "pager")).exit_code == 0
    assert (await rackrise("redeliver", "pager")).stdout.startswith("1 deliveries")
    async with database.sessions.begin() as session:
        assert await deliveries.waiting(session, now()) == [hook.id]

    assert (await rackrise("remove", "pager")).exit_code == 0
    gone = await rackrise("show", "pager")
    assert (gone.exit_code, "there are: none" in gone.stderr) == (2, True)
