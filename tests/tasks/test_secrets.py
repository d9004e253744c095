"""After inceptions that end well and badly, no database holds what nobody may read there."""

from __future__ import annotations

import asyncio

import asyncpg  # type: ignore[import-untyped]
import pytest
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from deployments.postgres import PostgresUrls
from flows.inception import inception
from inventory.models import HostGroup
from lab.tsig import OWNER
from tasks import desired
from tasks.company import NothingDone
from tests.flows.bench import Bench

ROOT_HASH = "$6$planted$" + "a" * 86


async def rows(url: str) -> dict[str, list[str]]:
    """Every row of every table of a database, as text."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        )
        return {
            name: [row[0] for row in await connection.fetch(f'SELECT t::text FROM "{name}" t')]
            for (name,) in tables
        }
    finally:
        await connection.close()


def holders(tables: dict[str, list[str]], secret: str) -> set[str]:
    return {name for name, found in tables.items() if any(secret in one for one in found)}


async def test_secrets_are_where_they_belong_and_nowhere_else(
    bench: Bench, postgres: PostgresUrls
) -> None:
    await bench.change(HostGroup, root_password_hash=ROOT_HASH)
    good, bad = await bench.selected(1), await bench.selected(2)
    bench.put_dns(bad, "A", "192.0.2.77")
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
        await inception(hosts=[good])
        with pytest.raises(NothingDone):
            await inception(hosts=[bad])
    tokens = [
        desired.build_token(bench.means.token_key, (await bench.build(one)).id)
        for one in (good, bad)
    ]
    written = "".join(one.read_text() for one in bench.boot_configs())
    assert all(one in written for one in tokens)

    prefect = postgres.prefect.replace("+asyncpg", "")
    async with asyncio.timeout(30):
        # Logs and task runs are written down a moment later.
        while True:
            theirs = await rows(prefect)
            if holders(theirs, bad) >= {"log", "task_run", "flow_run"}:
                break
            await asyncio.sleep(0.5)
    ours = await rows(bench.database.url)
    assert holders(ours, good) >= {"host", "effect", "step"}
    for secret in (*tokens, OWNER.secret, bench.means.token_key.decode()):
        assert holders(ours, secret) == set()
        assert holders(theirs, secret) == set()
    assert holders(ours, ROOT_HASH) == {"hostgroup"}
    assert holders(theirs, ROOT_HASH) == set()
