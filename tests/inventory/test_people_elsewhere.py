"""People of an OpenID provider: who they are, what they may do, and when no more."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlmodel import select

from inventory import acts_on_people, audit, people, people_elsewhere
from inventory.acts_on_people import Rights
from inventory.errors import BadPerson, NotSignedIn
from inventory.models import Door, Person, Role, SignIn
from inventory.people_elsewhere import Elsewhere
from inventory.rights import Actor
from inventory.scope import Scope
from tests.conftest import Database
from tests.inventory.world import later, make_group

ISSUER = "https://id.example.org/realms/racks"
ADA = Elsewhere(ISSUER, "7f3a", "ada")
ROOT = Actor("root", Door.CLI, Role.ADMIN)
OPERATOR = Rights(Role.OPERATOR)


async def admit(
    database: Database, who: Elsewhere = ADA, rights: Rights = OPERATOR, seconds: float = 0
) -> Person:
    async with database.sessions.begin() as session:
        return await people_elsewhere.admit(session, who, rights, at=later(seconds))


async def told(database: Database) -> list[tuple[str, str, str]]:
    async with database.sessions() as session:
        found = await audit.entries(session, Scope())
    return [(one.who, one.action, one.about) for one in reversed(found)]


async def test_the_subject_and_not_the_name_says_who_somebody_is(database: Database) -> None:
    first = await admit(database)
    renamed = await admit(database, Elsewhere(ISSUER, "7f3a", "countess"), seconds=60)
    assert (renamed.id, renamed.name) == (first.id, "ada")
    other = await admit(database, Elsewhere(ISSUER, "9b1c", "ada"))
    elsewhere = await admit(database, Elsewhere("https://other.example.org", "7f3a", "ada"))
    assert len({first.id, other.id, elsewhere.id}) == 3
    assert (other.name, elsewhere.name) == ("ada-2", "ada-3")


async def test_nobody_who_was_there_before_is_taken_over(database: Database) -> None:
    async with database.sessions.begin() as session:
        local = await people.add(
            session, "ada", role=Role.ADMIN, password="correct horse battery", at=later(0)
        )
    made = await admit(database, rights=Rights(Role.VIEWER))
    assert (made.name, made.role) == ("ada-2", Role.VIEWER)
    assert (await people.by_password(database.sessions, "ada", "correct horse battery")).id == (
        local.id
    )


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("Ada Lovelace", "Ada-Lovelace"),
        ("ada@example.org", "ada@example.org"),
        ("-- ünïx --", "n-x"),
        ("", "somebody"),
        ("…", "somebody"),
        ("a" * 200, "a" * 63),
    ],
)
async def test_any_name_becomes_one_of_ours(database: Database, called: str, name: str) -> None:
    assert (await admit(database, Elsewhere(ISSUER, "1", called))).name == name
    second = await admit(database, Elsewhere(ISSUER, "2", called))
    assert second.name.endswith("-2")
    assert len(second.name) <= 63


async def test_rights_are_those_of_the_groups_at_every_sign_in(database: Database) -> None:
    async with database.sessions.begin() as session:
        await make_group(session)
    await admit(database, rights=Rights(Role.ADMIN))
    limited = await admit(database, rights=Rights(Role.VIEWER, (), ("web",)))
    assert (limited.role, limited.host_groups) == (Role.VIEWER, ["web"])
    with pytest.raises(BadPerson, match="there is no site nowhere"):
        await admit(database, rights=Rights(Role.ADMIN, ("nowhere",)))
    assert (await admit(database, rights=Rights(Role.VIEWER, (), ("web",)))).role is Role.VIEWER
    # What has not changed is no act.
    assert await told(database) == [
        ("ada", "add", "person ada"),
        ("ada", "change", "person ada"),
    ]


async def test_whoever_has_lost_all_groups_is_out_everywhere_until_there_is_one(
    database: Database,
) -> None:
    ada = await admit(database, rights=Rights(Role.ADMIN))
    async with database.sessions.begin() as session:
        cookie = await people.sign_in(session, ada, later(1))
        token = await people.add_token(
            session, ada, "ci", role=Role.ADMIN, lasts=timedelta(days=90), at=later(1)
        )
    async with database.sessions.begin() as session:
        gone = await people_elsewhere.dismiss(session, ADA, at=later(2))
        assert gone is not None
        assert gone.id == ada.id
    async with database.sessions.begin() as session:
        with pytest.raises(NotSignedIn):
            await people.by_browser(session, cookie, later(3))
        with pytest.raises(NotSignedIn):
            await people.by_token(session, token, later(3))
        assert not list(await session.exec(select(SignIn)))
    again = await admit(database, rights=Rights(Role.VIEWER), seconds=4)
    assert (again.disabled_at, again.disabled_by_provider) == (None, False)
    async with database.sessions.begin() as session:
        # The token is good again, for no more than the person; the browser signs in anew.
        assert (await people.by_token(session, token, later(5))).role is Role.VIEWER
        with pytest.raises(NotSignedIn):
            await people.by_browser(session, cookie, later(5))
        assert await people_elsewhere.dismiss(session, Elsewhere(ISSUER, "x"), at=later(5)) is None


async def test_whom_an_admin_has_disabled_no_group_lets_in(database: Database) -> None:
    await admit(database)
    for dismissed_first in (False, True):
        async with database.sessions.begin() as session:
            if dismissed_first:
                await acts_on_people.change(
                    session, ROOT, "ada", OPERATOR, disabled=False, at=later(2)
                )
                await people_elsewhere.dismiss(session, ADA, at=later(2))
            await acts_on_people.change(session, ROOT, "ada", OPERATOR, disabled=True, at=later(2))
        with pytest.raises(NotSignedIn, match="an admin has disabled"):
            await admit(database, seconds=3)
        async with database.sessions.begin() as session:
            await people_elsewhere.dismiss(session, ADA, at=later(4))
        with pytest.raises(NotSignedIn, match="an admin has disabled"):
            await admit(database, seconds=5)


async def test_a_change_leaves_it_to_the_provider_who_has_no_group(database: Database) -> None:
    await admit(database)
    async with database.sessions.begin() as session:
        await people_elsewhere.dismiss(session, ADA, at=later(1))
        changed = await acts_on_people.change(
            session, ROOT, "ada", Rights(Role.VIEWER), disabled=False, at=later(2)
        )
        assert (changed.role, changed.disabled_at) == (Role.VIEWER, later(1))
        assert changed.disabled_by_provider
    assert (await admit(database, seconds=3)).disabled_at is None


async def test_nobody_of_a_provider_has_a_password_that_outlives_their_groups(
    database: Database,
) -> None:
    await admit(database)
    async with database.sessions.begin() as session:
        with pytest.raises(BadPerson, match="no password here"):
            await acts_on_people.set_password(
                session, ROOT, "ada", "correct horse battery", at=later(1)
            )


async def test_two_browsers_that_come_first_at_once_are_one_person(database: Database) -> None:
    found = await asyncio.gather(*(admit(database) for _ in range(4)))
    assert len({one.id for one in found}) == 1
    assert (await told(database)).count(("ada", "add", "person ada")) == 1


async def test_a_refusal_is_kept_with_who_and_where(database: Database) -> None:
    async with database.sessions.begin() as session:
        await people_elsewhere.note_refusal(
            session, ISSUER, "no rights", who=ADA, groups=("a",), address="192.0.2.1", at=later(0)
        )
        (entry,) = await audit.entries(session, Scope())
    assert (entry.who, entry.action, entry.note) == ("nobody known", "refuse sign-in", "no rights")
    assert entry.after is not None
    assert entry.after["subject"] == "7f3a"
    assert (entry.after["groups"], entry.after["address"]) == (["a"], "192.0.2.1")
