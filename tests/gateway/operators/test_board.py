"""What open pages show is made once for all that have the same rights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.live import GATHER_SECONDS
from gateway.operators.console.board import Board
from gateway.operators.console.pages import FORM
from gateway.operators.context import Operators
from gateway.operators.throttle import Throttle
from inventory.database import AsyncSession
from inventory.errors import UnknownHost
from inventory.models import Door, Role
from inventory.rights import Actor
from inventory.scope import Scope
from tests.gateway.operators.conftest import Office
from tests.inventory.world import discovered

ADA = Actor("ada", Door.CONSOLE, Role.OPERATOR)
BOB = Actor("bob", Door.CONSOLE, Role.OPERATOR)
EVE = Actor("eve", Door.CONSOLE, Role.VIEWER)
FAR = Actor("far", Door.CONSOLE, Role.OPERATOR, Scope(frozenset({"elsewhere"})))
_asked: list[str] = []


class Counted(Operators):
    """A gateway that counts how often the database is asked."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        _asked.append("")
        async with super().transaction() as session:
            yield session


@pytest.fixture
def board(office: Office) -> Board:
    _asked.clear()
    sessions = office.database.sessions
    return Board(Counted(office.settings, sessions, office.now, Throttle(), office.hub))


async def test_two_hundred_pages_of_a_host_ask_once_for_a_change(
    office: Office, board: Board
) -> None:
    host, _ = await discovered(office.database.sessions)
    made = await asyncio.gather(*(board.host(one, host.id) for one in (ADA, BOB) * 100))
    assert len(_asked) == 1
    assert {tuple(one) for one in made} == {tuple(made[0])}
    # Forms are each browser's own: what is shared holds nobody's value.
    assert FORM in "".join(made[0])
    await board.host(EVE, host.id)
    assert len(_asked) == 2
    for _ in range(5):
        office.hub.hear(str(host.id))
    await asyncio.sleep(GATHER_SECONDS * 2)
    await asyncio.gather(*(board.host(ADA, host.id) for _ in range(100)))
    assert len(_asked) == 3


async def test_each_sees_what_is_theirs(office: Office, board: Board) -> None:
    host, _ = await office.held(1, 14, "the name server was away")
    assert "Retry it" in await board.held(ADA)
    assert "Retry it" not in await board.held(EVE)
    assert "was away" in await board.held(EVE)
    assert "No host is held" in await board.held(FAR)
    with pytest.raises(UnknownHost):
        await board.host(FAR, host.id)
    with pytest.raises(UnknownHost):
        await board.host(ADA, host.id + 1)
    other, _ = await discovered(office.database.sessions, 2)
    assert other.name in await board.discovered(ADA, "", "")
    assert "No discovered host is like this" in await board.discovered(ADA, "nothing", "")
    assert "No host waits" in await board.discovered(FAR, "", "")
    assert 'type="checkbox"' not in await board.discovered(EVE, "", "")
