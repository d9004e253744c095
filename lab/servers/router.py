"""Router advertisements: without them each boot of an iPXE ROM waits 13 s for a router."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lab.namespace import Namespace
from lab.process import Running, running

__all__ = ["router"]


@asynccontextmanager
async def router(namespace: Namespace, *, log: Path) -> AsyncIterator[Running]:
    """Advertise the bridge's IPv6 prefix while the block lasts; serves neither DNS nor DHCPv4."""
    command = namespace.command(
        "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=br0",
        "--enable-ra", "--dhcp-range=fd00:1ab::,ra-only", "--pid-file=", "--leasefile-ro",
        "--user=root",
    )  # fmt: skip

    def advertises() -> bool:
        return "router advertisement" in log.read_text(errors="replace")

    async def ready() -> bool:
        return await asyncio.to_thread(advertises)

    async with running("router", command, log=log, ready=ready) as server:
        yield server
