"""People who sign in at an OpenID provider: known by its subject, with rights by its groups.

Never by name or mail: whoever may choose those there would become somebody else here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import col, select

from inventory import audit, people
from inventory.acts_on_people import Rights, values_of
from inventory.database import AsyncSession
from inventory.errors import BadPerson, NotSignedIn
from inventory.models import Door, Person, Role, SignIn
from inventory.rights import Actor

__all__ = ["Elsewhere", "admit", "dismiss", "known", "note_refusal"]

_LONGEST_NAME = 63
_SAME_NAMES = 1000
_MOST_GROUPS = 100
_FOREIGN = re.compile(r"[^A-Za-z0-9._@-]+")


@dataclass(frozen=True)
class Elsewhere:
    """Somebody as an OpenID provider knows them."""

    issuer: str
    subject: str
    name: str = ""
    """As they are called there; here they get it if nobody has it."""

    @property
    def key(self) -> str:
        """By which they are known here, whatever they are called."""
        return f"{self.issuer} {self.subject}"


async def known(session: AsyncSession, who: Elsewhere) -> Person | None:
    """The person of a subject, locked until the end of the transaction; None: never seen."""
    found = await session.exec(select(Person).where(Person.subject == who.key).with_for_update())
    return found.one_or_none()


async def admit(session: AsyncSession, who: Elsewhere, rights: Rights, *, at: datetime) -> Person:
    """Whoever has signed in at the provider, with the rights of their groups as they are now.

    Whom nobody has seen before becomes a person. Who had lost all groups and has some again, may
    sign in again; whom an admin has disabled, may not.

    Args:
        session: in the caller's transaction.
        who: as the provider says.
        rights: that their groups give them.
        at: the present.

    Raises:
        BadPerson: the rights name a site or host group that is not there.
        NotSignedIn: an admin has disabled them.
    """
    await people.require_known(session, rights.sites, rights.host_groups)
    person = await known(session, who) or await _made(session, who, rights, at)
    if person.disabled_at is not None and not person.disabled_by_provider:
        raise NotSignedIn(f"{person.name} may not sign in: an admin has disabled them here")
    before = values_of(person)
    # Also where no admin would be left: who is admin is the provider's to say.
    person.role = rights.role
    person.sites, person.host_groups = sorted(rights.sites), sorted(rights.host_groups)
    person.disabled_at, person.disabled_by_provider = None, False
    if (after := values_of(person)) != before:
        await audit.record(
            session,
            _actor(person.name),
            "change",
            f"person {person.name}",
            before=before,
            after=after,
            at=at,
            note="by their groups at the OpenID provider",
        )
    await session.flush()
    return person


async def dismiss(session: AsyncSession, who: Elsewhere, *, at: datetime) -> Person | None:
    """Believe nothing any more of somebody whose groups give no rights.

    They are signed out everywhere, and their tokens open nothing until they have such a group
    again: a slip at the provider must not cost programs theirs.

    Returns:
        Who it was; None: nobody has seen them before, and there is nothing to take.
    """
    person = await known(session, who)
    if person is None:
        return None
    await session.exec(sa.delete(SignIn).where(col(SignIn.person_id) == person.id))
    if person.disabled_at is None:
        before = values_of(person)
        person.disabled_at, person.disabled_by_provider = at, True
        await audit.record(
            session,
            _actor(person.name),
            "change",
            f"person {person.name}",
            before=before,
            after=values_of(person),
            at=at,
            note="no group at the OpenID provider gives them rights: signed out, and their tokens "
            "open nothing until one does again",
        )
    await session.flush()
    return person


async def note_refusal(
    session: AsyncSession,
    issuer: str,
    why: str,
    *,
    who: Elsewhere | None = None,
    groups: tuple[str, ...] = (),
    address: str,
    at: datetime,
) -> None:
    """Keep in the audit log that somebody was not let in.

    Args:
        session: in the caller's transaction.
        issuer: the provider.
        why: in a sentence.
        who: as the provider says; None: it is not known.
        groups: that the provider says they are in.
        address: where the browser is.
        at: the present.
    """
    person = await known(session, who) if who else None
    after: dict[str, object] = {"address": address}
    if who is not None:
        after |= {"subject": who.subject, "called": who.name, "groups": list(groups[:_MOST_GROUPS])}
    name = person.name if person else "nobody known"
    about = f"OpenID provider {issuer}"
    await audit.record(session, _actor(name), "refuse sign-in", about, after=after, at=at, note=why)


async def _made(session: AsyncSession, who: Elsewhere, rights: Rights, at: datetime) -> Person:
    for name in _names(who.name):
        try:
            person = await people.add(
                session,
                name,
                role=rights.role,
                subject=who.key,
                sites=rights.sites,
                host_groups=rights.host_groups,
                at=at,
            )
        except BadPerson:
            # The name is taken; or the same person signs in in another browser at this moment.
            if (there := await known(session, who)) is not None:
                return there
            continue
        await audit.record(
            session,
            _actor(name),
            "add",
            f"person {name}",
            after={**values_of(person), "subject": who.subject},
            at=at,
            note=f"signed in for the first time at the OpenID provider {who.issuer}",
        )
        return person
    raise BadPerson(f"all names like {who.name!r} are taken")


def _names(wanted: str) -> Iterator[str]:
    """Names for somebody, the best first."""
    plain = _FOREIGN.sub("-", wanted).lstrip("._@-")[:_LONGEST_NAME].rstrip("-") or "somebody"
    yield plain
    for number in range(2, _SAME_NAMES):
        ending = f"-{number}"
        yield plain[: _LONGEST_NAME - len(ending)] + ending


def _actor(name: str) -> Actor:
    return Actor(name, Door.CONSOLE, Role.VIEWER)
