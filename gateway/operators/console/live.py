"""What keeps open pages as things are: pieces of them, made anew when something changes.

A page says which hosts it shows. One stream a page, one question to the database for all that it
shows, and nothing at all while nothing changes. Hosts come first: pages are made one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from sqlalchemy.exc import DBAPIError
from starlette.responses import Response

from gateway.live import EVERYTHING, Changes
from gateway.operators.console.board import Board
from gateway.operators.console.pages import FORM
from gateway.operators.console.watch import LOOK_SECONDS, Watch
from gateway.operators.console.waves import A_PAGE, wave_pieces
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed, SignedIn, SignInFirst, form_value
from gateway.sse import Message, sse
from inventory.database import DATABASE_ERRORS, cannot_hold
from inventory.errors import UnknownHost, UnknownWave
from inventory.life import HostState

__all__ = ["live_routes"]

_log = logging.getLogger(__name__)

_REST_SECONDS = 0.3
"""Between two deliveries to a page: nobody reads faster."""
_DELIVERIES_A_SECOND = 200
"""To all pages together, about; where many are open, each rests for longer."""
_MOST_SHOWN = 200
Pieces = Callable[[SignedIn, Changes], AsyncIterator[str]]


def live_routes(gateway: Operators) -> APIRouter:
    """``/live/…``: streams of pieces, each of which takes the place of the one with its id."""
    router = APIRouter()
    board = Board(gateway)
    watch = Watch()

    @router.get("/live/fleet")
    async def of_fleet(
        request: Request,
        who: Signed,
        host: Annotated[list[int] | None, Query(max_length=_MOST_SHOWN)] = None,
        state: str = "",
        trouble: bool = False,
    ) -> Response:
        shown = frozenset(host or ())
        only = HostState(state) if state in set(HostState) else None
        sent: set[str] = set()

        async def pieces(asks: SignedIn, changes: Changes) -> AsyncIterator[str]:
            nonlocal sent
            scope = asks.actor.scope
            touched = shown if changes.everything else shown & changes.hosts
            for one in await board.rows(scope, sorted(touched)):
                yield one
            all_together = {
                await board.counts_piece(scope, only, trouble),
                await board.waves(scope),
            }
            for one in all_together - sent:
                yield one
            sent = all_together

        return sse(gateway.hub, _follow(gateway, watch, request, who, pieces, None))

    @router.get("/live/hosts/{host}")
    async def of_host(request: Request, host: int, who: Signed) -> Response:
        async def pieces(asks: SignedIn, _: Changes) -> AsyncIterator[str]:
            try:
                for one in await board.host(asks.actor, host):
                    yield _own(one, asks)
            except UnknownHost:
                raise SignInFirst("/") from None

        return sse(gateway.hub, _follow(gateway, watch, request, who, pieces, frozenset({host})))

    @router.get("/live/waves/{name}")
    async def of_wave(
        request: Request, name: str, who: Signed, after: Annotated[int, Query(lt=2**31)] = -1
    ) -> Response:
        async def pieces(asks: SignedIn, _: Changes) -> AsyncIterator[str]:
            try:
                detail = await board.wave(asks.actor.scope, name, after, A_PAGE)
            except UnknownWave:
                raise SignInFirst("/") from None
            for one in wave_pieces(asks, detail):
                yield one

        return sse(gateway.hub, _follow(gateway, watch, request, who, pieces, None))

    @router.get("/live/held")
    async def of_held(request: Request, who: Signed) -> Response:
        async def pieces(asks: SignedIn, _: Changes) -> AsyncIterator[str]:
            yield _own(await board.held(asks.actor), asks)

        return sse(gateway.hub, _follow(gateway, watch, request, who, pieces, None))

    @router.get("/live/discovered")
    async def of_discovered(
        request: Request,
        who: Signed,
        text: Annotated[str, Query(max_length=253)] = "",
        after: Annotated[str, Query(max_length=253)] = "",
    ) -> Response:
        async def pieces(asks: SignedIn, _: Changes) -> AsyncIterator[str]:
            yield _own(await board.discovered(asks.actor, text, after), asks)

        return sse(gateway.hub, _follow(gateway, watch, request, who, pieces, None))

    return router


def _own(piece: str, who: SignedIn) -> str:
    """A shared piece with the value by which forms of one browser are known as ours."""
    return piece.replace(FORM, form_value(who.secret))


async def _follow(
    gateway: Operators,
    watch: Watch,
    request: Request,
    who: SignedIn,
    pieces: Pieces,
    hosts: frozenset[int] | None,
) -> AsyncGenerator[Message, None]:
    """Send pieces until nobody is signed in any more, or the gateway ends.

    Args:
        gateway: whose hub tells what changes.
        watch: says who is signed in.
        request: of the open page.
        who: has signed in there; asked again now and then.
        pieces: makes them.
        hosts: only changes of these count; None: of all.
    """
    clock = asyncio.get_running_loop().time
    with gateway.hub.subscribe(hosts) as changes:
        # What has changed between the page and this stream, nobody has told.
        told = EVERYTHING
        while not changes.closed:
            began = clock()
            try:
                # Rights may have been taken away since.
                who = await watch.look(request, who)
                if told:
                    async for one in pieces(who, told):
                        yield Message(one, event="piece")
            except SignInFirst:
                yield Message("signed out", event="ended")
                return
            except DATABASE_ERRORS as error:
                if isinstance(error, DBAPIError) and cannot_hold(error):
                    # What the page asks for is no host, and will be none in a second.
                    return
                _log.warning("an open page waits for the database: %r", error)
                await asyncio.sleep(1)
                continue
            rest = max(_REST_SECONDS, gateway.hub.streams / _DELIVERIES_A_SECOND)
            await asyncio.sleep(max(0, began + rest - clock()))
            told = await changes.next(LOOK_SECONDS)
