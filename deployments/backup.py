"""Keeps a site in one file while it runs: ``rackrise backup``.

Two databases share no snapshot. Prefect's is written out first, so that the inventory, which is the
record of truth, is the newer of the two: a run that it knows and Prefect does not is made anew.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy.engine import make_url

from deployments.archive import INVENTORY, PREFECT, TOKEN_KEY, Archive, Manifest, written
from deployments.dumping import BackupError, ask, dump, require_readable
from deployments.postgres import PostgresError, embedded_postgres, urls_in
from inventory.database import plain_url

__all__ = ["Databases", "Source", "backup", "is_embedded", "reached", "revision_of", "server_of"]


@dataclass(frozen=True)
class Source:
    """Where a site lies.

    Args:
        data: its data directory, as ``rackrise up`` has it.
        database: URL of an inventory elsewhere; None: in the data directory.
        prefect: URL of Prefect's database elsewhere; None: it is none of ours there.
        token_key: of workers that are started by hand; None: in the data directory.
    """

    data: Path
    database: str | None = None
    prefect: str | None = None
    token_key: str | None = None


@dataclass(frozen=True)
class Databases:
    """The two, as they are reached."""

    rackrise: str
    prefect: str | None


async def backup(file: Path, source: Source, *, force: bool = False) -> list[str]:
    """Write a site into a file, consistently, while everything runs.

    Returns:
        What is in it, a sentence each.

    Raises:
        BackupError: it was not made, and why; what was there is as it was.
    """
    async with reached(source) as databases:
        server = await server_of(databases.rackrise)
        manifest = Manifest(
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            rackrise=version("rackrise"),
            revision=await revision_of(databases.rackrise),
            prefect_revision=await _revision_of_prefect(databases.prefect),
            server=server,
        )
        if manifest.prefect_revision is None:
            databases = replace(databases, prefect=None)
        key = _token_key(source)
        size = await asyncio.to_thread(_write, file, databases, key, manifest, force)
    told = [f"{file}: {size} bytes, of the inventory at {manifest.revision}"]
    if databases.prefect is None:
        told.append(
            "Prefect's database is not in it, and so no credentials: none was named by "
            "PREFECT_API_DATABASE_CONNECTION_URL, or Prefect's server has never run on it"
        )
    if key is None:
        told.append("the key of the builds' tokens is not in it: set RACKRISE_TOKEN_KEY")
    return [*told, "it holds secrets, and only its owner may read it: keep it so"]


async def _revision_of_prefect(url: str | None) -> str | None:
    """None: Prefect's server has never run there, and there is nothing of it."""
    if url is None or not await ask(url, "SELECT 1 FROM pg_tables WHERE tablename = 'flow_run'"):
        return None
    return await revision_of(url)


def _write(
    file: Path, databases: Databases, key: bytes | None, manifest: Manifest, force: bool
) -> int:
    def check(archive: Archive) -> None:
        for name in (INVENTORY, PREFECT):
            if name in archive:
                with archive.read(name) as dumped:
                    require_readable(manifest.server, dumped)

    with written(file, force=force, check=check) as out:
        if databases.prefect is not None:
            out.add(PREFECT, partial(dump, databases.prefect, manifest.server))
        out.add(INVENTORY, partial(dump, databases.rackrise, manifest.server))
        if key is not None:
            out.add(TOKEN_KEY, lambda take: take(key))
        out.end(manifest)
    return file.stat().st_size


def _token_key(source: Source) -> bytes | None:
    if source.token_key is not None:
        return source.token_key.encode()
    try:
        return (source.data / TOKEN_KEY).read_bytes().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackupError(f"the key of the builds' tokens cannot be read: {error}") from error


def is_embedded(source: Source) -> bool:
    """Whether the databases are those of the data directory, however they were named."""
    if source.database is None:
        return True
    own = make_url(urls_in(source.data / "postgres").rackrise)
    return make_url(source.database).query.get("host") == own.query["host"]


@asynccontextmanager
async def reached(source: Source) -> AsyncIterator[Databases]:
    """The databases of a site, whose own server is started where nobody runs it.

    Raises:
        BackupError: there is none, or it does not start.
    """
    if not is_embedded(source):
        yield Databases(str(source.database), _own_kind(source.prefect))
        return
    home = source.data / "postgres"
    urls = urls_in(home)
    if await _answers(urls.rackrise):
        yield Databases(urls.rackrise, urls.prefect)
        return
    if not (home / "data" / "PG_VERSION").exists():
        raise BackupError(
            f"there is no database in {home}: give --data, or RACKRISE_DATABASE_URL for another one"
        )
    try:
        async with embedded_postgres(home) as started:
            yield Databases(started.rackrise, started.prefect)
    except PostgresError as error:
        raise BackupError(str(error)) from error


def _own_kind(prefect: str | None) -> str | None:
    """Prefect's, where it is PostgreSQL: nothing else can be written out here."""
    return prefect if prefect and prefect.startswith("postgres") else None


async def _answers(url: str) -> bool:
    socket = Path(str(make_url(url).query["host"])) / ".s.PGSQL.5432"
    try:
        if not stat.S_ISSOCK(os.stat(socket).st_mode):
            return False
        connection = await asyncpg.connect(plain_url(url), timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True


async def server_of(url: str) -> int:
    """The first part of the server's version.

    Raises:
        BackupError: it does not answer.
    """
    rows = await ask(url, "SELECT current_setting('server_version_num')::int / 10000")
    return int(rows[0][0])


async def revision_of(url: str) -> str:
    """The shape of a database's tables, as Alembic calls it.

    Raises:
        BackupError: there is none: it is no database of Rackrise or of Prefect.
    """
    try:
        rows = await ask(url, "SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        rows = []
    if not rows:
        raise BackupError("there is nothing to back up: the database has no tables of Rackrise yet")
    return str(rows[0][0])
