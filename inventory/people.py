"""People who may sign in: passwords, sign-ins of browsers, tokens of programs.

Secrets are random and shown once; what is kept of them is a SHA-256, of passwords an argon2id hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from inventory.database import AsyncSession, Sessions
from inventory.errors import BadPerson, NotSignedIn, UnknownPerson
from inventory.models import ApiToken, Door, HostGroup, Person, Role, SignIn, Site
from inventory.rights import Actor
from inventory.scope import Scope

__all__ = [
    "add",
    "add_token",
    "by_browser",
    "by_password",
    "by_token",
    "change",
    "disable",
    "enable",
    "everybody",
    "first_admin",
    "named",
    "new_password",
    "remove_token",
    "require_known",
    "set_password",
    "sign_in",
    "sign_out",
    "tokens_of",
]

IDLE = timedelta(hours=12)
"""A browser that has asked for nothing for so long is signed out."""
LONGEST = timedelta(days=7)
"""After so long everybody signs in again."""
SHORTEST_PASSWORD = 12
_SEEN = timedelta(minutes=1)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_TOKEN = "rr_"  # noqa: S105  so that whoever finds one knows whose it is
_hasher = PasswordHasher()
_computing = ThreadPoolExecutor(2, "argon2")
"""Each hash takes 64 MiB and some ten milliseconds: a flood of guesses waits here."""
_NOBODY = _hasher.hash(secrets.token_hex(16))
"""Checked for names that nobody has, so that the time tells nothing."""


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def new_password() -> str:
    """A password that nobody guesses, to be typed once and changed."""
    return secrets.token_urlsafe(15)


async def _hash(password: str) -> str:
    if len(password) < SHORTEST_PASSWORD:
        raise BadPerson(f"a password has at least {SHORTEST_PASSWORD} characters")
    if len(password) > 1024:
        raise BadPerson("a password has at most 1024 characters")
    return await asyncio.get_running_loop().run_in_executor(_computing, _hasher.hash, password)


async def _is(password: str, kept: str) -> bool:
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(_computing, _hasher.verify, kept, password[:1024])
    except (Argon2Error, InvalidHashError):
        return False


async def add(
    session: AsyncSession,
    name: str,
    *,
    role: Role,
    password: str | None = None,
    subject: str | None = None,
    sites: Collection[str] = (),
    host_groups: Collection[str] = (),
    at: datetime,
) -> Person:
    """Let somebody sign in.

    Args:
        session: in the caller's transaction.
        name: by which they sign in; letters, digits and ``. _ @ -``.
        role: what they may do.
        password: None: they sign in elsewhere.
        subject: who they are to the OpenID provider.
        sites: names of the sites that they are limited to; empty: all.
        host_groups: likewise of host groups.
        at: the present.

    Raises:
        BadPerson: the name is taken or none, the password is short, a site or group is unknown.
    """
    if not _NAME.fullmatch(name):
        raise BadPerson(f"{name!r} is no name: letters, digits and . _ @ -, 63 at most")
    await require_known(session, sites, host_groups)
    person = Person(
        name=name,
        role=role,
        password_hash=None if password is None else await _hash(password),
        subject=subject,
        sites=sorted(sites),
        host_groups=sorted(host_groups),
        made_at=at,
    )
    try:
        async with session.begin_nested():
            session.add(person)
            await session.flush()
    except IntegrityError:
        raise BadPerson(f"there is somebody called {name} already") from None
    return person


async def require_known(
    session: AsyncSession, sites: Collection[str], host_groups: Collection[str]
) -> None:
    """Refuse limits to what is not there.

    Raises:
        BadPerson: a site or host group is unknown.
    """
    for what, asked, column in (
        ("site", sites, col(Site.name)),
        ("host group", host_groups, col(HostGroup.name)),
    ):
        if asked:
            known = set(await session.exec(select(column)))
            if missing := sorted(set(asked) - known):
                listed = ", ".join(sorted(known)) or "none"
                raise BadPerson(f"there is no {what} {', '.join(missing)}; there are: {listed}")


async def first_admin(session: AsyncSession, at: datetime) -> str | None:
    """Make ``admin`` where there is nobody yet.

    Returns:
        The password, which is kept nowhere; None: there is somebody already.
    """
    if (await session.exec(select(Person.id).limit(1))).first() is not None:
        return None
    password = new_password()
    await add(session, "admin", role=Role.ADMIN, password=password, at=at)
    return password


async def named(session: AsyncSession, name: str) -> Person:
    """Somebody by name, locked until the end of the transaction.

    Raises:
        UnknownPerson: nobody has it.
    """
    found = await session.exec(select(Person).where(Person.name == name).with_for_update())
    if (person := found.one_or_none()) is None:
        raise UnknownPerson(name)
    return person


async def everybody(session: AsyncSession) -> list[Person]:
    """All people by name."""
    return list(await session.exec(select(Person).order_by(Person.name)))


async def change(
    session: AsyncSession,
    person: Person,
    *,
    role: Role,
    sites: Collection[str],
    host_groups: Collection[str],
) -> None:
    """Change what somebody may do; from their next request on.

    Raises:
        BadPerson: a site or group is unknown, or nobody would be admin any more.
    """
    await require_known(session, sites, host_groups)
    if role is not Role.ADMIN or sites or host_groups:
        await _require_other_admin(session, person)
    person.role, person.sites, person.host_groups = role, sorted(sites), sorted(host_groups)
    await session.flush()


async def _require_other_admin(session: AsyncSession, person: Person) -> None:
    # All of them are locked, or two admins could take each other's role at the same moment.
    admins = await session.exec(
        select(Person)
        .where(Person.role == Role.ADMIN, col(Person.disabled_at).is_(None))
        .order_by(col(Person.id))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    whole = {one.id for one in admins if not one.sites and not one.host_groups}
    if person.id in whole and len(whole) == 1:
        raise BadPerson(f"{person.name} is the only admin: make somebody else one first")


async def disable(session: AsyncSession, person: Person, at: datetime) -> None:
    """Believe nothing of somebody any more: they are signed out, and their tokens are refused.

    Raises:
        BadPerson: nobody would be admin any more.
    """
    await _require_other_admin(session, person)
    person.disabled_at = person.disabled_at or at
    # From now on it is a person's decision, which no group at a provider takes back.
    person.disabled_by_provider = False
    await session.exec(sa.delete(SignIn).where(col(SignIn.person_id) == person.id))
    await session.flush()


async def enable(session: AsyncSession, person: Person) -> None:
    """Let somebody sign in again whom an admin did not let.

    Who has no group at the provider that gives them rights stays out until they have one.
    """
    if not person.disabled_by_provider:
        person.disabled_at = None
    await session.flush()


async def set_password(session: AsyncSession, person: Person, password: str) -> None:
    """Give somebody another password; every browser signs in anew.

    Raises:
        BadPerson: it is too short, or they sign in elsewhere.
    """
    if person.subject is not None:
        # It would outlive their groups at the provider.
        raise BadPerson(
            f"{person.name} signs in at the OpenID provider, and has no password here: let them "
            "change it there"
        )
    person.password_hash = await _hash(password)
    await session.exec(sa.delete(SignIn).where(col(SignIn.person_id) == person.id))
    await session.flush()


async def by_password(sessions: Sessions, name: str, password: str) -> Person:
    """Whoever signs in by name and password; no connection is held while it is computed.

    Raises:
        NotSignedIn: not right, or they may not sign in; it does not say which.
    """
    async with sessions() as session:
        person = (await session.exec(select(Person).where(Person.name == name))).one_or_none()
    kept = person.password_hash if person is not None else None
    right = await _is(password, kept or _NOBODY)
    if person is None or kept is None or not right or person.disabled_at is not None:
        raise NotSignedIn
    return person


async def sign_in(session: AsyncSession, person: Person, at: datetime) -> str:
    """Sign a browser in.

    Returns:
        What its cookie holds; it is not kept.
    """
    secret = secrets.token_urlsafe(32)
    long_ago = sa.or_(col(SignIn.seen_at) < at - IDLE, col(SignIn.made_at) < at - LONGEST)
    await session.exec(sa.delete(SignIn).where(col(SignIn.person_id) == person.id, long_ago))
    session.add(SignIn(hash=_digest(secret), person_id=person.id, made_at=at, seen_at=at))
    await session.flush()
    return secret


async def sign_out(session: AsyncSession, secret: str) -> None:
    """Sign a browser out; its cookie opens nothing any more."""
    await session.exec(sa.delete(SignIn).where(col(SignIn.hash) == _digest(secret)))


async def by_browser(session: AsyncSession, secret: str, at: datetime) -> Actor:
    """Whose browser a cookie is of.

    Raises:
        NotSignedIn: nobody's, or it was signed out, or too long ago.
    """
    found = await session.exec(
        select(SignIn, Person)
        .join(Person, col(Person.id) == col(SignIn.person_id))
        .where(
            col(SignIn.hash) == _digest(secret),
            col(SignIn.seen_at) >= at - IDLE,
            col(SignIn.made_at) >= at - LONGEST,
            col(Person.disabled_at).is_(None),
        )
    )
    row = found.one_or_none()
    if row is None:
        raise NotSignedIn("sign in")
    signed_in, person = row
    if at - signed_in.seen_at > _SEEN:
        signed_in.seen_at = at
    return _actor(person, Door.CONSOLE, person.role)


async def add_token(
    session: AsyncSession,
    person: Person,
    name: str,
    *,
    role: Role,
    lasts: timedelta | None,
    at: datetime,
) -> str:
    """Make a token by which a program speaks in somebody's name.

    Args:
        session: in the caller's transaction.
        person: in whose.
        name: what it is for.
        role: at most this, and never more than the person.
        lasts: until then; None: until it is removed.
        at: the present.

    Returns:
        The token; it is not kept.

    Raises:
        BadPerson: there is one for that already, or it is for nothing.
    """
    if not 0 < len(name) <= 100:
        raise BadPerson("say in at most 100 characters what the token is for")
    token = _TOKEN + secrets.token_urlsafe(32)
    made = ApiToken(
        person_id=person.id,
        name=name,
        hash=_digest(token),
        role=role,
        made_at=at,
        expires_at=None if lasts is None else at + lasts,
    )
    try:
        async with session.begin_nested():
            session.add(made)
            await session.flush()
    except IntegrityError:
        raise BadPerson(f"{person.name} has a token for {name} already") from None
    return token


async def tokens_of(session: AsyncSession, person_id: int) -> list[ApiToken]:
    """Somebody's tokens by name."""
    found = await session.exec(
        select(ApiToken).where(ApiToken.person_id == person_id).order_by(ApiToken.name)
    )
    return list(found)


async def remove_token(session: AsyncSession, person_id: int, name: str) -> None:
    """Take a token away; it opens nothing any more.

    Raises:
        BadPerson: there is none of this name.
    """
    gone = await session.exec(
        sa.delete(ApiToken)
        .where(col(ApiToken.person_id) == person_id, col(ApiToken.name) == name)
        .returning(col(ApiToken.id))
    )
    if gone.scalar_one_or_none() is None:
        raise BadPerson(f"there is no token for {name}")


async def by_token(session: AsyncSession, token: str, at: datetime) -> Actor:
    """In whose name a token speaks.

    Raises:
        NotSignedIn: nobody's, or it has expired.
    """
    found = await session.exec(
        select(ApiToken, Person)
        .join(Person, col(Person.id) == col(ApiToken.person_id))
        .where(
            col(ApiToken.hash) == _digest(token),
            sa.or_(col(ApiToken.expires_at).is_(None), col(ApiToken.expires_at) > at),
            col(Person.disabled_at).is_(None),
        )
    )
    row = found.one_or_none()
    if row is None:
        raise NotSignedIn("the token is not right, or has expired: rackrise user token makes one")
    kept, person = row
    if kept.used_at is None or at - kept.used_at > _SEEN:
        kept.used_at = at
    least = min(kept.role, person.role, key=list(Role).index)
    return _actor(person, Door.API, least)


def _actor(person: Person, door: Door, role: Role) -> Actor:
    scope = Scope(frozenset(person.sites), frozenset(person.host_groups))
    return Actor(person.name, door, role, scope, person.id)
