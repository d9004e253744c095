"""One writer at a time on a host: Kea has no guard of its own against a lost update."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["file_lock"]

_EVERY = 0.02
"""Seconds between two tries; the lock is held for some hundred milliseconds."""


@asynccontextmanager
async def file_lock(path: Path, deadline: float) -> AsyncIterator[None]:
    """Hold an exclusive ``flock`` on a file while the block lasts.

    It excludes every other holder on this host, be it another process, another thread or another
    task, and the kernel gives it back when the holder dies. It is asked for without blocking, so
    that a task that is cancelled while it waits leaves nothing behind.

    Args:
        path: made if missing, never removed: removing it would let two holders in.
        deadline: seconds until waiting is given up.

    Raises:
        TimeoutError: somebody else held it for all that time.
        OSError: the file cannot be opened.
    """
    clock = asyncio.get_running_loop().time
    end = clock() + deadline
    # O_NOFOLLOW: in a directory that others may write to, nobody shall lead us elsewhere.
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o660)
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if clock() > end:
                    raise TimeoutError(f"{path} was locked for {deadline:g} s") from None
                await asyncio.sleep(_EVERY)
        yield
    finally:
        os.close(file)
