"""Server-sent events: an answer that stays open, and ends when reader or gateway do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from starlette.responses import StreamingResponse
from starlette.types import Message as Sent
from starlette.types import Receive, Scope, Send

from gateway.answers import TRY_AGAIN, Refusal
from gateway.live import Hub

__all__ = ["Message", "sse"]

_log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15.0
"""Proxies close what is silent for long, and a reader that has gone is found so."""
SEND_SECONDS = 60.0
"""A reader that takes nothing for so long is dropped; it comes again if it lives."""
_RETRY_MILLISECONDS = 2000
_AHEAD = 32
"""Messages that are kept ready; they are sent together, as each sending costs alike."""
_HEADERS = {
    "Cache-Control": "no-store",
    # nginx would keep it back until it has a full buffer.
    "X-Accel-Buffering": "no",
}


@dataclass(frozen=True)
class Message:
    """One server-sent event."""

    data: str
    event: str = ""
    """Its type; empty: ``message``."""
    id: str = ""
    """Where the reader goes on when it comes again; empty: it keeps the last."""

    def encode(self) -> bytes:
        """As it is sent."""
        lines = [f"{name}: {_line(text)}" for name, text in self._fields() if text]
        # Each of a reader's line ends begins a field of its own.
        lines += [f"data: {line}" for line in _lines(self.data)]
        return ("\n".join(lines) + "\n\n").encode()

    def _fields(self) -> tuple[tuple[str, str], ...]:
        return ("id", self.id), ("event", self.event)


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _line(text: str) -> str:
    return " ".join(_lines(text)).replace("\0", "")


def sse(hub: Hub, messages: AsyncGenerator[Message, None]) -> StreamingResponse:
    """Answer with messages, as long as the reader is there.

    Args:
        hub: ends the stream when the gateway ends.
        messages: are waited for; may end, and are closed at the end.

    Raises:
        Refusal: 503, so many streams are open that this gateway opens no more.
    """
    if hub.closed.is_set() or hub.streams >= hub.most_streams:
        raise Refusal(
            503,
            f"{hub.streams} streams are open, and this gateway opens no more; try again, or raise "
            "RACKRISE_GATEWAY_STREAMS",
            TRY_AGAIN,
        )
    return _Stream(hub, messages)


class _Stream(StreamingResponse):
    """Counted from its first byte to its last, whatever ends it."""

    def __init__(self, hub: Hub, messages: AsyncGenerator[Message, None]) -> None:
        self._hub = hub
        self._messages = messages
        self._ready: asyncio.Queue[Message] = asyncio.Queue(_AHEAD)
        super().__init__(self._body(), 200, _HEADERS, "text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def bounded(message: Sent) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        with self._hub.stream():
            # In a task of its own, so that it can tidy up when the request is cancelled.
            self._pump = asyncio.create_task(self._follow(), name="stream")
            try:
                await super().__call__(scope, receive, bounded)
            except TimeoutError:
                _log.info("a stream's reader has taken nothing for %g s", SEND_SECONDS)
            finally:
                self._pump.cancel()
                await asyncio.wait({self._pump})
                error = None if self._pump.cancelled() else self._pump.exception()
                if error is not None:
                    _log.error("a stream ended early; its reader comes again", exc_info=error)

    async def _follow(self) -> None:
        async with aclosing(self._messages):
            async for message in self._messages:
                await self._ready.put(message)

    async def _body(self) -> AsyncIterator[bytes]:
        yield f"retry: {_RETRY_MILLISECONDS}\n\n".encode()
        closed = asyncio.ensure_future(self._hub.closed.wait())
        try:
            while not closed.done():
                taking = asyncio.ensure_future(self._ready.get())
                try:
                    await asyncio.wait(
                        {taking, closed, self._pump},
                        timeout=HEARTBEAT_SECONDS,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                finally:
                    if not taking.done():
                        taking.cancel()
                if taking.done() and not taking.cancelled():
                    ready = [taking.result()]
                    while not self._ready.empty():
                        ready.append(self._ready.get_nowait())
                    yield b"".join(one.encode() for one in ready)
                elif self._pump.done():
                    # Its last message may have come in the same moment.
                    if not self._ready.empty():
                        continue
                    return
                elif not closed.done():
                    yield b": still here\n\n"
        finally:
            closed.cancel()
