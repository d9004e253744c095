"""Doubles on a port of the loopback, inside the event loop of whoever needs them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from serving import listeners
from serving.listeners import Listener, tcp_socket, url_of

__all__ = ["served"]

_STOP_SECONDS = 1
"""A double that hangs on purpose is not waited for."""


@asynccontextmanager
async def served(
    app: ASGIApp, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve an ASGI app while the block lasts.

    Args:
        app: what to serve.
        host: an address of the loopback.
        port: 0 for any that is free.
        tls: from ``serving.listeners``; None: plain HTTP.

    Yields:
        Its URL, ending in a slash.
    """
    listener = Listener(tcp_socket(host, port), tls)
    url = url_of(listener)
    async with listeners.served(app, [listener], stop_seconds=_STOP_SECONDS):
        yield f"{url}/"
