"""Waiting for the database's notifications over a connection that heals itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg  # type: ignore[import-untyped]

from inventory.database import plain_url

__all__ = ["Listener", "listen"]

_log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
PROBE_SECONDS = 30.0
"""How often a silent connection is asked whether it lives: a lost network path says nothing."""
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0

_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What asyncpg raises when the server is away, is starting, or went while it was asked."""


class Listener:
    """Tells that something was notified; what it was is read from the tables.

    Args:
        told: called with what each notification says; with None when a connection that was lost is
            there again, because something may have been missed.
    """

    def __init__(self, told: Callable[[str | None], None] | None = None) -> None:
        self._woken = asyncio.Event()
        self._told = told

    def wake(self, *notice: object) -> None:
        """Let the one that waits go on; asyncpg's notice ends with what it says."""
        self._woken.set()
        if self._told is not None:
            self._told(str(notice[-1]) if notice else None)

    async def wait(self, timeout: float) -> bool:
        """Wait for a notification, at most ``timeout`` seconds.

        Returns:
            Whether one came since the last call. Several at once count as one, and a connection
            that was lost and found counts as one, because something may have been missed.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._woken.wait()
        woken = self._woken.is_set()
        self._woken.clear()
        return woken


@asynccontextmanager
async def listen(
    url: str, channel: str, told: Callable[[str | None], None] | None = None
) -> AsyncIterator[Listener]:
    """Listen on a channel; a lost connection is made again, with growing delays.

        async with listen(url, CHANNEL_CALLBACKS) as callbacks:
            while True:
                await work_off(...)
                await callbacks.wait(5)

    Args:
        url: of the database.
        channel: which.
        told: see ``Listener``; for who needs to know what was said.

    Raises:
        OSError, asyncpg.PostgresError: the first connection cannot be made.
    """
    listener = Listener(told)
    connection, lost = await _connect(url, channel, listener)
    keeper = asyncio.create_task(_keep(url, channel, listener, connection, lost))
    try:
        yield listener
    finally:
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper


async def _connect(
    url: str, channel: str, listener: Listener
) -> tuple[asyncpg.Connection, asyncio.Event]:
    connection = await asyncpg.connect(plain_url(url), timeout=CONNECT_SECONDS)
    lost = asyncio.Event()
    try:
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(channel, listener.wake)
    except BaseException:
        connection.terminate()
        raise
    return connection, lost


async def _keep(
    url: str,
    channel: str,
    listener: Listener,
    connection: asyncpg.Connection,
    lost: asyncio.Event,
) -> None:
    delay = FIRST_DELAY
    while True:
        try:
            await _until_lost(connection, lost)
        finally:
            connection.terminate()
        while True:
            try:
                connection, lost = await _connect(url, channel, listener)
            except _LOST as error:
                _log.warning("cannot listen on %s, next try in %.1f s: %s", channel, delay, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY)
            else:
                delay = FIRST_DELAY
                listener.wake()
                break


async def _until_lost(connection: asyncpg.Connection, lost: asyncio.Event) -> None:
    while not lost.is_set():
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await lost.wait()
        except TimeoutError:
            try:
                await connection.execute("SELECT 1", timeout=CONNECT_SECONDS)
            except _LOST as error:
                _log.warning("the connection that listens for notifications is lost: %s", error)
                return
