"""Where something can go wrong, what, and how it is made to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import httpx
from sqlalchemy.exc import OperationalError

from integrations.errors import Unavailable
from inventory.database import AsyncSession, Sessions

__all__ = ["Injector", "Killed", "Kind", "Point", "Where", "kinds_at"]


_DAY = timedelta(days=1)


class Killed(BaseException):
    """The process is gone: nothing of ours catches it."""


class Kind(StrEnum):
    """What goes wrong."""

    KILLED = "killed"
    SLEPT = "stopped, overtaken, woken"
    BACK = "clock set back a day"
    AHEAD = "clock set ahead a day"
    CUT = "database cut off"
    UNANSWERED = "commit unanswered"
    FULL = "database's disk full"
    REFUSED = "connection refused"
    RESET = "done, connection reset"
    HANG = "no answer in time"
    HALF = "done, half an answer"
    ERROR = "500"
    LIE = "200, not done"


class Where(StrEnum):
    """What a point is about."""

    TRANSACTION = "transaction"
    REQUEST = "request"
    LOOK = "look"
    """A read over UDP: TFTP, DNS."""


@dataclass(frozen=True)
class Point:
    """One moment of one walk."""

    number: int
    """Counted from 1 along the walk."""
    where: Where
    name: str
    after: bool

    def __str__(self) -> str:
        return f"{self.number} {'after' if self.after else 'before'} {self.name}"


def kinds_at(point: Point) -> tuple[Kind, ...]:
    """What can go wrong at a point."""
    process = (Kind.KILLED, Kind.SLEPT)
    clock = (Kind.BACK, Kind.AHEAD)
    if point.where is Where.TRANSACTION:
        return (*process, *((Kind.UNANSWERED,) if point.after else (Kind.CUT, Kind.FULL, *clock)))
    if point.after:
        return process
    if point.where is Where.LOOK:
        return (*process, Kind.HANG, Kind.LIE)
    network = (Kind.REFUSED, Kind.RESET, Kind.HANG, Kind.HALF, Kind.ERROR)
    lie = () if point.name.startswith(("GET", "HEAD")) else (Kind.LIE,)
    return (*process, *network, *lie)


class Injector:
    """Counts the points of a walk, and has something go wrong at the one that is due.

    Args:
        number: of the point; 0: nothing goes wrong.
        kind: what.
        asleep: what happens while the process is stopped.
    """

    def __init__(
        self,
        number: int = 0,
        kind: Kind = Kind.KILLED,
        asleep: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._number = number
        self._kind = kind
        self._asleep = asleep
        self.skew = timedelta()
        """By how much this worker's clock is wrong."""
        self.seen: list[Point] = []
        self.struck: Point | None = None

    async def pass_by(self, where: Where, name: str, *, after: bool) -> Kind | None:
        """Say that a point is reached; returns what goes wrong there, if it is the caller's to do.

        Raises:
            Killed: this process dies here.
        """
        if self.struck is not None:
            return None
        point = Point(len(self.seen) + 1, where, name, after)
        self.seen.append(point)
        # In company the order of points is never twice the same: the next that fits is as good.
        if not 0 < self._number <= point.number or self._kind not in kinds_at(point):
            return None
        self.struck = point
        match self._kind:
            case Kind.KILLED:
                raise Killed
            case Kind.BACK | Kind.AHEAD:
                self.skew = -_DAY if self._kind is Kind.BACK else _DAY
                return None
            case Kind.SLEPT:
                if self._asleep is not None:
                    await self._asleep()
                return None
        return self._kind


class _Orig(Exception):
    """What a driver says."""

    def __init__(self, words: str, sqlstate: str) -> None:
        self.sqlstate = sqlstate
        super().__init__(words)


def _database(kind: Kind) -> OperationalError:
    if kind is Kind.FULL:
        orig = _Orig("could not extend file: No space left on device", "53100")
    else:
        orig = _Orig("connection was closed in the middle of operation", "08006")
    return OperationalError("(a statement)", {}, orig)


class FaultySessions:
    """The inventory's sessions; each transaction is a point before and after."""

    def __init__(self, sessions: Sessions, injector: Callable[[], Injector]) -> None:
        self._sessions = sessions
        self._injector = injector

    def __call__(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self._transaction(self._sessions)

    def begin(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction that is committed at its end."""
        return self._transaction(self._sessions.begin)

    @asynccontextmanager
    async def _transaction(
        self, make: Callable[[], AbstractAsyncContextManager[AsyncSession]]
    ) -> AsyncIterator[AsyncSession]:
        kind = await self._injector().pass_by(Where.TRANSACTION, "a transaction", after=False)
        if kind is not None:
            raise _database(kind)
        async with make() as session:
            yield session
        kind = await self._injector().pass_by(Where.TRANSACTION, "a transaction", after=True)
        if kind is not None:
            raise _database(kind)


class FaultyTransport(httpx.AsyncBaseTransport):
    """The way to one server; each request is a point before and after."""

    def __init__(
        self, inner: httpx.AsyncBaseTransport, system: str, injector: Callable[[], Injector]
    ) -> None:
        self._inner = inner
        self._system = system
        self._injector = injector

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, or have it go wrong."""
        name = f"{request.method} {self._system} {request.url.path.split('/')[1]}"
        body = await request.aread()
        match await self._injector().pass_by(Where.REQUEST, name, after=False):
            case Kind.REFUSED:
                raise httpx.ConnectError("Connection refused", request=request)
            case Kind.HANG:
                raise httpx.ReadTimeout("no answer in time", request=request)
            case Kind.ERROR:
                return httpx.Response(500, text="something broke", request=request)
            case Kind.LIE:
                return httpx.Response(200, content=_yes(request, body), request=request)
            case Kind.RESET:
                await self._done(request)
                raise httpx.ReadError("Connection reset by peer", request=request)
            case Kind.HALF:
                await self._done(request)
                said = "peer closed connection without sending complete message body"
                raise httpx.RemoteProtocolError(said, request=request)
        answer = await self._done(request)
        await self._injector().pass_by(Where.REQUEST, name, after=True)
        return answer

    async def _done(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        await answer.aread()
        return answer


def _yes(request: httpx.Request, body: bytes) -> bytes:
    """What a server says that has done what it was asked."""
    if request.url.path.endswith("/reboot"):
        return b'{"result": true}'
    try:
        json.loads(body)
    except ValueError:
        return b""
    return body


def faulty_look(
    look: Callable[..., Awaitable[Any]], system: str, nothing: Any, injector: Callable[[], Injector]
) -> Callable[..., Awaitable[Any]]:
    """A read over UDP as a point; ``nothing`` is what a server says that has nothing."""

    async def looked(*given: Any, **named: Any) -> Any:
        match await injector().pass_by(Where.LOOK, f"look at {system}", after=False):
            case Kind.HANG:
                raise Unavailable(
                    system=system, address="127.0.0.1", operation="look", said="no answer in time"
                )
            case Kind.LIE:
                return nothing
        answer = await look(*given, **named)
        await injector().pass_by(Where.LOOK, f"look at {system}", after=True)
        return answer

    return looked
