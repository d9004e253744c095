"""The one client for Pulp; each kind of call lives in a module of its own."""

from __future__ import annotations

import asyncio
import time
from typing import Self

import httpx

from integrations.pulp.settings import PulpSettings
from integrations.pulp.trees import TreeCalls
from integrations.pulp.wire import Clock, Sleep, Wire

__all__ = ["Pulp"]


class Pulp(TreeCalls):
    """Drives one Pulp 3 and its RPM plugin (contract: ``pulp.md``).

    It logs in with its first request and again when the login has ended; keep it, because a login
    costs the server over a CPU second. All methods raise from ``integrations.errors``.

    Example:
        async with Pulp(settings) as pulp:
            remote = await pulp.ensure_remote("el9", "https://mirror.example.org/el9/os/")
            repository = await pulp.ensure_repository("el9")
            synced = await pulp.sync(repository, remote)
            publication = await pulp.ensure_publication(synced.version)
            await pulp.ensure_distribution("el9", "ks/el9", publication)

    Args:
        settings: where it is and who we are.
        transport: instead of the network; for tests.
        sleep: awaited between looks at a task; for tests.
        clock: seconds, for the deadlines of tasks; for tests.
    """

    def __init__(
        self,
        settings: PulpSettings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
        clock: Clock = time.monotonic,
    ) -> None:
        self.settings = settings
        self._wire = Wire(settings, transport=transport, sleep=sleep, clock=clock)

    async def close(self) -> None:
        """Give back connections."""
        await self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
