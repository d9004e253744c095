"""The audit log: who did what, through which door, and how it was before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import col, select

from inventory.database import AsyncSession
from inventory.models import AuditEntry, Host, HostGroup, Site
from inventory.rights import Actor
from inventory.scope import Scope
from inventory.storable import storable_text, storable_values

__all__ = ["Condition", "condition_of", "entries", "record", "record_host"]


@dataclass(frozen=True)
class Condition:
    """A host as an entry keeps it, before and after."""

    name: str
    state: str
    site: str
    host_group: str | None

    def values(self) -> dict[str, Any]:
        """As the log keeps it."""
        return {"name": self.name, "state": self.state, "host_group": self.host_group}


async def condition_of(session: AsyncSession, host_id: int) -> Condition:
    """How a host is at this moment of the transaction."""
    await session.flush()
    row = (
        await session.exec(
            select(Host.name, Host.state, Site.name, HostGroup.name)
            .join(Site, col(Site.id) == col(Host.site_id))
            .outerjoin(HostGroup, col(HostGroup.id) == col(Host.host_group_id))
            .where(col(Host.id) == host_id)
        )
    ).one()
    return Condition(*row)


async def record_host(
    session: AsyncSession,
    actor: Actor,
    action: str,
    host_id: int,
    *,
    before: Condition,
    at: datetime,
    note: str = "",
) -> None:
    """Keep what somebody did to a host, in the transaction that does it."""
    after = await condition_of(session, host_id)
    session.add(
        AuditEntry(
            at=at,
            who=actor.name,
            door=actor.door,
            action=action,
            about=f"host {after.name}",
            site=after.site,
            host_group=after.host_group,
            before=before.values(),
            after=after.values(),
            note=storable_text(note),
        )
    )
    await session.flush()


async def record(
    session: AsyncSession,
    actor: Actor,
    action: str,
    about: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    at: datetime,
    note: str = "",
) -> None:
    """Keep what somebody did to anything else, in the transaction that does it.

    Args:
        session: in the caller's transaction.
        actor: who.
        action: what, as a verb: ``add``, ``change``, ``pause``.
        about: kind and name of the thing: ``rule big ones``.
        before: its values as JSON, without secrets; None: it was not there.
        after: likewise; None: it is gone.
        at: the present.
        note: what the person said to it.
    """
    session.add(
        AuditEntry(
            at=at,
            who=actor.name,
            door=actor.door,
            action=action,
            about=about,
            before=None if before is None else storable_values(before),
            after=None if after is None else storable_values(after),
            note=storable_text(note),
        )
    )
    await session.flush()


async def entries(
    session: AsyncSession,
    scope: Scope,
    *,
    about: str = "",
    who: str = "",
    before_id: int | None = None,
    limit: int = 100,
) -> list[AuditEntry]:
    """The newest entries first.

    Args:
        session: only read.
        scope: of whoever looks; entries that are about no host need no limits at all.
        about: only of this thing: ``host web01.example.org``.
        who: only of this person.
        before_id: only older ones than this entry, for the next page.
        limit: at most so many.
    """
    only: list[sa.ColumnElement[bool]] = []
    if not scope.everything:
        only.append(col(AuditEntry.site).is_not(None))
        if scope.sites:
            only.append(col(AuditEntry.site).in_(scope.sites))
        if scope.host_groups:
            group = col(AuditEntry.host_group)
            only.append(sa.or_(group.is_(None), group.in_(scope.host_groups)))
    if about:
        only.append(col(AuditEntry.about) == about)
    if who:
        only.append(col(AuditEntry.who) == who)
    if before_id is not None:
        only.append(col(AuditEntry.id) < before_id)
    found = await session.exec(
        select(AuditEntry).where(*only).order_by(col(AuditEntry.id).desc()).limit(limit)
    )
    return list(found)
