"""What hosts report to have, packages, modules, repositories: the latest, and what changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from inventory.database import AsyncSession
from inventory.models import Profile, ProfileChange

__all__ = [
    "PACKAGES",
    "Difference",
    "ProfileRow",
    "changes_of",
    "difference",
    "forget_changes",
    "in_words",
    "keep",
    "of_host",
    "packages_of",
]

PACKAGES = frozenset({"rpm", "deb"})
"""Kinds that are packages."""

Items = Sequence[Any]


@dataclass(frozen=True)
class Difference:
    """What came and what went between two profiles."""

    added: list[Any]
    removed: list[Any]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


@dataclass(frozen=True)
class ProfileRow:
    """One kind of things that a host has, for people."""

    content_type: str
    count: int
    received_at: datetime
    changed_at: datetime
    added: int
    """By the last change; 0 where there was none."""
    removed: int


def difference(before: Items, now: Items) -> Difference:
    """What came and went, by value; the order and repetitions count for nothing."""
    old = {_spelt(one): one for one in before}
    new = {_spelt(one): one for one in now}
    return Difference(
        added=[one for text, one in new.items() if text not in old],
        removed=[one for text, one in old.items() if text not in new],
    )


def _spelt(item: Any) -> str:
    return json.dumps(item, sort_keys=True, separators=(",", ":"))


async def keep(
    session: AsyncSession, host_id: int, content_type: str, items: list[Any], at: datetime
) -> Difference | None:
    """Keep what a host has now, and how that differs from what it had.

    Args:
        session: in the caller's transaction.
        host_id: whose.
        content_type: of what.
        items: fit to be stored.
        at: the present.

    Returns:
        What changed; None: it is the first.
    """
    made = await session.exec(
        insert(Profile)
        .values(
            host_id=host_id, content_type=content_type, received_at=at, changed_at=at, items=items
        )
        .on_conflict_do_nothing()
        .returning(col(Profile.host_id))
    )
    if made.scalar_one_or_none() is not None:
        return None
    found = await session.exec(
        select(Profile)
        .where(Profile.host_id == host_id, Profile.content_type == content_type)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    profile = found.one()
    changed = await asyncio.to_thread(difference, profile.items, items)
    profile.received_at = at
    if changed:
        profile.items, profile.changed_at = items, at
        session.add(
            ProfileChange(
                host_id=host_id,
                content_type=content_type,
                at=at,
                added=changed.added,
                removed=changed.removed,
            )
        )
    await session.flush()
    return changed


async def of_host(session: AsyncSession, host_id: int) -> list[ProfileRow]:
    """What a host last reported to have, by kind, without the things themselves."""
    last = (
        sa.select(
            col(ProfileChange.content_type),
            sa.func.jsonb_array_length(ProfileChange.added).label("added"),
            sa.func.jsonb_array_length(ProfileChange.removed).label("removed"),
        )
        .where(col(ProfileChange.host_id) == host_id)
        .distinct(col(ProfileChange.content_type))
        .order_by(col(ProfileChange.content_type), col(ProfileChange.id).desc())
        .subquery()
    )
    rows = await session.exec(  # type: ignore[call-overload]  # sqlmodel types four entities
        sa.select(
            col(Profile.content_type),
            sa.func.jsonb_array_length(Profile.items),
            col(Profile.received_at),
            col(Profile.changed_at),
            sa.func.coalesce(last.c.added, 0),
            sa.func.coalesce(last.c.removed, 0),
        )
        .outerjoin(last, last.c.content_type == col(Profile.content_type))
        .where(col(Profile.host_id) == host_id)
        .order_by(col(Profile.content_type))
    )
    return [ProfileRow(*row) for row in rows]


async def packages_of(session: AsyncSession, host_id: int) -> list[str]:
    """The packages of a host in words, by name."""
    found = await session.exec(
        select(Profile.items).where(
            col(Profile.host_id) == host_id, col(Profile.content_type).in_(PACKAGES)
        )
    )
    return sorted(in_words(one) for items in found for one in items)


async def changes_of(session: AsyncSession, host_id: int) -> list[ProfileChange]:
    """How a host's profiles have changed, the oldest first."""
    found = await session.exec(
        select(ProfileChange)
        .where(col(ProfileChange.host_id) == host_id)
        .order_by(col(ProfileChange.id))
    )
    return list(found)


def in_words(item: Any) -> str:
    """A package as rpm writes it, ``name-1.2-3.noarch``; anything else as it came."""
    if not isinstance(item, dict) or not {"name", "version"} <= item.keys():
        return _spelt(item)
    epoch = f"{item['epoch']}:" if item.get("epoch") else ""
    release = f"-{item['release']}" if item.get("release") else ""
    architecture = item.get("arch") or item.get("architecture")
    return f"{item['name']}-{epoch}{item['version']}{release}" + (
        f".{architecture}" if architecture else ""
    )


async def forget_changes(session: AsyncSession, before: datetime) -> int:
    """Delete changes that are older; the profiles themselves stay. Says how many went."""
    gone = await session.exec(sa.delete(ProfileChange).where(col(ProfileChange.at) < before))
    return int(gone.rowcount)
