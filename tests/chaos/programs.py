"""The programs of ``rackrise up``, for tests that kill them: which, and when they are back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

from sqlmodel import col, select

from deployments.postgres import urls_in
from deployments.up import Up
from inventory.database import DATABASE_ERRORS, Sessions, is_passing
from inventory.fleet import everyone
from inventory.models import Claim
from lab.process import until

__all__ = ["kill", "live", "reasons", "started_again", "states"]


async def states(sessions: Sessions) -> Counter[str]:
    """How many hosts are where."""
    while True:
        try:
            async with sessions() as session:
                return Counter(one.state for one in await everyone(session))
        except DATABASE_ERRORS as error:
            # Killed as well: connections are lost, and new ones refused until it has recovered.
            if not is_passing(error):
                raise
            await asyncio.sleep(0.2)


async def kill(here: Up, name: str) -> int:
    """End a program as a power cut would; returns the id that it had."""
    killed: int | None = None

    async def ended() -> bool:
        nonlocal killed
        pid = pid_of(here, name)
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            # It has gone down with what was killed before, and is not started again yet.
            return False
        killed = pid
        return True

    await until(ended, what=f"{name} lives, to be killed", deadline=60, every=0.1)
    assert killed is not None
    return killed


def pid_of(here: Up, name: str) -> int | None:
    """Process id of a program as it is now; None: it is on its way."""
    if name != "postgres":
        return here.processes()[name]
    data = urls_in(Path(here.environment["PREFECT_HOME"]).parent / "postgres").socket_directory
    try:
        return int((data / "postmaster.pid").read_text().split()[0])
    except (FileNotFoundError, IndexError):
        return None


async def started_again(here: Up, name: str, before: int) -> None:
    """Wait until ``up`` has put another one in its place."""

    async def there() -> bool:
        return pid_of(here, name) not in (before, None)

    await until(there, what=f"{name} is started again", deadline=60, every=0.1)


async def live(sessions: Sessions) -> list[str]:
    """The claims that nobody has ended, and who has them."""
    async with sessions() as session:
        found = await session.exec(select(Claim).where(col(Claim.ended_at).is_(None)))
        return [f"{one.phase} by {one.worker}, run {one.flow_run_id}" for one in found]


async def reasons(sessions: Sessions) -> list[str]:
    """Why hosts are held."""
    async with sessions() as session:
        return [f"{one.name}: {one.held_reason}" for one in await everyone(session)]
