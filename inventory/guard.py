"""Keeps housekeeping from taking away what a build has just begun to rely on.

A pin or a boot file serves many builds. Whoever begins to rely on one writes that down first and
looks for the thing afterwards; whoever takes one away looks for builds that rely on it first. Both
do it under one lock of the thing's name, so that never both can believe that they may go on.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import select

from inventory.database import AsyncSession

__all__ = ["rely_on", "take_away"]


async def rely_on(session: AsyncSession, what: str) -> None:
    """Lock a thing against being taken away until the end of the transaction.

    Args:
        session: the transaction that writes down who relies on it.
        what: the thing's name, with its place.
    """
    await session.exec(select(sa.func.pg_advisory_xact_lock_shared(_number(what))))


async def take_away(session: AsyncSession, what: str) -> None:
    """Lock a thing against anybody who begins to rely on it until the end of the transaction.

    Args:
        session: the transaction that looks, after this, whether anybody relies on it.
        what: as for ``rely_on``.
    """
    await session.exec(select(sa.func.pg_advisory_xact_lock(_number(what))))


def _number(what: str) -> sa.ColumnElement[int]:
    return sa.func.hashtextextended(what, 0)
