"""The one way into the inventory's database: engine, sessions, migrations, notifications.

    engine = make_engine("postgresql://rackrise@db.example.org/rackrise")
    sessions = make_sessions(engine)
    async with sessions.begin() as session:
        host = await host_by_name(session, "web01.example.org")

The functions of this room flush and never commit: whoever begins the transaction ends it. A row
that is handed to them belongs to the same session, and is brought up to date by them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import asyncpg  # type: ignore[import-untyped]
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.pool import NullPool
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

__all__ = [
    "CHANNEL_CALLBACKS",
    "CHANNEL_CHANGES",
    "CHANNEL_EVENTS",
    "DATABASE_ERRORS",
    "AsyncSession",
    "Sessions",
    "is_passing",
    "knows_shape",
    "make_engine",
    "make_sessions",
    "migrate",
    "newest_shape",
    "notify",
    "plain_url",
]

Sessions: TypeAlias = async_sessionmaker[AsyncSession]

CHANNEL_CALLBACKS = "rackrise_callback"
"""Notified when a callback has been kept."""
CHANNEL_CHANGES = "rackrise_change"
"""Notified by the database itself with the ids of hosts of which something has changed; ``*``: too
many to name."""
CHANNEL_EVENTS = "rackrise_event"
"""Notified when an event has been kept."""

DATABASE_ERRORS = (DBAPIError, PoolTimeout, asyncpg.PostgresError, OSError)
"""All that a statement raises, or the connection for it, which SQLAlchemy does not wrap."""

_PASSING = ("08", "40001", "40P01", "53", "57P")
"""Beginnings of PostgreSQL's codes for what passes by itself, or when somebody has seen to it: no
connection, two transactions that have met, no room (a full disk too), and being shut down."""
_MIGRATION_LOCK = 0x7261636B  # "rack": one number that all starters of Rackrise agree on


def is_passing(error: BaseException) -> bool:
    """Whether a database's refusal is worth another try: it is away or full, or two collided."""
    if not isinstance(error, DBAPIError):
        # A connection that cannot be made is not wrapped by SQLAlchemy.
        return isinstance(error, OSError | PoolTimeout | asyncpg.PostgresError)
    code = getattr(error.orig, "sqlstate", None) or ""
    lost = isinstance(error, OperationalError | InterfaceError)
    return code.startswith(_PASSING) or lost or error.connection_invalidated


def _async_url(url: str) -> sa.URL:
    return make_url(url).set(drivername="postgresql+asyncpg")


def plain_url(url: str) -> str:
    """The URL as PostgreSQL's own programs and asyncpg read it, without SQLAlchemy's driver."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def make_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """Make an engine; it connects when it is first used.

    Args:
        url: ``postgresql://…`` or ``postgresql+asyncpg://…``; ``?host=/directory`` for a socket.
        pool_size: connections kept; as many again are opened for a moment's need.
    """
    return create_async_engine(
        _async_url(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        # A database that was restarted must not fail the next callback of every pooled connection.
        pool_pre_ping=True,
        # The models keep addresses as text, as the wire formats do.
        native_inet_types=False,
    )


def make_sessions(engine: AsyncEngine) -> Sessions:
    """Make the factory of sessions; what they load stays readable after the transaction."""
    return async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)


def alembic_config() -> Config:
    """Where the migrations lie, for Alembic."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _upgrade(connection: Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def newest_shape() -> str:
    """What ``migrate`` brings a database to, as Alembic calls it."""
    return str(ScriptDirectory.from_config(alembic_config()).get_current_head())


def knows_shape(revision: str) -> bool:
    """Whether ``migrate`` can begin from a shape: one of the future it does not know."""
    try:
        return ScriptDirectory.from_config(alembic_config()).get_revision(revision) is not None
    except CommandError:
        return False


async def migrate(url: str) -> None:
    """Bring the database to the newest shape, in one transaction.

    Any number of starters may call it at the same time: the first one works, the others wait.
    """
    engine = create_async_engine(_async_url(url), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


async def notify(session: AsyncSession, channel: str) -> None:
    """Wake whoever listens on a channel, when the transaction is committed."""
    await session.exec(select(sa.func.pg_notify(channel, "")))
