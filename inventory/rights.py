"""Who may do what to which hosts: roles, limited to sites and host groups.

One place for console, API and command line. What somebody may not see does not exist for them: it
is unknown, not forbidden, so that names are not given away.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlmodel import col, select

from inventory import hosts
from inventory.database import AsyncSession
from inventory.errors import Forbidden, UnknownHost
from inventory.models import Door, Host, HostGroup, Role, Site
from inventory.scope import Scope

__all__ = ["Actor", "in_scope", "own_groups", "own_host", "require", "require_group"]

_ORDER = tuple(Role)


@dataclass(frozen=True)
class Actor:
    """Somebody who asks for something, as every act wants to know it."""

    name: str
    door: Door
    role: Role
    scope: Scope = field(default_factory=Scope)
    person_id: int | None = None
    """None: no person that the inventory knows, such as root at the command line."""

    @property
    def title(self) -> str:
        """For builds and messages: ``ada in the console``."""
        match self.door:
            case Door.CONSOLE:
                return f"{self.name} in the console"
            case Door.API:
                return f"{self.name} by the API"
            case Door.CLI:
                return f"{self.name} at the command line"
            case Door.PREFECT:
                return self.name

    def may(self, role: Role) -> bool:
        """Whether it has at least a role."""
        return _ORDER.index(self.role) >= _ORDER.index(role)


def require(actor: Actor, role: Role, *, everywhere: bool = False) -> None:
    """Refuse whoever has less than a role.

    Args:
        actor: who asks.
        role: the least that it takes.
        everywhere: it concerns all hosts, so whoever is limited to some may not.

    Raises:
        Forbidden: says which role it takes.
    """
    if not actor.may(role):
        raise Forbidden(actor.name, f"it takes the role {role}, and they are {actor.role}")
    if everywhere and not actor.scope.everything:
        raise Forbidden(actor.name, "it concerns all sites and host groups, and they are limited")


def in_scope(scope: Scope) -> sa.ColumnElement[bool]:
    """The condition on ``Host`` that it lies within a scope."""
    limits: list[sa.ColumnElement[bool]] = []
    if scope.sites:
        sites = select(Site.id).where(col(Site.name).in_(scope.sites))
        limits.append(col(Host.site_id).in_(sites))
    if scope.host_groups:
        groups = select(HostGroup.id).where(col(HostGroup.name).in_(scope.host_groups))
        limits.append(
            sa.or_(col(Host.host_group_id).is_(None), col(Host.host_group_id).in_(groups))
        )
    return sa.and_(sa.true(), *limits)


async def own_host(session: AsyncSession, actor: Actor, name: str) -> Host:
    """A host by its name, for whoever may see it.

    Raises:
        UnknownHost: there is none, or not for them.
    """
    host = await hosts.named(session, name)
    seen = await session.exec(select(Host.id).where(col(Host.id) == host.id, in_scope(actor.scope)))
    if seen.first() is None:
        raise UnknownHost(name)
    return host


def require_group(actor: Actor, group: str) -> None:
    """Refuse whoever may not make hosts into a host group.

    Raises:
        Forbidden: they are limited to others.
    """
    if actor.scope.host_groups and group not in actor.scope.host_groups:
        allowed = ", ".join(sorted(actor.scope.host_groups))
        raise Forbidden(actor.name, f"they may provision {allowed} only, not {group}")


async def own_groups(session: AsyncSession, actor: Actor) -> list[str]:
    """The host groups that somebody may make hosts into, by name."""
    found = await session.exec(select(HostGroup.name).order_by(HostGroup.name))
    limited = actor.scope.host_groups
    return [one for one in found if not limited or one in limited]
