"""A real Pulp: API, content app and workers, with a PostgreSQL and a Redis of their own.

Database and cache are reached over unix sockets, so that only two TCP ports are taken and a lab's
network namespace is no obstacle.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import httpx
from pydantic import SecretStr

from deployments.postgres import embedded_postgres
from integrations.errors import Unavailable
from integrations.pulp import Pulp, PulpSettings
from lab.cache import Cache
from lab.namespace import Namespace
from lab.process import Running, free_port, running, until
from lab.pulp_install import (
    ADMIN_PASSWORD,
    database_url,
    pulp_database,
    pulp_environment,
    restored_database,
    write_settings,
)
from lab.reach import reach

__all__ = ["API_PORT", "CONTENT_PORT", "PulpServer", "pulp"]

API_PORT, CONTENT_PORT = 24817, 24816
"""Pulp's own choice, used inside a namespace; on the host's loopback any that are free."""

_GUNICORN = ("--no-control-socket", "--graceful-timeout", "1", "--timeout", "90", "--workers")


@dataclass(frozen=True)
class _Programs:
    """How this instance's programs are run."""

    python: Path
    directory: Path
    env: Mapping[str, str]
    inside: Namespace | None

    def command(self, script: str, *arguments: str) -> list[str]:
        command = [str(self.python), str(self.python.with_name(script)), *arguments]
        return self.inside.command(*command) if self.inside else command


@dataclass
class PulpServer:
    """A running Pulp and the handles to break it.

    Args:
        url: of the API, in the network that it serves.
        content_url: of the content app, likewise, with its prefix.
        here: the API as this process reaches it, also when Pulp lives in a namespace.
        database: its PostgreSQL, to do at once what takes Pulp itself minutes or weeks.
    """

    url: str
    content_url: str
    here: str
    database: str
    _programs: _Programs
    _processes: AsyncExitStack
    workers: list[Running] = field(default_factory=list)
    _content: AsyncExitStack = field(default_factory=AsyncExitStack)

    def settings(self, **changes: object) -> PulpSettings:
        """How its administrator reaches it from this process."""
        admin = {"user": "admin", "password": SecretStr(ADMIN_PASSWORD)}
        return PulpSettings.model_validate({"url": self.here, **admin, **changes})

    async def start_worker(self) -> Running:
        """Add a worker; it takes tasks after some seconds."""
        worker = await self._processes.enter_async_context(
            running(
                "pulpcore-worker",
                self._programs.command("pulpcore-worker"),
                log=self._programs.directory / "workers.log",
                env=dict(self._programs.env),
            )
        )
        self.workers.append(worker)
        return worker

    async def kill_worker(self, worker: Running) -> str:
        """End a worker and the task that it runs, as a power cut would.

        Returns:
            The name that Pulp knows it by.
        """
        task = _children(worker.pid)
        await worker.kill()
        for pid in task:
            os.kill(pid, signal.SIGKILL)
        self.workers.remove(worker)
        return f"{worker.pid}@{socket.gethostname()}"

    async def give_up(self, worker: str) -> None:
        """Do now what other workers do within 100 to 1000 s of a worker's death.

        They drop its row and with it its hold of the task, which then fails (contract, section 4).
        """
        row = "(SELECT pulp_id FROM core_appstatus WHERE name = $1)"
        async with _connected(self.database) as connection:
            await connection.execute(
                f"UPDATE core_task SET app_lock_id = NULL WHERE app_lock_id = {row}", worker
            )
            await connection.execute("DELETE FROM core_appstatus WHERE name = $1", worker)
            await connection.execute("SELECT pg_notify('pulp_worker_wakeup', 'unblock')")

    async def expire_logins(self) -> None:
        """End all logins, as two weeks would."""
        async with _connected(self.database) as connection:
            await connection.execute("DELETE FROM django_session")

    async def start_content(self) -> None:
        """Start the content app, also again after ``stop_content``."""
        url = httpx.URL(self.content_url)
        log = self._programs.directory / "content.log"
        log.unlink(missing_ok=True)  # a line of an earlier run must not pass for readiness

        async def listens() -> bool:
            return "Listening at" in log.read_text(errors="replace")

        options = ("--bind", f"{url.host}:{url.port}", "--access-logfile", str(self._access_log))
        await self._content.enter_async_context(
            running(
                "pulpcore-content",
                self._programs.command("pulpcore-content", *options, *_GUNICORN, "1"),
                log=log,
                env=dict(self._programs.env),
                ready=listens,
                deadline=120,
            )
        )

    def sent(self) -> list[str]:
        """Files that the content app was asked for and had, by path below its prefix."""
        prefix = httpx.URL(self.content_url).path
        asked = re.findall(r'"GET (\S+) HTTP/1\.1" 20[06] ', self._access_log.read_text())
        return [path.removeprefix(prefix) for path in asked if path.startswith(prefix)]

    def spoil(self, sha256: str) -> None:
        """Change a file on Pulp's disk behind its back, as a bad disk would."""
        file = self._programs.directory / "media" / "artifact" / sha256[:2] / sha256[2:]
        file.write_bytes(bytes(file.stat().st_size))

    @property
    def _access_log(self) -> Path:
        return self._programs.directory / "content-access.log"

    async def stop_content(self) -> None:
        """End the content app: its port then refuses connections."""
        await self._content.aclose()


@asynccontextmanager
async def pulp(
    directory: Path,
    *,
    inside: Namespace | None = None,
    cache: Cache | None = None,
    workers: int = 1,
    worker_ttl: int = 30,
) -> AsyncIterator[PulpServer]:
    """Run a Pulp while the block lasts.

    The first one on a machine installs its programs and migrates a database, in a minute or two;
    both are kept in the cache.

    Args:
        directory: empty; gets content, settings and logs.
        inside: the network to serve; None: the host's loopback.
        cache: of programs and database.
        workers: how many run tasks.
        worker_ttl: seconds without a heartbeat after which a worker counts as missing.

    Raises:
        RuntimeError: one of its programs ended, or was not ready in time; with what it printed.
    """
    cache = cache or Cache()
    environment = await pulp_environment(cache)
    migrated = await pulp_database(cache, environment)
    async with AsyncExitStack() as stack:
        home = stack.enter_context(restored_database(migrated))
        urls = await stack.enter_async_context(embedded_postgres(home, durable=False))
        redis = await stack.enter_async_context(_redis(directory))
        host = inside.address if inside else "127.0.0.1"
        api, content = (API_PORT, CONTENT_PORT) if inside else (free_port(), free_port())
        env = write_settings(
            directory,
            database=urls.socket_directory,
            content_origin=f"http://{host}:{content}",
            redis=redis,
            worker_ttl=worker_ttl,
        )
        url = here = f"http://{host}:{api}"
        if inside:
            here = f"http://127.0.0.1:{await stack.enter_async_context(reach(inside, api, host))}"
        server = PulpServer(
            url=url,
            content_url=f"http://{host}:{content}/pulp/content/",
            here=here,
            database=database_url(urls),
            _programs=_Programs(environment / "bin" / "python", directory, env, inside),
            _processes=await stack.enter_async_context(AsyncExitStack()),
        )
        stack.push_async_callback(server.stop_content)
        for _ in range(workers):
            await server.start_worker()
        command = server._programs.command("pulpcore-api", "--bind", f"{host}:{api}", *_GUNICORN)
        await server._processes.enter_async_context(
            running("pulpcore-api", [*command, "2"], log=directory / "api.log", env=env)
        )
        await server.start_content()
        async with Pulp(PulpSettings(url=here, timeout=10)) as client:
            ready = partial(_is_ready, client, workers)
            await until(ready, what="Pulp is ready", deadline=180, every=0.2)
        yield server


@asynccontextmanager
async def _redis(directory: Path) -> AsyncIterator[Path]:
    """Run the cache; its socket lies in a directory of its own, because long paths are refused."""
    with tempfile.TemporaryDirectory(prefix="pulp-redis-") as short:
        at = Path(short) / "socket"

        async def listens() -> bool:
            return at.exists()

        options = ["--port", "0", "--unixsocket", str(at), "--save", "", "--appendonly", "no"]
        async with running(
            "redis-server",
            ["redis-server", *options],
            log=directory / "redis.log",
            ready=listens,
            cwd=Path(short),
        ):
            yield at


@asynccontextmanager
async def _connected(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    try:
        yield connection
    finally:
        await connection.close()


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def _is_ready(client: Pulp, workers: int) -> bool:
    try:
        status = await client.status()
    except Unavailable:
        return False
    return len(status.workers) >= workers and len(status.content_apps) > 0
