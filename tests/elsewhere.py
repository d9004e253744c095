"""A site that many tests share: it lives in a thread whose loop outlives theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

__all__ = ["Elsewhere", "living_elsewhere"]

Site = TypeVar("Site")


@dataclass
class Elsewhere(Generic[Site]):
    """The site, and the way to it."""

    site: Site
    portal: BlockingPortal

    async def do(self, lever: Callable[..., Any], *arguments: object) -> Any:
        """Pull one of the site's levers in its own loop."""
        return await asyncio.to_thread(self.portal.call, lever, *arguments)


@contextmanager
def living_elsewhere(opened: AbstractAsyncContextManager[Site]) -> Iterator[Elsewhere[Site]]:
    """Keep a site open while the block lasts."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(opened) as site:
        yield Elsewhere(site, portal)
