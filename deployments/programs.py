"""Child processes that are kept running, and ended in order: what ``rackrise up`` is made of."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx

__all__ = ["NotStarted", "Programs"]

_log = logging.getLogger(__name__)

STOP_SECONDS = 30.0
RESTART_SECONDS = 1.0
_PROBE_SECONDS = 0.1
_TAIL = 15


class NotStarted(RuntimeError):
    """A program does not start; says which, and why as far as that is known."""


class Programs:
    """Child processes, each with its log, started again when they end by themselves.

    Args:
        data: where the logs lie.
        inside: put before each command line.
        environment: of all of them, beside our own.
    """

    def __init__(self, data: Path, inside: Sequence[str], environment: Mapping[str, str]) -> None:
        self._data = data
        self._inside = inside
        self._environment = {**os.environ, **environment}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, name: str, command: Sequence[str]) -> None:
        """Start a program and keep it running."""
        self._running[name] = await self._spawn(name, command)
        self._keepers[name] = asyncio.create_task(self._keep(name, command), name=f"keep {name}")

    async def run(self, name: str, command: Sequence[str], deadline: float) -> None:
        """Run a program to its end.

        Raises:
            NotStarted: it failed, or took too long; the message holds its last lines.
        """
        process = await self._spawn(name, command)
        try:
            async with asyncio.timeout(deadline):
                code: int | None = await process.wait()
        except TimeoutError:
            code = None
        finally:
            if process.returncode is None:
                _kill(process)
                await process.wait()
        if code != 0:
            said = "ended with " + str(code) if code is not None else f"took over {deadline:g} s"
            raise NotStarted(f"{name} {said}; it says:\n{self._tail(name)}")

    def _tail(self, name: str) -> str:
        log = (self._data / f"{name}.log").read_text(errors="replace")
        return "\n".join(log.splitlines()[-_TAIL:])

    def ids(self) -> dict[str, int]:
        """Process ids as they are now."""
        return {name: process.pid for name, process in self._running.items()}

    async def answers(self, name: str, url: str, deadline: float) -> None:
        """Wait until a program answers on its URL."""
        async with httpx.AsyncClient(timeout=5) as http:

            async def probe() -> bool:
                try:
                    return (await http.get(url)).status_code == 200
                except httpx.HTTPError:
                    return False

            await self._until(name, probe, deadline)

    async def ready(self, name: str, file: Path, deadline: float) -> None:
        """Wait until a program has written its ready file."""

        async def probe() -> bool:
            return await asyncio.to_thread(file.exists)

        await self._until(name, probe, deadline)

    async def stop(self) -> None:
        """End all programs, the last started first, each with those that it needs still there.

        A worker that finds no Prefect server while it leaves does not leave. Whoever is cancelled
        meanwhile, once or often, still waits for the end: else some would be left running.
        """
        ending = asyncio.create_task(self._end(), name="end all programs")
        cancelled = False
        while not ending.done():
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError
        ending.result()

    async def _end(self) -> None:
        for keeper in self._keepers.values():
            keeper.cancel()
        for name, process in reversed(list(self._running.items())):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                _log.warning("%s did not end within %g s and is killed", name, STOP_SECONDS)
                _kill(process)
                await process.wait()

    async def _spawn(self, name: str, command: Sequence[str]) -> asyncio.subprocess.Process:
        with (self._data / f"{name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self._inside,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment,
                # Ctrl-C is for us: we end them in order.
                start_new_session=True,
            )

    async def _keep(self, name: str, command: Sequence[str]) -> None:
        while True:
            code = await self._running[name].wait()
            _log.warning("%s ended with %s; it is started again", name, code)
            while True:
                await asyncio.sleep(RESTART_SECONDS)
                try:
                    self._running[name] = await self._spawn(name, command)
                    break
                except OSError as error:
                    _log.warning("%s cannot be started now: %s; it is tried again", name, error)

    async def _until(
        self, name: str, probe: Callable[[], Awaitable[bool]], deadline: float
    ) -> None:
        clock = asyncio.get_running_loop().time
        end = clock() + deadline
        while not await probe():
            if clock() > end:
                raise NotStarted(
                    f"{name} is not ready after {deadline:g} s; it says:\n{self._tail(name)}"
                )
            await asyncio.sleep(_PROBE_SECONDS)


def _kill(process: asyncio.subprocess.Process) -> None:
    # With all that it has started: each of them leads a session of its own.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
