"""Ways from the host into a lab's network, for programs and tests that run outside it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from lab.namespace import Namespace

__all__ = ["reach"]

_CLONE_NEWNET = 0x40000000


def _socket_inside(namespace: Namespace) -> socket.socket:
    """Open a TCP socket that belongs to the namespace; run this in a thread of its own.

    A socket stays in the network in which it was made, and a thread can enter one for itself.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(Path("/var/run/netns") / namespace.name, os.O_RDONLY | os.O_CLOEXEC)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(handle, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the network {namespace.name}")
        try:
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        finally:
            if libc.setns(home, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot return to the host's network")
    finally:
        os.close(handle)
        os.close(home)


@asynccontextmanager
async def reach(
    namespace: Namespace, port: int, host: str = "127.0.0.1", *, at: int = 0
) -> AsyncIterator[int]:
    """Forward a TCP port of the host's loopback into the namespace while the block lasts.

    Args:
        namespace: the lab's network.
        port: where the server listens inside.
        host: likewise.
        at: the port on the host's side; 0: any free one.

    Yields:
        The port on 127.0.0.1 of the host.
    """
    connections: set[asyncio.Task[None]] = set()

    def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_forward(namespace, (host, port), reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connect, "127.0.0.1", at)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _forward(
    namespace: Namespace,
    target: tuple[str, int],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    inside = await asyncio.to_thread(_socket_inside, namespace)
    inside.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(inside, target)
    except OSError:
        # Nobody listens inside: the caller sees its connection end, as it would there.
        inside.close()
        writer.transport.abort()
        return
    inner_reader, inner_writer = await asyncio.open_connection(sock=inside)
    try:
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
    finally:
        inner_writer.close()
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # A connection that breaks on one side ends the other side's half, no more. One that is gone
    # already when its end is to be told is "not connected", which Python counts as plain OSError.
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
