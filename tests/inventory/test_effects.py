from __future__ import annotations

from typing import Any

import pytest

from inventory import effects
from inventory.database import AsyncSession
from inventory.models import Build, Effect, EffectState
from tests.conftest import Database
from tests.inventory.world import discovered, later, make_group

FOREIGN, INSTALL, LOCAL = {"text": "foreign"}, {"text": "install"}, {"text": "local"}


@pytest.fixture
async def builds(database: Database) -> list[Build]:
    async with database.sessions.begin() as session:
        await make_group(session)
    return [(await discovered(database.sessions, number))[1] for number in (1, 2)]


async def write(
    session: AsyncSession,
    build: Build,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    seconds: float,
    key: str = "52:54:00:00:00:01",
) -> Effect:
    return await effects.intend(
        session, build.id, "TFTP", "proxy /tftpboot", key, before, after, later(seconds)
    )


async def test_an_effect_goes_from_intended_to_verified(
    database: Database, builds: list[Build]
) -> None:
    async with database.sessions.begin() as session:
        effect = await write(session, builds[0], None, INSTALL, 1)
        assert (effect.state, effect.before, effect.after) == (EffectState.INTENDED, None, INSTALL)
        await effects.applied(session, effect.id, later(2))
        await effects.verified(session, effect.id, later(3))
        (stored,) = await effects.of_build(session, builds[0].id)
    assert (stored.state, stored.applied_at, stored.verified_at) == (
        EffectState.VERIFIED,
        later(2),
        later(3),
    )


async def test_intending_again_keeps_the_original_before_and_one_row(
    database: Database, builds: list[Build]
) -> None:
    async with database.sessions.begin() as session:
        first = await write(session, builds[0], FOREIGN, INSTALL, 1)
        await effects.verified(session, first.id, later(2))
        # A run that starts over finds its own record there.
        again = await write(session, builds[0], INSTALL, INSTALL, 3)
        assert (again.id, again.before, again.earlier) == (first.id, FOREIGN, [])
        assert (again.state, again.verified_at) == (EffectState.INTENDED, None)


async def test_a_replaced_value_is_still_known_as_ours(
    database: Database, builds: list[Build]
) -> None:
    async with database.sessions.begin() as session:
        await write(session, builds[0], FOREIGN, INSTALL, 1)
        await write(session, builds[0], INSTALL, LOCAL, 2)
        removed = await write(session, builds[0], LOCAL, None, 3)
        assert (removed.before, removed.after) == (FOREIGN, None)
        assert removed.earlier == [INSTALL, LOCAL]
        back = await write(session, builds[0], None, INSTALL, 4)
        assert back.earlier == [INSTALL, LOCAL, None]


async def test_an_effect_that_was_undone_begins_anew(
    database: Database, builds: list[Build]
) -> None:
    async with database.sessions.begin() as session:
        first = await write(session, builds[0], None, INSTALL, 1)
        await effects.undone(session, first.id, later(2))
        again = await write(session, builds[0], FOREIGN, INSTALL, 3)
        assert (again.before, again.state, again.undone_at) == (
            FOREIGN,
            EffectState.INTENDED,
            None,
        )


async def test_what_any_build_wrote_at_a_place_is_ours_newest_first(
    database: Database, builds: list[Build]
) -> None:
    async with database.sessions.begin() as session:
        await write(session, builds[0], None, INSTALL, 1)
        await write(session, builds[0], INSTALL, LOCAL, 2)
        await write(session, builds[1], LOCAL, INSTALL, 3)
        await write(session, builds[1], None, FOREIGN, 4, key="another")
        ours = await effects.written_by_us(session, "TFTP", "proxy /tftpboot", "52:54:00:00:00:01")
        order = [one.key for one in await effects.of_build(session, builds[1].id)]
    assert ours == [INSTALL, LOCAL, INSTALL]
    assert order == ["52:54:00:00:00:01", "another"]
