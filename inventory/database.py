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
    "cannot_hold",
    "is_passing",
    "knows_shape",
    "make_engine",
    "make_sessions",
    "migrate",
    "newest_shape",
    "notify",
    "plain_url",
    "wait_outside",
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
_UNHELD = frozenset({"22003", "22021", "22P05"})
"""PostgreSQL's codes for numbers that are too big, and for characters that no text holds."""
_IDLE = "idle_in_transaction_session_timeout"
_IDLE_SECONDS = 30.0
"""After which the server ends a transaction in which nothing is asked: a process that is stopped in
the middle of one keeps its locks, and whoever is to take over its hosts would wait for ever. Three
times a worker's lease: none that works is so slow, and one that is has lost its hosts anyway."""
_OUTSIDE_SECONDS = 900.0
"""The same where an outside system works meanwhile: longer than our deadlines for one record."""
_MIGRATION_LOCK = 0x7261636B  # "rack": one number that all starters of Rackrise agree on


def is_passing(error: BaseException) -> bool:
    """Whether a database's refusal is worth another try: it is away or full, or two collided."""
    if not isinstance(error, DBAPIError):
        # A connection that cannot be made is not wrapped by SQLAlchemy.
        return isinstance(error, OSError | PoolTimeout | asyncpg.PostgresError)
    code = getattr(error.orig, "sqlstate", None) or ""
    lost = isinstance(error, OperationalError | InterfaceError)
    return code.startswith(_PASSING) or lost or error.connection_invalidated


def cannot_hold(error: DBAPIError) -> bool:
    """Whether a value that was given is one that no column holds: NUL in a text, too big a number.

    Some the server refuses, others asyncpg does before it asks.
    """
    code = getattr(error.orig, "sqlstate", None) or ""
    unsent = isinstance(getattr(error.orig, "__cause__", None), asyncpg.DataError)
    return code in _UNHELD or unsent


def _async_url(url: str) -> sa.URL:
    return make_url(url).set(drivername="postgresql+asyncpg")


def plain_url(url: str) -> str:
    """The URL as PostgreSQL's own programs and asyncpg read it, without SQLAlchemy's driver."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _given_up_after(idle_seconds: float) -> dict[str, dict[str, str]]:
    """For asyncpg: what the server is told of the connection."""
    return {"server_settings": {_IDLE: _milliseconds(idle_seconds)}}


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


def make_engine(
    url: str, *, pool_size: int = 10, idle_seconds: float = _IDLE_SECONDS
) -> AsyncEngine:
    """Make an engine; it connects when it is first used.

    Args:
        url: ``postgresql://…`` or ``postgresql+asyncpg://…``; ``?host=/directory`` for a socket.
        pool_size: connections kept; as many again are opened for a moment's need.
        idle_seconds: after which a transaction in which nothing is asked is given up, with its
            connection.
    """
    return create_async_engine(
        _async_url(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        # A database that was restarted must not fail the next callback of every pooled connection.
        pool_pre_ping=True,
        # The models keep addresses as text, as the wire formats do.
        native_inet_types=False,
        connect_args=_given_up_after(idle_seconds),
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
    engine = create_async_engine(
        _async_url(url), poolclass=NullPool, connect_args=_given_up_after(_IDLE_SECONDS)
    )
    try:
        async with engine.begin() as connection:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


async def wait_outside(session: AsyncSession) -> None:
    """Let a transaction idle, and keep its locks, for as long as an outside system may take.

    Args:
        session: the transaction; the next one of its connection is as short as any.
    """
    milliseconds = _milliseconds(_OUTSIDE_SECONDS)
    await session.exec(select(sa.func.set_config(_IDLE, milliseconds, True)))


async def notify(session: AsyncSession, channel: str, said: str = "") -> None:
    """Wake whoever listens on a channel, when the transaction is committed."""
    await session.exec(select(sa.func.pg_notify(channel, said)))
