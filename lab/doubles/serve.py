"""Doubles on a port of the loopback, inside the event loop of whoever needs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from lab.process import until

__all__ = ["served"]


class _Server(uvicorn.Server):
    """Leaves the signals of the surrounding program alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve an ASGI app while the block lasts.

    Args:
        app: what to serve.
        host: an address of the loopback.
        port: 0 for any that is free.

    Yields:
        Its URL, ending in a slash.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="error",
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())

    async def started() -> bool:
        if task.done():
            await task
        return server.started

    try:
        await until(started, what="the double listens", deadline=10, every=0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://{host}:{port}/"
    finally:
        server.should_exit = True
        await task
