"""Housekeeping and builds meet at one thing: either waits for the other, and nobody for a third."""

from __future__ import annotations

import asyncio

import pytest

from inventory import guard
from tests.conftest import Database


async def relying(database: Database, what: str) -> None:
    async with database.sessions.begin() as session:
        await guard.rely_on(session, what)


async def test_whoever_relies_waits_for_the_removal_of_that_thing_only(database: Database) -> None:
    async with database.sessions.begin() as session:
        await guard.take_away(session, "pin a")
        await asyncio.wait_for(relying(database, "pin b"), 5)
        waiting = asyncio.create_task(relying(database, "pin a"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.2)
    await asyncio.wait_for(waiting, 5)


async def test_many_rely_at_once_and_removal_waits_for_all(database: Database) -> None:
    async def removing() -> None:
        async with database.sessions.begin() as session:
            await guard.take_away(session, "pin a")

    async with database.sessions.begin() as session:
        await guard.rely_on(session, "pin a")
        await asyncio.wait_for(relying(database, "pin a"), 5)
        waiting = asyncio.create_task(removing())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.2)
    await asyncio.wait_for(waiting, 5)
