"""Reported repositories: what was compared stays so until the host names another address."""

from __future__ import annotations

import pytest

from inventory import repositories
from inventory.reports import Repository
from inventory.repositories import RepositoryRow
from tests.conftest import Database
from tests.inventory.world import discovered, later, make_group

BASE = Repository(id="base", url="http://pulp.example.org/pulp/content/el9/")
ELSEWHERE = Repository(id="epel", url="http://mirror.example.org/epel/")


@pytest.fixture
async def host_id(database: Database) -> int:
    async with database.sessions.begin() as session:
        await make_group(session)
    host, _ = await discovered(database.sessions)
    return host.id


async def of_host(database: Database, host_id: int) -> list[RepositoryRow]:
    async with database.sessions() as session:
        return await repositories.of_host(session, host_id)


async def test_what_is_unknown_is_shown_as_such(database: Database, host_id: int) -> None:
    async with database.sessions.begin() as session:
        await repositories.keep(session, host_id, [BASE, ELSEWHERE], source="rhsm", at=later(0))
        assert len(await repositories.to_compare(session, [host_id])) == 2
        assert await repositories.to_compare(session, [host_id + 1]) == []
        found = {(host_id, BASE.url): "el9 of Pulp main", (host_id, ELSEWHERE.url): None}
        await repositories.compared(session, found, later(1))
    assert [one.known_as for one in await of_host(database, host_id)] == [
        "el9 of Pulp main",
        "unknown: no Pulp of this site serves it",
    ]


async def test_only_another_address_is_compared_anew(database: Database, host_id: int) -> None:
    moved = BASE.model_copy(update={"url": "http://pulp.example.org/pulp/content/el10/"})
    async with database.sessions.begin() as session:
        await repositories.keep(session, host_id, [BASE, ELSEWHERE], source="rhsm", at=later(0))
        found = {(host_id, BASE.url): "el9 of Pulp main", (host_id, ELSEWHERE.url): None}
        await repositories.compared(session, found, later(1))
    async with database.sessions.begin() as session:
        await repositories.keep(session, host_id, [BASE, ELSEWHERE], source="rhsm", at=later(2))
        assert await repositories.to_compare(session) == []
        await repositories.keep(session, host_id, [moved], source="rhsm", at=later(3))
        assert [one.url for one in await repositories.to_compare(session)] == [moved.url]
    assert [one.name for one in await of_host(database, host_id)] == ["base"]
