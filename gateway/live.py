"""What changes, told to all open pages from one connection to the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from inventory.database import CHANNEL_CHANGES, DATABASE_ERRORS
from inventory.listening import listen

__all__ = ["EVERYTHING", "NOTHING", "Changes", "Hub", "Subscription", "hearing"]

_log = logging.getLogger(__name__)

GATHER_SECONDS = 0.2
"""Changes are gathered for so long before anybody is told: a run changes a host many times."""
MOST_HOSTS = 500
"""Who has more hosts to look at looks at everything; also the most that is kept for a slow one."""
_RETRY_SECONDS = 1.0
_TOLD_AT_ONCE = 4
"""Subscribers that are woken together: hosts that call are served between them and the next."""


@dataclass(frozen=True)
class Changes:
    """Of which hosts something has changed."""

    hosts: frozenset[int] = frozenset()
    everything: bool = False
    """Too many, or something may have been missed: look at all of them."""

    def __bool__(self) -> bool:
        return self.everything or bool(self.hosts)

    def __or__(self, other: Changes) -> Changes:
        hosts = self.hosts | other.hosts
        if self.everything or other.everything or len(hosts) > MOST_HOSTS:
            return EVERYTHING
        return Changes(hosts)


NOTHING = Changes()
EVERYTHING = Changes(everything=True)


class Subscription:
    """What one open page is still to be told; it grows no further than ``MOST_HOSTS``."""

    def __init__(self, hosts: Collection[int] | None) -> None:
        self._wanted = None if hosts is None else frozenset(hosts)
        self._pending = NOTHING
        self._woken = asyncio.Event()
        self.closed = False

    def tell(self, changes: Changes) -> None:
        """Add to what is pending, as far as it is wanted."""
        if self._wanted is not None and not changes.everything:
            changes = Changes(changes.hosts & self._wanted)
        if changes:
            self._pending |= changes
            self._woken.set()

    def close(self) -> None:
        """Nothing more will come."""
        self.closed = True
        self._woken.set()

    async def next(self, timeout: float) -> Changes:
        """What has changed since the last call; waited for if nothing has.

        Returns:
            ``NOTHING`` after ``timeout`` seconds, and at once when it is ``closed``.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._woken.wait()
        changes, self._pending = self._pending, NOTHING
        if not self.closed:
            self._woken.clear()
        return changes


class Hub:
    """One for each gateway: hears of changes once, and tells all who have subscribed.

    Args:
        most_streams: that are open at a time, see ``gateway.sse``.
    """

    def __init__(self, most_streams: int = 500) -> None:
        self.most_streams = most_streams
        self.streams = 0
        self.closed = asyncio.Event()
        """Set when the gateway ends: streams end then."""
        self.told = 0
        """How often subscribers were told; another number: there may be something new."""
        self._subscribed: set[Subscription] = set()
        self._gathered = NOTHING
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def subscribe(self, hosts: Collection[int] | None = None) -> Iterator[Subscription]:
        """Be told of changes while the block lasts.

        Args:
            hosts: only of these, by id; None: of all.
        """
        one = Subscription(hosts)
        if self.closed.is_set():
            one.close()
        self._subscribed.add(one)
        try:
            yield one
        finally:
            self._subscribed.discard(one)

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Count one open stream while the block lasts."""
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    def hear(self, said: str | None) -> None:
        """Take a notice of the database: ids, ``*``, or None when some may have been missed."""
        self._gathered |= _changes(said)
        if self._timer is None and not self.closed.is_set():
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._tell)

    def _tell(self) -> None:
        changes, self._gathered, self._timer = self._gathered, NOTHING, None
        self.told += 1
        self._tell_some(list(self._subscribed), changes)

    def _tell_some(self, those: list[Subscription], changes: Changes) -> None:
        for one in those[:_TOLD_AT_ONCE]:
            one.tell(changes)
        if rest := those[_TOLD_AT_ONCE:]:
            asyncio.get_running_loop().call_soon(self._tell_some, rest, changes)

    def close(self) -> None:
        """End all streams, and tell nothing more."""
        self.closed.set()
        if self._timer is not None:
            self._timer.cancel()
        for one in self._subscribed:
            one.close()

    async def listen(self, url: str) -> None:
        """Hear the database until cancelled, however often it goes away."""
        while True:
            try:
                async with listen(url, CHANNEL_CHANGES, self.hear):
                    self.hear(None)
                    await asyncio.Event().wait()
            except DATABASE_ERRORS as error:
                _log.warning("changes are not heard, next try in %g s: %s", _RETRY_SECONDS, error)
                await asyncio.sleep(_RETRY_SECONDS)


def _changes(said: str | None) -> Changes:
    if said is None or said == "*":
        return EVERYTHING
    try:
        return NOTHING | Changes(frozenset(int(one) for one in said.split()))
    except ValueError:
        # Anybody who may connect may notify: what is not understood is looked into.
        return EVERYTHING


@asynccontextmanager
async def hearing(hub: Hub, url: str) -> AsyncIterator[Hub]:
    """Have a hub hear a database while the block lasts; its end ends all streams.

    Enter it after the application is served, or leave it before: a server that ends waits for
    the streams that are open.

    Args:
        hub: tells its subscribers.
        url: of the database; it may be away, also now.
    """
    task = asyncio.create_task(hub.listen(url), name="hear changes")
    try:
        yield hub
    finally:
        hub.close()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
