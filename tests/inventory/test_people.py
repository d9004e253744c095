"""Who may sign in, and in whose name a token speaks."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlmodel import select

from inventory import people
from inventory.errors import BadPerson, NotSignedIn, UnknownPerson
from inventory.models import ApiToken, Door, Person, Role, SignIn
from tests.conftest import Database
from tests.inventory.world import later, make_group

PASSWORD = "correct horse battery"


async def make(database: Database, name: str, role: Role = Role.ADMIN) -> Person:
    async with database.sessions.begin() as session:
        return await people.add(session, name, role=role, password=PASSWORD, at=later(0))


async def test_whoever_knows_the_password_is_believed_and_nobody_else(database: Database) -> None:
    await make(database, "ada")
    assert (await people.by_password(database.sessions, "ada", PASSWORD)).name == "ada"
    for name, password in (("ada", PASSWORD + "x"), ("ada", ""), ("eve", PASSWORD)):
        with pytest.raises(NotSignedIn, match="name or password"):
            await people.by_password(database.sessions, name, password)


async def test_no_secret_is_kept_as_it_is(database: Database) -> None:
    ada = await make(database, "ada")
    async with database.sessions.begin() as session:
        cookie = await people.sign_in(session, ada, later(0))
        token = await people.add_token(
            session, ada, "ci", role=Role.VIEWER, lasts=None, at=later(0)
        )
    async with database.sessions() as session:
        kept = [
            one.model_dump_json()
            for table in (Person, SignIn, ApiToken)
            for one in await session.exec(select(table))
        ]
    assert len(kept) == 3
    assert not any(secret in row for row in kept for secret in (PASSWORD, cookie, token))


async def test_a_browser_is_signed_out_when_it_is_idle_too_old_or_told_so(
    database: Database,
) -> None:
    ada = await make(database, "ada")
    async with database.sessions.begin() as session:
        cookie = await people.sign_in(session, ada, later(0))
        actor = await people.by_browser(session, cookie, later(60))
        assert (actor.name, actor.door, actor.role) == ("ada", Door.CONSOLE, Role.ADMIN)
        with pytest.raises(NotSignedIn):
            await people.by_browser(session, cookie, later(43_200 + 1))
        # Somebody who looks every hour stays signed in, but not for ever.
        for hour in range(1, 7 * 24):
            await people.by_browser(session, cookie, later(hour * 3600))
        with pytest.raises(NotSignedIn):
            await people.by_browser(session, cookie, later(7 * 24 * 3600 + 1))
        again = await people.sign_in(session, ada, later(0))
        await people.sign_out(session, again)
        with pytest.raises(NotSignedIn):
            await people.by_browser(session, again, later(1))


async def test_another_password_signs_every_browser_out(database: Database) -> None:
    ada = await make(database, "ada")
    async with database.sessions.begin() as session:
        cookie = await people.sign_in(session, ada, later(0))
        await people.set_password(session, await people.named(session, "ada"), "a" * 12)
        with pytest.raises(NotSignedIn):
            await people.by_browser(session, cookie, later(1))
        with pytest.raises(BadPerson, match="at least 12"):
            await people.set_password(session, await people.named(session, "ada"), "short")


async def test_a_token_never_does_more_than_its_person(database: Database) -> None:
    ada = await make(database, "ada", Role.OPERATOR)
    await make(database, "root")
    async with database.sessions.begin() as session:
        token = await people.add_token(
            session, ada, "ci", role=Role.ADMIN, lasts=timedelta(hours=1), at=later(0)
        )
        assert (await people.by_token(session, token, later(1))).role is Role.OPERATOR
        with pytest.raises(NotSignedIn):
            await people.by_token(session, token, later(3601))
        with pytest.raises(NotSignedIn):
            await people.by_token(session, token[:-1], later(1))
        with pytest.raises(BadPerson, match="has a token for ci"):
            await people.add_token(session, ada, "ci", role=Role.VIEWER, lasts=None, at=later(0))
        await people.disable(session, await people.named(session, "ada"), later(2))
        with pytest.raises(NotSignedIn):
            await people.by_token(session, token, later(3))
        await people.enable(session, await people.named(session, "ada"))
        await people.by_token(session, token, later(4))
        await people.remove_token(session, ada.id, "ci")
        with pytest.raises(NotSignedIn):
            await people.by_token(session, token, later(5))


async def test_somebody_stays_admin_also_when_two_leave_at_once(database: Database) -> None:
    for name in ("ada", "bob"):
        await make(database, name)

    async def leave(name: str) -> None:
        async with database.sessions.begin() as session:
            person = await people.named(session, name)
            await people.disable(session, person, later(1))

    # Each locks itself first and then all: one of the two may be chosen by PostgreSQL to give way.
    ends = await asyncio.gather(leave("ada"), leave("bob"), return_exceptions=True)
    assert len([one for one in ends if one is None]) <= 1
    async with database.sessions() as session:
        left = [one for one in await people.everybody(session) if one.disabled_at is None]
    assert left
    with pytest.raises(BadPerson, match="only admin"):
        await asyncio.gather(leave("ada"), leave("bob"))


@pytest.mark.parametrize("name", ["", "a b", "-x", "é", "x" * 64])
async def test_a_name_is_one(database: Database, name: str) -> None:
    async with database.sessions.begin() as session:
        with pytest.raises(BadPerson, match="is no name"):
            await people.add(session, name, role=Role.VIEWER, at=later(0))


async def test_limits_name_what_there_is(database: Database) -> None:
    async with database.sessions.begin() as session:
        await make_group(session)
        await people.add(
            session, "ada", role=Role.OPERATOR, sites=["lab"], host_groups=["web"], at=later(0)
        )
        with pytest.raises(BadPerson, match="no host group db; there are: web"):
            await people.add(session, "b", role=Role.VIEWER, host_groups=["db"], at=later(0))
        with pytest.raises(BadPerson, match="somebody called ada"):
            await people.add(session, "ada", role=Role.VIEWER, at=later(0))
        with pytest.raises(UnknownPerson, match="eve"):
            await people.named(session, "eve")
