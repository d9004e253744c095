"""How databases are written out and read in: ``pg_dump`` and ``pg_restore``, no password shown.

Passwords go to the programs in their environment, which only their own user can read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy.engine import make_url

from deployments.postgres import client_programs
from inventory.database import plain_url

__all__ = ["BackupError", "ask", "dump", "load", "named", "require_readable", "with_name"]

_CHUNK = 1 << 20
_SAID = 2000
_FROM_QUERY = {
    "host": "PGHOST",
    "port": "PGPORT",
    "sslmode": "PGSSLMODE",
    "ssl": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "passfile": "PGPASSFILE",
}


class BackupError(RuntimeError):
    """A backup is not made, or not restored; the message says why, and that nothing is lost."""


def named(url: str) -> str:
    """The database's name in a URL."""
    return make_url(url).database or "postgres"


def with_name(url: str, name: str) -> str:
    """The same server's database with another name."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)


async def ask(url: str, query: str, *arguments: object) -> list[asyncpg.Record]:
    """Rows of a database.

    Raises:
        BackupError: it does not answer.
    """
    try:
        connection = await asyncpg.connect(plain_url(url), timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise BackupError(f"the database {named(url)} does not answer: {error}") from error
    try:
        return list(await connection.fetch(query, *arguments))
    finally:
        await connection.close()


def dump(url: str, server: int, take: Callable[[bytes], object]) -> None:
    """Give a consistent image of a database, part by part.

    Args:
        url: which.
        server: the first part of the server's version.
        take: gets the parts.

    Raises:
        BackupError: with what ``pg_dump`` said.
    """
    command = [_program("pg_dump", server), "--format=custom", "--no-password"]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=_environment(url)
        ) as process,
    ):
        out = cast(IO[bytes], process.stdout)
        try:
            while part := out.read(_CHUNK):
                take(part)
        except BaseException:
            process.kill()
            raise
        _require_done("pg_dump", process.wait(), errors)


def load(url: str, server: int, source: IO[bytes]) -> None:
    """Read a dump into an empty database: all of it, or nothing.

    Raises:
        BackupError: with what ``pg_restore`` said.
    """
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    to = ["--no-password", f"--dbname={named(url)}"]
    _fed([_program("pg_restore", server), *options, *to], source, _environment(url))


def require_readable(server: int, source: IO[bytes]) -> None:
    """See that ``pg_restore`` reads a dump to its end.

    Raises:
        BackupError: with what it said.
    """
    program = _program("pg_restore", server)
    _fed([program, "--list"], source, dict(os.environ))
    source.seek(0)
    # The list stands at the beginning: only whoever reads everything knows that all is there.
    _fed([program, f"--file={os.devnull}"], source, dict(os.environ))


def _fed(command: list[str], source: IO[bytes], environment: dict[str, str]) -> None:
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment,
        ) as process,
    ):
        into = cast(IO[bytes], process.stdin)
        try:
            # One that stops reading has read enough, or says why it has not.
            with suppress(BrokenPipeError):
                shutil.copyfileobj(source, into, _CHUNK)
            with suppress(BrokenPipeError):
                into.close()
        except BaseException:
            process.kill()
            raise
        _require_done(Path(command[0]).name, process.wait(), errors)


def _require_done(program: str, code: int, errors: IO[bytes]) -> None:
    if code != 0:
        errors.seek(0)
        told = errors.read().decode(errors="replace").strip()[-_SAID:]
        raise BackupError(f"{program} failed ({code}): {told or 'it said nothing'}")


def _environment(url: str) -> dict[str, str]:
    parsed = make_url(url)
    found = {
        "PGHOST": parsed.host,
        "PGPORT": str(parsed.port) if parsed.port else None,
        "PGUSER": parsed.username,
        "PGPASSWORD": parsed.password,
        "PGDATABASE": parsed.database,
    }
    for name, variable in _FROM_QUERY.items():
        value = parsed.query.get(name)
        if isinstance(value, str):
            found[variable] = value
    told = {name: value for name, value in found.items() if value}
    return {**os.environ, **told, "LC_ALL": "C"}


def _program(name: str, server: int) -> str:
    """Ours, where it is not older than the server; else one of the system's that is not.

    Raises:
        BackupError: there is none.
    """
    found = [client_programs() / name, *(Path(one) for one in [shutil.which(name)] if one)]
    for one in found:
        if _major(one) >= server:
            return str(one)
    raise BackupError(
        f"the server is PostgreSQL {server}, and no {name} here is as new: install it"
    )


def _major(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"\) (\d+)", said.stdout)
    return int(version[1]) if version else 0
