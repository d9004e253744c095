"""Ends a program by a signal, once, however often it is sent."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress

import typer

__all__ = ["until_told"]


async def until_told(work: Coroutine[object, object, None]) -> None:
    """Run until the work ends or a signal comes, and let it clean up.

    Whoever presses Ctrl-C again is told that it is ending: a clean-up that is broken off leaves
    programs running that nobody ends any more.
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    told = False

    def tell() -> None:
        nonlocal told
        if told:
            typer.echo("It is ending: what is under way is finished first.", err=True)
        else:
            told = True
            task.cancel()

    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, tell)
    with suppress(asyncio.CancelledError):
        await task
