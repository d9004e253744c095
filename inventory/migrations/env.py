"""Lets Alembic work on a connection of ours, or make its own for the developer who calls it.

``alembic -c inventory/alembic.ini -x url=postgresql://… revision --autogenerate -m "…"``
"""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

from inventory import models  # noqa: F401  the tables enter the metadata by being imported
from inventory.database import make_engine


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=SQLModel.metadata)
    with context.begin_transaction():
        context.run_migrations()


async def _run_on_own_connection() -> None:
    engine = make_engine(context.get_x_argument(as_dictionary=True)["url"])
    async with engine.begin() as connection:
        await connection.run_sync(_run)
    await engine.dispose()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    asyncio.run(_run_on_own_connection())
