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
from sqlmodel import SQLModel, select

from deployments.postgres import PostgresUrls
from inventory import profiles, repositories
from inventory.builds import keep_token, token_hash
from inventory.database import alembic_config, make_engine, make_sessions, migrate
from inventory.models import Build, Callback, CallbackKind, HostGroup
from inventory.puppet import keep_report
from inventory.reports import Repository
from tests.inventory.world import discovered, later, make_candlepin, make_group, make_puppet

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
    assert (
        len(unique) == 4
    )  # open build, live claim, provisioning interface, unfinished wave of a host


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


def go(connection: Connection, to: str) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    (command.downgrade if to != "head" else command.upgrade)(config, to)


async def test_puppet_can_be_taken_back_and_brought_again_under_a_site_that_lives(
    empty: str,
) -> None:
    await migrate(empty)
    engine = make_engine(empty)
    sessions = make_sessions(engine)
    async with sessions.begin() as session:
        puppet = await make_puppet(session)
        await make_group(session, puppet_id=puppet.id, classes={"ntp": {}}, environment="testing")
    host, build = await discovered(sessions)
    async with sessions.begin() as session:
        assert await keep_report(session, host, "uuid", "body", source="main", at=later(1))
        session.add(
            Callback(
                kind=CallbackKind.BUILT,
                key="built",
                host_id=host.id,
                build_id=build.id,
                remote="192.0.2.20",
            )
        )

    async with engine.begin() as connection:
        await connection.run_sync(go, "0003")
        (has,) = await connection.execute(sa.text("SELECT puppet FROM hostgroup"))
        kinds = await connection.execute(sa.text("SELECT kind FROM callback"))
        assert (tuple(has), kinds.scalars().all()) == ((False,), ["built"])
        await connection.run_sync(go, "head")
    async with sessions() as session:
        group = (await session.exec(select(HostGroup))).one()
        assert (group.puppet_id, group.classes, group.environment) == (None, {}, "production")
        again = await session.get_one(Build, build.id)
        assert (again.certificate_hash, again.certificate_stale) == (None, False)
    await engine.dispose()


async def test_candlepin_can_be_taken_back_and_brought_again_under_a_site_that_lives(
    empty: str,
) -> None:
    await migrate(empty)
    engine = make_engine(empty)
    sessions = make_sessions(engine)
    async with sessions.begin() as session:
        candlepin = await make_candlepin(session, "https://candlepin.example.org/candlepin")
        await make_group(session, candlepin_id=candlepin.id, owner="ACME", activation_key="web")
    host, build = await discovered(sessions)
    repository = Repository(id="base", url="https://pulp.example.org/base")
    async with sessions.begin() as session:
        await keep_token(session, build, "token")
        await profiles.keep(session, host.id, "rpm", [{"name": "bash"}], later(1))
        for source in ("first_boot", "rhsm"):
            await repositories.keep(session, host.id, [repository], source=source, at=later(1))
    async with engine.begin() as connection:
        await connection.run_sync(go, "0004")
        (has,) = await connection.execute(sa.text("SELECT candlepin FROM hostgroup"))
        names = await connection.execute(sa.text("SELECT repository FROM reportedrepository"))
        assert (tuple(has), names.scalars().all()) == ((False,), ["base"])
        await connection.run_sync(go, "head")
    async with sessions() as session:
        group = (await session.exec(select(HostGroup))).one()
        assert (group.candlepin_id, group.owner, group.content_environments) == (None, None, [])
        (row,) = await repositories.of_host(session, host.id)
        assert row.name == "base"
        again = await session.get_one(Build, build.id)
        assert (again.registration_hash, again.token_hash) == (None, token_hash("token"))
    await engine.dispose()
