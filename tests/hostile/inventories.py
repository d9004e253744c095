"""Databases of our own for what is attacked, what is in them, and who wrote it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import sqlalchemy as sa
from sqlmodel import SQLModel

from inventory.database import migrate
from tests.hostile.sending import current

__all__ = ["emptied", "inventory", "tables", "watch"]

_WRITES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "ALTER", "DROP")


@asynccontextmanager
async def inventory(url: str, name: str) -> AsyncIterator[str]:
    """A database of this name with the newest shape while the block lasts; its URL.

    Args:
        url: of a database of the same server.
        name: what was there under it is dropped.
    """
    connection = await asyncpg.connect(url)
    await connection.execute(f"DROP DATABASE IF EXISTS {name}")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    own = sa.make_url(url).set(database=name).render_as_string(hide_password=False)
    await migrate(own)
    try:
        yield own
    finally:
        if (kept := _connections.pop(own, None)) is not None:
            await kept.close()


async def emptied(url: str) -> None:
    """Delete all rows."""
    tables = [f'"{table.name}"' for table in reversed(SQLModel.metadata.sorted_tables)]
    connection = await asyncpg.connect(url)
    await connection.execute("; ".join(f"DELETE FROM {table}" for table in tables))
    await connection.execute(
        "SELECT setval(oid, 1, false) FROM pg_class "
        "WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"
    )
    await connection.close()


_connections: dict[str, Any] = {}


async def tables(url: str) -> dict[str, str]:
    """A digest of each table, in one question."""
    connection = _connections.get(url)
    if connection is None or connection.is_closed():
        connection = _connections[url] = await asyncpg.connect(url)
    parts = [
        f"SELECT '{name}', md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), ''))"
        f' FROM "{name}" t'
        for name in SQLModel.metadata.tables
    ]
    return dict(await connection.fetch(" UNION ALL ".join(parts)))


def watch(engine: sa.Engine) -> None:
    """Note for each request what it wrote for good."""

    @sa.event.listens_for(engine, "after_cursor_execute")
    def executed(_: Any, cursor: Any, statement: str, *_more: Any) -> None:
        outcome = current.get()
        writes = statement.lstrip().upper().startswith(_WRITES) and cursor.rowcount != 0
        if outcome is not None and writes:
            outcome.pending.append(statement[:200])

    @sa.event.listens_for(engine, "commit")
    def committed(_: Any) -> None:
        outcome = current.get()
        if outcome is not None:
            outcome.written += outcome.pending
            outcome.pending.clear()

    @sa.event.listens_for(engine, "rollback")
    def undone(_: Any) -> None:
        outcome = current.get()
        if outcome is not None:
            outcome.pending.clear()
