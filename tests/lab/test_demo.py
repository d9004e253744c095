"""The demo as a person runs it: what it says at the end, and what it leaves behind: nothing."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from tests.marked import MARK, marked

pytestmark = pytest.mark.long

SECONDS = 90.0


class Demo:
    """The demo in a process of its own; it and all its children carry a mark."""

    def __init__(self, process: asyncio.subprocess.Process, mark: str) -> None:
        self.process = process
        self.printed = ""
        self._mark = mark

    async def until(self, beginning: str) -> str:
        """Read until a line that begins so."""
        assert self.process.stdout is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                while line := (await self.process.stdout.readline()).decode():
                    self.printed += line
                    if line.startswith(beginning):
                        return line.rstrip("\n")
        raise AssertionError(f"it has not said {beginning!r} in {SECONDS:g} s:\n{self.printed}")

    async def interrupt(self) -> int | None:
        """Press Ctrl-C and wait for the end."""
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(SECONDS):
            self.printed += (await self.process.stdout.read()).decode()
            return await self.process.wait()

    def processes(self) -> list[str]:
        """Its processes that run."""
        return marked(self._mark)

    def directories(self) -> list[Path]:
        """Where it keeps its data."""
        places = (Path("/var/lib"), Path.home() / ".cache")
        name = f"rackrise-demo-{self.process.pid}-*"
        return [one for place in places for one in place.glob(name)]


@asynccontextmanager
async def demo(temporary: Path, *options: str) -> AsyncIterator[Demo]:
    mark = uuid4().hex
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "lab.demo", "--site", "simulated", *options),
        env={**os.environ, MARK: mark, "TMPDIR": str(temporary)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    running = Demo(process, mark)
    try:
        yield running
    finally:
        if process.returncode is None:
            await running.interrupt()
    assert running.processes() == []
    assert running.directories() == []
    assert os.listdir(temporary) == []


async def test_ctrl_c_during_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    async with demo(tmp_path, "--hosts", "1") as running:
        await running.until("Starting database")
        assert await running.interrupt() == 130, running.printed
    assert "Cleaning up." in running.printed


# Needs no root, but half a minute: the same way is tried without it in test_simulated_site.
@pytest.mark.servers
async def test_it_arrives_says_so_in_its_last_line_and_stays_if_told(tmp_path: Path) -> None:
    async with demo(tmp_path, "--hosts", "1", "--keep") as running:
        last = await running.until("hosts in operation:")
        assert last == (
            "hosts in operation: 1 of 1; "
            "arrows: 22 observed, 1 reported, 3 implied, 8 not asked for"
        ), running.printed
        environment = re.search(r"To use the command line: (\. \S+); ", running.printed)
        assert environment is not None
        command = f"{environment[1]}; {sys.executable} -m cli.main hosts list"
        shell = await asyncio.create_subprocess_exec(
            *("sh", "-c", command), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await asyncio.wait_for(shell.communicate(), SECONDS)
        assert b"in_operation" in said
        assert await running.interrupt() == 0, running.printed
