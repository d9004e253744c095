"""Bounds what a request may carry, and notes that it came; both before any route sees it."""

from __future__ import annotations

from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy.answers import text
from proxy.logs import Log

__all__ = ["Limits"]

_LARGEST_BODY = 16 * 1024 * 1024
"""Bytes. Facts of 3700 keys are 200 kB, and logs of a failed installation a few MB."""


class _TooLargeError(Exception):
    pass


class Limits:
    """ASGI middleware.

    Args:
        app: what is protected.
        log: takes a line for each request, without its query: that may hold a token.
    """

    def __init__(self, app: ASGIApp, log: Log) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Quoted, so that a path cannot forge lines of its own.
        self._log.info(f"Started {scope['method']} {quote(scope['path'])}")
        received, answered = 0, False

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > _LARGEST_BODY:
                raise _TooLargeError
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, bounded, noted)
        except _TooLargeError:
            if not answered:
                refusal = text(413, f"The body is larger than {_LARGEST_BODY} bytes")
                await refusal(scope, receive, send)
