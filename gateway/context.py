"""What every handler of one gateway shares."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from gateway.settings import GatewaySettings
from inventory.database import AsyncSession, Sessions

__all__ = ["Gateway"]


@dataclass(frozen=True)
class Gateway:
    """Settings, database and clock of one gateway."""

    settings: GatewaySettings
    sessions: Sessions
    clock: Callable[[], datetime]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One short transaction: committed when the block ends, undone when it raises.

        Raises:
            TimeoutError: it took longer than ``transaction_seconds``.
        """
        async with asyncio.timeout(self.settings.transaction_seconds):
            async with self.sessions.begin() as session:
                yield session
