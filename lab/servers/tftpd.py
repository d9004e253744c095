"""A real tftpd-hpa that serves one directory to whoever asks, as the lab's machines do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.namespace import Namespace, run
from lab.process import Running, running

__all__ = ["Tftpd", "tftpd"]


@dataclass(frozen=True)
class Tftpd:
    """A running TFTP server."""

    address: str
    port: int
    root: Path
    server: Running


@asynccontextmanager
async def tftpd(
    root: Path,
    log: Path,
    *,
    inside: Namespace | None = None,
    address: str = "127.0.0.1",
    port: int = 69,
) -> AsyncIterator[Tftpd]:
    """Serve a directory while the block lasts; needs root, because it locks itself in.

    Args:
        root: the boot root; its files must be readable for everybody, it serves as ``nobody``.
        log: file that takes what it prints.
        inside: the namespace to run in, on the namespace's address; None: this machine's network.
        address: where it listens outside a namespace.
        port: 69 inside a lab; any free one on a machine's own loopback.
    """
    address = inside.address if inside else address
    socket = f"{address}:{port}"
    command = ["in.tftpd", "--listen", "--foreground", "--address", socket, "--secure"]
    command += ["-u", "nobody", str(root)]
    sockets = ["ss", "-Hlun", "src", socket]
    if inside:
        command, sockets = inside.command(*command), inside.command(*sockets)

    async def listens() -> bool:
        return bool(await run(*sockets))

    async with running("in.tftpd", command, log=log, ready=listens) as server:
        yield Tftpd(address, port, root, server)
