"""Servers of the lab as foreground processes: started, probed until they answer, ended by id."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Running", "free_port", "running", "until"]


async def until(
    probe: Callable[[], Awaitable[bool]], *, what: str, deadline: float, every: float = 0.05
) -> None:
    """Wait until a probe says yes.

    Raises:
        TimeoutError: it did not within ``deadline`` seconds; the message says what was awaited.
    """
    clock = asyncio.get_running_loop().time
    end = clock() + deadline
    while not await probe():
        if clock() > end:
            raise TimeoutError(f"{what}: not within {deadline:g} s")
        await asyncio.sleep(every)


@dataclass
class Running:
    """A server that was started: its process and the file that holds what it prints."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def pid(self) -> int:
        """The server's own process id."""
        return self.process.pid

    def tail(self, lines: int = 15) -> str:
        """The last lines that it printed, for error messages."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def stop(self, grace: float = 5) -> None:
        """End it: SIGTERM, then SIGKILL after ``grace`` seconds."""
        if self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(grace):
                await self.process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self.process.returncode is None:
            os.kill(self.pid, signal.SIGKILL)
            await self.process.wait()


@asynccontextmanager
async def running(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    ready: Callable[[], Awaitable[bool]] | None = None,
    deadline: float = 20,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> AsyncIterator[Running]:
    """Run a server in the foreground while the block lasts.

    Args:
        name: what it is, for messages.
        command: the program and its arguments.
        log: file that takes what it prints (appended to).
        ready: asked until it says yes; a sleep is never readiness.
        deadline: seconds until it must be ready.
        env: added to this process' environment.
        cwd: its working directory.

    Raises:
        RuntimeError: it ended, or was not ready in time; the message holds its last lines.
    """
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
    server = Running(name, process, log)

    async def answers() -> bool:
        if process.returncode is not None:
            raise RuntimeError(f"{name} ended with {process.returncode}:\n{server.tail()}")
        return ready is None or await ready()

    try:
        try:
            await until(answers, what=f"{name} answers", deadline=deadline)
        except TimeoutError as error:
            raise RuntimeError(f"{error}; it printed:\n{server.tail()}") from error
        yield server
    finally:
        await server.stop()


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
