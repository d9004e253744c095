"""Makes a site from a backup, or nothing at all: ``rackrise restore``.

A backup is read into new databases, which take the places of the old ones in one transaction when
they are whole. The old ones stay beside them unless they were empty.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]
import prefect
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import SQLModel

from deployments.archive import INVENTORY, PREFECT, TOKEN_KEY, Archive, Manifest, opened
from deployments.backup import Databases, Source, is_embedded, reached, server_of
from deployments.dumping import BackupError, ask, load, named, with_name
from deployments.postgres import PostgresError, embedded_postgres
from inventory import models  # noqa: F401  the tables enter the metadata by being imported
from inventory.database import knows_shape, migrate, newest_shape, plain_url

__all__ = ["restore"]

_LOCK = 0x72657374  # "rest": one restore at a time on a server
_PREFECT_REVISIONS = "server/database/_migrations/versions/postgresql"


@dataclass(frozen=True)
class _Fresh:
    """A database that was read in, and the one whose place it takes."""

    url: str
    name: str
    place: str
    aside: str
    keeps_old: bool


async def restore(file: Path, target: Source, *, force: bool = False) -> list[str]:
    """Put a site where it was, or where there was none.

    Args:
        file: from ``backup``.
        target: where to.
        force: also where something is; it stays beside what is restored.

    Returns:
        What was done and what is to be known of it, a sentence each.

    Raises:
        BackupError: nothing was changed, and why.
    """
    with opened(file) as archive:
        _require_known(archive.manifest)
        async with _emptied(target) as databases:
            return await _restore(archive, target, databases, force=force)


async def _restore(
    archive: Archive, target: Source, databases: Databases, *, force: bool
) -> list[str]:
    server = await server_of(databases.rackrise)
    async with _maintenance(databases.rackrise) as boss:
        await _require_quiet(boss, databases)
        stamp = datetime.now(UTC).strftime("%Y%m%dt%H%M%S")
        made: list[_Fresh] = []
        try:
            for part, url in ((INVENTORY, databases.rackrise), (PREFECT, databases.prefect)):
                if url is None or part not in archive:
                    continue
                used = await _is_used(url, part)
                if used and not force:
                    raise BackupError(
                        f"the database {named(url)} is not empty; --force puts the backup in its "
                        "place, and keeps it beside"
                    )
                made.append(await _created(boss, url, stamp, keeps_old=used))
                await asyncio.to_thread(_load, archive, part, made[-1].url, server)
            await migrate(made[0].url)
            await _bury_workers(made[0].url)
            key = _key_aside(archive, target.data)
            await _swap(boss, made)
        except BaseException as error:
            for one in made:
                # The next restore takes away what cannot be taken away now.
                with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    await boss.execute(f'DROP DATABASE IF EXISTS "{one.name}" WITH (FORCE)')
            if isinstance(error, asyncpg.PostgresError | SQLAlchemyError | OSError):
                raise BackupError(f"nothing was changed: {error}") from error
            raise
        key_told = _put_key(key, target, stamp)
        for one in made:
            if not one.keeps_old:
                await boss.execute(f'DROP DATABASE "{one.aside}"')
    return [*_told(archive, databases, made), *key_told]


def _load(archive: Archive, part: str, url: str, server: int) -> None:
    with archive.read(part) as dumped:
        load(url, max(server, archive.manifest.server), dumped)


def _told(archive: Archive, databases: Databases, made: list[_Fresh]) -> list[str]:
    manifest = archive.manifest
    told = [f"the inventory is as it was at {manifest.made_at}"]
    if PREFECT in archive and databases.prefect is None:
        told.append("Prefect's database was not restored: set PREFECT_API_DATABASE_CONNECTION_URL")
    if PREFECT not in archive:
        told.append("Prefect's database was not in the backup: credentials must be kept anew")
    told += [
        f"what was there before is the database {one.aside}: drop it when nobody misses it"
        for one in made
        if one.keeps_old
    ]
    return [*told, "of what was changed outside since then the inventory knows nothing"]


@asynccontextmanager
async def _emptied(target: Source) -> AsyncIterator[Databases]:
    """The databases to restore into: our own server is started, and must not run for others."""
    if not is_embedded(target):
        async with reached(target) as databases:
            yield databases
        return
    try:
        target.data.mkdir(mode=0o755, parents=True, exist_ok=True)
        async with embedded_postgres(target.data / "postgres") as urls:
            yield Databases(urls.rackrise, urls.prefect)
    except (PostgresError, OSError) as error:
        raise BackupError(str(error)) from error


@asynccontextmanager
async def _maintenance(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the server that is in none of the databases.

    Raises:
        BackupError: it does not answer, or another restore is at work.
    """
    try:
        boss = await asyncpg.connect(plain_url(with_name(url, "postgres")), timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise BackupError(f"the server's database postgres does not answer: {error}") from error
    try:
        if not await boss.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            raise BackupError("another restore is at work on this server")
        yield boss
    finally:
        await boss.close()


async def _require_quiet(boss: asyncpg.Connection, databases: Databases) -> None:
    """See that no program is at work, and take away what a restore that was killed has left."""
    names = [named(one) for one in (databases.rackrise, databases.prefect) if one]
    open_now = await boss.fetch(
        "SELECT datname, count(*) FROM pg_stat_activity WHERE datname = ANY($1) GROUP BY 1", names
    )
    if open_now:
        listed = ", ".join(f"{name} has {count}" for name, count in open_now)
        raise BackupError(f"programs are connected ({listed}): stop gateways, workers and Prefect")
    await _require_no_leases(databases.rackrise)
    for name in names:
        left = await boss.fetch(
            "SELECT datname FROM pg_database WHERE datname ~ $1", f"^{re.escape(name)}_restoring_"
        )
        for row in left:
            await boss.execute(f'DROP DATABASE "{row[0]}" WITH (FORCE)')


async def _require_no_leases(url: str) -> None:
    try:
        rows = await ask(url, "SELECT name FROM workerlease WHERE until > now()")
    except asyncpg.UndefinedTableError:
        return
    if rows:
        listed = ", ".join(row[0] for row in rows)
        raise BackupError(
            f"these workers live, or lived half a minute ago: {listed}; stop them, and try again"
        )


async def _is_used(url: str, part: str) -> bool:
    """Whether a database holds what somebody could miss."""
    names = [table.name for table in SQLModel.metadata.sorted_tables if table.name != "workerlease"]
    if part == PREFECT:
        names = ["flow_run", "block_document", "deployment"]
    there = await ask(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for name in {row[0] for row in there} & set(names):
        if await ask(url, f'SELECT 1 FROM "{name}" LIMIT 1'):  # noqa: S608 our own names
            return True
    return False


async def _created(boss: asyncpg.Connection, url: str, stamp: str, *, keeps_old: bool) -> _Fresh:
    place = named(url)
    name = f"{place}_restoring_{uuid4().hex[:8]}"
    await boss.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    return _Fresh(with_name(url, name), name, place, f"{place}_before_{stamp}", keeps_old)


async def _bury_workers(url: str) -> None:
    """No worker of the old world lives: whoever comes takes over its claims, as after a crash."""
    await ask(url, "DELETE FROM workerlease")


async def _swap(boss: asyncpg.Connection, made: list[_Fresh]) -> None:
    try:
        async with boss.transaction():
            for one in made:
                await boss.execute(f'ALTER DATABASE "{one.place}" RENAME TO "{one.aside}"')
                await boss.execute(f'ALTER DATABASE "{one.name}" RENAME TO "{one.place}"')
    except asyncpg.ObjectInUseError as error:
        raise BackupError(f"a program has connected meanwhile: {error}; nothing changed") from error


def _key_aside(archive: Archive, data: Path) -> Path | None:
    """The key, written beside its place, so that only a rename is left to be done."""
    if TOKEN_KEY not in archive:
        return None
    aside = data / f"{TOKEN_KEY}.restoring"
    data.mkdir(mode=0o755, parents=True, exist_ok=True)
    aside.unlink(missing_ok=True)
    with archive.read(TOKEN_KEY) as key:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(key.read())
            out.flush()
            os.fsync(out.fileno())
    return aside


def _put_key(aside: Path | None, target: Source, stamp: str) -> list[str]:
    place = target.data / TOKEN_KEY
    if aside is None:
        return ["the key of the builds' tokens was not in the backup: open builds begin anew"]
    try:
        if place.exists() and place.read_bytes().strip() != aside.read_bytes().strip():
            place.rename(place.with_name(f"{TOKEN_KEY}.before-{stamp}"))
        aside.rename(place)
    except OSError as error:
        raise BackupError(
            f"the databases are restored, but the key is not: move {aside} to {place} ({error})"
        ) from error
    if is_embedded(target):
        return []
    return [f"workers that are started by hand need RACKRISE_TOKEN_KEY as it stands in {place}"]


def _require_known(manifest: Manifest) -> None:
    """Refuse what is newer than this program: nobody here knows how to go back."""
    if not knows_shape(manifest.revision):
        raise BackupError(
            f"the backup was made by a newer Rackrise ({manifest.rackrise}, tables of "
            f"{manifest.revision}); this one knows up to {newest_shape()}: update it"
        )
    wanted = manifest.prefect_revision
    versions = Path(prefect.__file__).parent / _PREFECT_REVISIONS
    if (
        wanted
        and versions.is_dir()
        and not any(_names(one, wanted) for one in versions.glob("*.py"))
    ):
        raise BackupError(
            f"the backup is of a newer Prefect (tables of {wanted}) than {prefect.__version__}: "
            "update it"
        )


def _names(script: Path, revision: str) -> bool:
    return re.search(rf"^revision = [\"']{revision}[\"']", script.read_text(), re.M) is not None
