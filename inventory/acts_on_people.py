"""What admins do to people, and everybody to their own tokens: by right, and on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from inventory import audit, people, rights
from inventory.database import AsyncSession
from inventory.errors import Forbidden
from inventory.models import Person, Role
from inventory.rights import Actor

__all__ = ["Rights", "add", "add_token", "change", "remove_token", "set_password", "values_of"]


@dataclass(frozen=True)
class Rights:
    """What somebody may do, and where."""

    role: Role
    sites: Sequence[str] = ()
    host_groups: Sequence[str] = ()


def values_of(person: Person) -> dict[str, Any]:
    """Somebody as the audit log keeps them."""
    return {
        "role": person.role.value,
        "sites": list(person.sites),
        "host_groups": list(person.host_groups),
        "disabled": person.disabled_at is not None,
    }


async def add(
    session: AsyncSession,
    actor: Actor,
    name: str,
    wanted: Rights,
    *,
    password: str | None,
    at: datetime,
) -> Person:
    """Let somebody sign in.

    Raises:
        InventoryError: the actor is no admin, or the person cannot be made so.
    """
    rights.require(actor, Role.ADMIN, everywhere=True)
    made = await people.add(
        session,
        name,
        role=wanted.role,
        password=password,
        sites=wanted.sites,
        host_groups=wanted.host_groups,
        at=at,
    )
    await audit.record(session, actor, "add", f"person {name}", after=values_of(made), at=at)
    return made


async def change(
    session: AsyncSession,
    actor: Actor,
    name: str,
    wanted: Rights,
    *,
    disabled: bool,
    at: datetime,
) -> Person:
    """Change what somebody may do, or whether they may sign in at all.

    Args:
        session: in the caller's transaction.
        actor: who does it.
        name: of the person.
        wanted: what they may do from now on.
        disabled: they may not sign in, whatever groups they have; else they may, unless the
            provider says that no group gives them rights.
        at: the present.

    Raises:
        InventoryError: the actor is no admin, or nobody would be one any more.
    """
    rights.require(actor, Role.ADMIN, everywhere=True)
    person = await people.named(session, name)
    before = values_of(person)
    await people.change(
        session,
        person,
        role=wanted.role,
        sites=wanted.sites,
        host_groups=wanted.host_groups,
    )
    if disabled:
        await people.disable(session, person, at)
    else:
        await people.enable(session, person)
    await audit.record(
        session, actor, "change", f"person {name}", before=before, after=values_of(person), at=at
    )
    return person


async def set_password(
    session: AsyncSession, actor: Actor, name: str, password: str, *, at: datetime
) -> None:
    """Give somebody another password: oneself, or as an admin anybody.

    Raises:
        InventoryError: it is somebody else's, or too short.
    """
    if name != actor.name:
        rights.require(actor, Role.ADMIN, everywhere=True)
    await people.set_password(session, await people.named(session, name), password)
    await audit.record(session, actor, "set password", f"person {name}", at=at)


async def add_token(
    session: AsyncSession,
    actor: Actor,
    name: str,
    what_for: str,
    role: Role,
    *,
    lasts: timedelta | None,
    at: datetime,
) -> str:
    """Make a token by which a program speaks in somebody's name.

    A token makes no stronger one: it is never more than what the actor may now.

    Returns:
        The token; it is not kept.

    Raises:
        InventoryError: it is somebody else's, or would be stronger.
    """
    if name != actor.name:
        rights.require(actor, Role.ADMIN, everywhere=True)
    if not actor.may(role):
        raise Forbidden(actor.name, f"a token of the role {role} may do more than they may here")
    person = await people.named(session, name)
    token = await people.add_token(session, person, what_for, role=role, lasts=lasts, at=at)
    after = {"for": what_for, "role": role.value, "days": lasts.days if lasts else None}
    await audit.record(session, actor, "add token", f"person {name}", after=after, at=at)
    return token


async def remove_token(
    session: AsyncSession, actor: Actor, name: str, what_for: str, *, at: datetime
) -> None:
    """Take a token away: one's own, or as an admin anybody's.

    Raises:
        InventoryError: it is somebody else's, or there is none.
    """
    if name != actor.name:
        rights.require(actor, Role.ADMIN, everywhere=True)
    person = await people.named(session, name)
    await people.remove_token(session, person.id, what_for)
    before = {"for": what_for}
    await audit.record(session, actor, "remove token", f"person {name}", before=before, at=at)
