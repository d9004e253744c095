"""A PostgreSQL of its own for each test run, and an empty inventory in it for each test."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import httpx
import pytest
from sqlmodel import SQLModel

from deployments.postgres import PostgresUrls, running_postgres
from inventory import models  # noqa: F401  the tables enter the metadata by being imported
from inventory.database import Sessions, make_engine, make_sessions, migrate

pytest_plugins = ["tests.skips"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """What tests may be asked for beside their verdict."""
    parser.addoption(
        "--screenshots",
        action="store_true",
        help="put the pictures of the console that tests take into docs/screenshots",
    )


@dataclass(frozen=True)
class Database:
    """An empty inventory."""

    url: str
    sessions: Sessions


@contextmanager
def data_directory() -> Iterator[Path]:
    """A directory for a server's data; as root it lies below the system's state directory."""
    below = "/var/lib" if os.geteuid() == 0 else None
    directory = Path(tempfile.mkdtemp(prefix=f"rackrise-test-{os.getpid()}-", dir=below))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresUrls]:
    """A running server for the whole test run."""
    with data_directory() as data, running_postgres(data, durable=False) as urls:
        yield urls


@pytest.fixture(scope="session")
def migrated(postgres: PostgresUrls) -> str:
    """URL of the database with the newest shape, for the fixtures below."""
    asyncio.run(migrate(postgres.rackrise))
    return postgres.rackrise


@pytest.fixture
async def database(migrated: str) -> AsyncIterator[Database]:
    """An empty inventory: tables emptied before the test, so that a failed one can be looked at."""
    tables = [f'"{table.name}"' for table in reversed(SQLModel.metadata.sorted_tables)]
    connection = await asyncpg.connect(migrated)
    # For a few rows seventy times as fast as TRUNCATE.
    await connection.execute("; ".join(f"DELETE FROM {table}" for table in tables))
    await connection.execute(
        "SELECT setval(oid, 1, false) FROM pg_class "
        "WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"
    )
    await connection.close()
    engine = make_engine(migrated, pool_size=50)
    yield Database(migrated, make_sessions(engine))
    await engine.dispose()


@pytest.fixture(scope="session")
def prefect_api(postgres: PostgresUrls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server on the test run's PostgreSQL; its start takes some ten seconds."""
    # Here, because it takes seconds that tests without Prefect need not pay.
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_LOGGING_TO_API_ENABLED,
        temporary_settings,
    )

    from deployments.up import PREFECT_SETTINGS, PREFECT_START_SECONDS

    home = tmp_path_factory.mktemp("prefect")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        **PREFECT_SETTINGS,
        "PREFECT_HOME": str(home),
        "PREFECT_API_DATABASE_CONNECTION_URL": postgres.prefect,
    }
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}/api"
    try:
        end = time.monotonic() + PREFECT_START_SECONDS
        while True:
            try:
                if httpx.get(f"{url}/health").status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            if server.poll() is not None or time.monotonic() > end:
                pytest.fail(f"Prefect's server: {(home / 'server.log').read_text()[-2000:]}")
            time.sleep(0.2)
        with temporary_settings({PREFECT_API_URL: url, PREFECT_LOGGING_TO_API_ENABLED: False}):
            yield url
    finally:
        server.terminate()
        server.wait(30)
