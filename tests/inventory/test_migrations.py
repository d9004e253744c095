from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import SQLModel

from deployments.postgres import PostgresUrls
from inventory.database import alembic_config, make_engine, migrate

# Of every table all that PostgreSQL itself knows; Alembic compares no check constraints.
SHAPE = sa.text("""
    SELECT 'column', format('%s.%s %s %s', table_name, column_name, data_type, is_nullable)
      FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL
    SELECT 'constraint', format('%s: %s', conrelid::regclass, pg_get_constraintdef(oid))
      FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'public'
""")


@pytest.fixture
async def empty(postgres: PostgresUrls) -> AsyncIterator[str]:
    engine = make_engine(postgres.rackrise)
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(sa.text("CREATE DATABASE empty"))
        yield postgres.rackrise.replace("/rackrise?", "/empty?")
        await connection.execute(sa.text("DROP DATABASE empty WITH (FORCE)"))
    await engine.dispose()


async def shape(connection: AsyncConnection) -> set[tuple[str, str]]:
    rows = await connection.execute(SHAPE)
    return {(kind, text) for kind, text in rows if "alembic_version" not in text}


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), SQLModel.metadata))


async def test_the_migrations_make_exactly_the_models(empty: str) -> None:
    await migrate(empty)
    engine = make_engine(empty)
    async with engine.begin() as connection:
        assert await connection.run_sync(differences) == []
        migrated = await shape(connection)
        await connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        await connection.execute(sa.text("CREATE SCHEMA public"))
        await connection.run_sync(SQLModel.metadata.create_all)
        assert migrated == await shape(connection)
    await engine.dispose()
    unique = [text for _, text in migrated if "UNIQUE INDEX" in text and " WHERE " in text]
    assert len(unique) == 3  # one open build, one live claim, one provisioning interface


async def test_starters_that_migrate_at_the_same_time_wait_for_each_other(empty: str) -> None:
    await asyncio.gather(*(migrate(empty) for _ in range(4)))
    await migrate(empty)


async def test_the_migrations_go_back_to_nothing(empty: str) -> None:
    await migrate(empty)
    engine = make_engine(empty)

    def downgrade(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    async with engine.begin() as connection:
        await connection.run_sync(downgrade)
        assert await shape(connection) == set()
    await engine.dispose()
