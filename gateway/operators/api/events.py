"""Events for programs: page by page, or as a stream that goes on where it was."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import Refusal
from gateway.context import Gateway
from gateway.live import Hub
from gateway.sse import Message, sse
from inventory import events
from inventory.database import DATABASE_ERRORS
from inventory.events import KINDS
from inventory.models import HostEvent
from inventory.scope import Scope

__all__ = ["EventOut", "EventPage", "events_routes"]

_log = logging.getLogger(__name__)

READ_SECONDS = 5.0
"""How often it is looked for new events when nothing is heard."""
CHECK_SECONDS = 60.0
"""How often it is asked anew what the reader of a stream may see."""
_KEPT = 1000
"""New events that all streams read from memory."""


class EventOut(BaseModel):
    """One state that a host has entered."""

    model_config = ConfigDict(from_attributes=True)

    position: int
    """Where it stands in the order of all events: what ``after`` and ``Last-Event-ID`` take."""
    uid: UUID
    at: datetime
    kind: str
    host_id: int
    host: str
    site: str
    host_group: str | None
    data: dict[str, Any]
    """The state before (``was``) and after; build and generation; why it is held."""


class EventPage(BaseModel):
    """Some events, in their order."""

    events: list[EventOut]
    next: int
    """What ``after`` is for the next page."""


class _Tail:
    """The newest events, read once for all streams of a gateway."""

    def __init__(self, gateway: Gateway, hub: Hub) -> None:
        self._gateway = gateway
        self._hub = hub
        self._kept: deque[HostEvent] = deque()
        self._begins: int | None = None
        """What is behind this position is kept."""
        self._newest = 0
        self._reading = asyncio.Lock()
        self._read: tuple[int, float] = (-1, 0.0)

    async def newest(self) -> int:
        """The newest position."""
        await self._look()
        return self._newest

    async def after(self, position: int) -> list[HostEvent]:
        """Events behind a position, in their order; some of them if they are many."""
        await self._look()
        if self._begins is not None and position >= self._begins:
            return [one for one in self._kept if (one.position or 0) > position]
        async with self._gateway.transaction() as session:
            return await events.after(session, position, limit=_KEPT)

    async def _look(self) -> None:
        async with self._reading:
            now = asyncio.get_running_loop().time()
            told, at = self._read
            # Told before it is read: what comes meanwhile is told again.
            telling = self._hub.told
            if told == telling and now - at < READ_SECONDS:
                return
            while await self._read_on() == _KEPT:
                pass
            self._read = (telling, now)

    async def _read_on(self) -> int:
        async with self._gateway.transaction() as session:
            await events.publish(session, self._gateway.clock())
        async with self._gateway.transaction() as session:
            if self._begins is None:
                self._begins = self._newest = await events.newest(session)
            found = await events.after(session, self._newest, limit=_KEPT)
        for one in found:
            self._kept.append(one)
            self._newest = one.position or 0
        while len(self._kept) > _KEPT:
            self._begins = self._kept.popleft().position
        return len(found)


def events_routes(
    gateway: Gateway, hub: Hub, visible: Callable[[Request], Awaitable[Scope]]
) -> APIRouter:
    """``/events``.

    Args:
        gateway: whose.
        hub: hears of changes.
        visible: what the one who asks may see; raises ``Refusal`` or ``HTTPException`` if that is
            nothing. Of a stream it is asked again each minute.
    """
    routes = APIRouter(tags=["events"])
    tail = _Tail(gateway, hub)

    @routes.get(
        "/events",
        response_model=EventPage,
        responses={200: {"content": {"text/event-stream": {}}}},
        summary="What has happened to hosts",
    )
    async def read_events(
        request: Request,
        after: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        kind: Annotated[list[str] | None, Query()] = None,
    ) -> Response | EventPage:
        """A page of events, or with ``Accept: text/event-stream`` a stream of them.

        A page begins behind ``after``. A stream begins behind ``Last-Event-ID``, else behind
        ``after``, else with what happens from now on.
        """
        scope = await visible(request)
        kinds = _known(kind or [])
        if "text/event-stream" in request.headers.get("accept", ""):
            position = _last_id(request) if "last-event-id" in request.headers else after
            newest = await tail.newest()
            # Beyond the newest is who knew a database of which an older backup was put back.
            begin = newest if position is None else min(position, newest)
            return sse(hub, _follow(tail, hub, request, visible, scope, kinds, begin))
        return await _page(gateway, after or 0, limit, kinds, scope)

    return routes


def _known(kinds: Sequence[str]) -> frozenset[str]:
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        there = ", ".join(sorted(KINDS))
        raise Refusal(422, f"there is no kind of event {', '.join(unknown)}; there are: {there}")
    return frozenset(kinds)


def _last_id(request: Request) -> int:
    text = request.headers["last-event-id"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Refusal(422, "Last-Event-ID must be the id of an event of this stream: a number")
    return int(text)


async def _page(
    gateway: Gateway, position: int, limit: int, kinds: frozenset[str], scope: Scope
) -> EventPage:
    async with gateway.transaction() as session:
        await events.publish(session, gateway.clock())
    async with gateway.transaction() as session:
        found = await events.after(session, position, limit=limit, kinds=sorted(kinds), scope=scope)
    last = found[-1].position if found else None
    return EventPage(events=[EventOut.model_validate(one) for one in found], next=last or position)


async def _follow(
    tail: _Tail,
    hub: Hub,
    request: Request,
    visible: Callable[[Request], Awaitable[Scope]],
    scope: Scope,
    kinds: frozenset[str],
    position: int,
) -> AsyncGenerator[Message, None]:
    clock = asyncio.get_running_loop().time
    checked = clock()
    with hub.subscribe() as changes:
        while not changes.closed:
            try:
                if clock() - checked > CHECK_SECONDS:
                    scope, checked = await visible(request), clock()
                found = await tail.after(position)
            except (Refusal, HTTPException) as error:
                _log.info("a stream of events ends: its reader may see nothing more: %s", error)
                return
            except DATABASE_ERRORS as error:
                _log.warning("a stream of events waits for the database: %r", error)
                await changes.next(READ_SECONDS)
                continue
            for one in found:
                position = one.position or position
                if scope.admits(one.site, one.host_group) and (not kinds or one.kind in kinds):
                    yield _message(one)
            if not found:
                await changes.next(READ_SECONDS)


def _message(event: HostEvent) -> Message:
    said = EventOut.model_validate(event).model_dump_json()
    return Message(said, event=event.kind, id=str(event.position))
