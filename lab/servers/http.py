"""A static HTTP server for install trees and boot files, as cheap as one can be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lab.namespace import Namespace
from lab.process import Running, running

__all__ = ["http_server"]


@asynccontextmanager
async def http_server(
    namespace: Namespace, root: Path, *, port: int, log: Path
) -> AsyncIterator[Running]:
    """Serve a directory on the lab's address while the block lasts.

    Args:
        namespace: where.
        root: the directory; its links are followed.
        port: TCP port.
        log: takes one line per request.
    """
    socket = f"{namespace.address}:{port}"
    command = namespace.command("busybox", "httpd", "-f", "-v", "-p", socket, "-h", str(root))

    async def listens() -> bool:
        return bool(await namespace.run("ss", "-Hltn", "src", socket))

    async with running("HTTP server", command, log=log, ready=listens) as server:
        yield server
