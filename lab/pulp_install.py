"""What a Pulp of the lab is made of: programs from PyPI, a migrated database, settings.

Pulp's hundred packages would fight with ours over versions, so they never enter our environment.
Installing and migrating take a minute or two, so both are done once and kept in the cache.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]

from deployments.postgres import PostgresUrls, embedded_postgres, own_user
from lab.cache import Cache, key
from lab.namespace import run

__all__ = [
    "ADMIN_PASSWORD",
    "database_url",
    "pulp_database",
    "pulp_environment",
    "restored_database",
    "write_settings",
]

LOCK = Path(__file__).with_name("pulp.lock")
"""Exact versions with hashes, made from ``pulp.in``; its first lines say how."""

ADMIN_PASSWORD = "lab-only"
"""Of the user ``admin``; every Pulp of the lab starts from the same database."""

_SETTINGS = """\
SECRET_KEY = {secret!r}
DB_ENCRYPTION_KEY = {key!r}
DATABASES = {{
    "default": {{
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "pulp",
        "USER": "postgres",
        "HOST": {database!r},
    }}
}}
CONTENT_ORIGIN = {content_origin!r}
REDIS_URL = {redis!r}
CACHE_ENABLED = {cached!r}
ANALYTICS = False
WORKER_TTL = {worker_ttl!r}
DEPLOY_ROOT = {home!r}
MEDIA_ROOT = {home!r} + "/media"
STATIC_ROOT = {home!r} + "/assets"
WORKING_DIRECTORY = {home!r} + "/work"
FILE_UPLOAD_TEMP_DIR = {home!r} + "/upload"
"""


async def pulp_environment(cache: Cache) -> Path:
    """A virtual environment with pulpcore and pulp-rpm, installed on first use.

    It was moved after the installation, so that the first lines of its scripts name no interpreter
    that there is: run them as ``bin/python bin/SCRIPT``.

    Raises:
        RuntimeError: pip failed; the message holds what it printed.
    """
    return await cache.product("pulp-venv", key(LOCK, sys.version), _install, deadline=1800)


async def _install(directory: Path) -> None:
    # Some packages come as source only: they are built with the lock's setuptools, and not with
    # whatever is the newest today.
    pinned = re.search(r"^setuptools==.*?(?=^    # via|^\S*==|\Z)", LOCK.read_text(), re.M | re.S)
    if pinned is None:
        raise RuntimeError(f"{LOCK} does not pin setuptools")
    builder = directory / "setuptools.lock"
    builder.write_text(pinned[0])
    await run(sys.executable, "-m", "venv", "--without-pip", str(directory))
    python = str(directory / "bin" / "python")
    for lock in (builder, LOCK):
        await run(
            sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
            "--no-compile", "--no-build-isolation", "--require-hashes", "-r", str(lock),
            deadline=900,
        )  # fmt: skip


def database_url(urls: PostgresUrls) -> str:
    """Where Pulp's database is on a server of ours."""
    return urls.rackrise.replace("/rackrise?", "/pulp?")


def write_settings(
    home: Path,
    *,
    database: Path,
    content_origin: str,
    redis: Path | None = None,
    worker_ttl: int = 30,
) -> dict[str, str]:
    """Write an instance's settings.

    Args:
        home: its directory.
        database: the directory of PostgreSQL's socket.
        content_origin: start of every URL of content, without a slash at the end.
        redis: socket of the cache; None: no cache.
        worker_ttl: seconds without a heartbeat after which a worker counts as missing.

    Returns:
        The environment by which Pulp's programs find them.
    """
    for directory in ("media", "assets", "work", "upload"):
        (home / directory).mkdir()
    secret_file = home / "database.key"
    secret_file.write_bytes(base64.b64encode(os.urandom(32)))
    file = home / "settings.py"
    file.write_text(
        _SETTINGS.format(
            secret=secrets.token_urlsafe(50),
            key=str(secret_file),
            database=str(database),
            content_origin=content_origin,
            redis=f"unix://{redis}" if redis else "",
            cached=redis is not None,
            worker_ttl=worker_ttl,
            home=str(home),
        )
    )
    return {
        "PULP_SETTINGS": str(file),
        "DJANGO_SETTINGS_MODULE": "pulpcore.app.settings",
        # Whatever ours is: without compiled files a start costs twice the time.
        "PYTHONDONTWRITEBYTECODE": "",
    }


@contextmanager
def restored_database(migrated: Path | None = None) -> Iterator[Path]:
    """A directory for ``embedded_postgres``, with a copy of a migrated database in it.

    Args:
        migrated: from ``pulp_database``; None: empty.
    """
    # As root PostgreSQL is another user, who sees nothing below /tmp or a root's home.
    below = "/var/lib" if os.geteuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix="rackrise-pulp-", dir=below))
    try:
        if migrated:
            shutil.copytree(migrated / "data", home / "data")
            if os.geteuid() == 0:
                user = own_user()
                for path in (home / "data", *(home / "data").rglob("*")):
                    shutil.chown(path, user)
        yield home
    finally:
        shutil.rmtree(home)


async def pulp_database(cache: Cache, environment: Path) -> Path:
    """A migrated database with its administrator, as a copy of PostgreSQL's data directory.

    Raises:
        RuntimeError: Pulp could not migrate; the message holds what it printed.
    """

    async def build(directory: Path) -> None:
        with restored_database() as home, tempfile.TemporaryDirectory() as scratch:
            async with embedded_postgres(home, durable=False) as urls:
                await _make_database(urls)
                settings = write_settings(
                    Path(scratch), database=urls.socket_directory, content_origin="http://lab"
                )
                manager = [
                    "env", *(f"{name}={value}" for name, value in settings.items()),
                    str(environment / "bin" / "python"),
                    str(environment / "bin" / "pulpcore-manager"),
                ]  # fmt: skip
                await run(*manager, "migrate", "--noinput", deadline=600)
                await run(*manager, "reset-admin-password", "--password", ADMIN_PASSWORD)
            shutil.copytree(home / "data", directory / "data")

    made_from = key(LOCK, sys.version, version("embedded-postgres"), ADMIN_PASSWORD)
    return await cache.product("pulp-database", made_from, build, deadline=1200)


async def _make_database(urls: PostgresUrls) -> None:
    connection = await asyncpg.connect(urls.rackrise)
    try:
        # A migration leaves a quarter of a gigabyte of log, which every copy would carry.
        for setting in ("min_wal_size", "max_wal_size"):
            await connection.execute(f"ALTER SYSTEM SET {setting} = '32MB'")
        await connection.execute("ALTER SYSTEM SET full_page_writes = off")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.execute("CREATE DATABASE pulp")
    finally:
        await connection.close()
