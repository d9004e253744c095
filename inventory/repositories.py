"""Which package repositories hosts say they use, and which of them we serve (arrow 26)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import col, select

from inventory.database import AsyncSession
from inventory.models import ReportedRepository
from inventory.reports import Repository

__all__ = ["RepositoryRow", "compared", "keep", "of_host", "to_compare"]


@dataclass(frozen=True)
class RepositoryRow:
    """One repository of a host, for people."""

    name: str
    url: str
    known_as: str
    """Which distribution serves it, or in words why that is not known."""


async def keep(
    session: AsyncSession,
    host_id: int,
    reported: Iterable[Repository],
    *,
    source: str,
    at: datetime,
) -> None:
    """Keep the repositories that a host uses now; those that it names no more are forgotten.

    What was compared already stays so as long as the address is the same.

    Args:
        session: in the caller's transaction.
        host_id: whose.
        reported: all that the source knows of.
        source: ``first_boot``, all that the package manager has enabled; ``rhsm``, those that the
            subscription gives.
        at: the present.
    """
    mine = sa.and_(
        col(ReportedRepository.host_id) == host_id, col(ReportedRepository.source) == source
    )
    there = await session.exec(select(ReportedRepository).where(mine))
    before = {one.repository: one for one in there}
    latest = {one.id: one for one in reported}
    for one in latest.values():
        row = before.pop(one.id, None)
        if row is None:
            row = ReportedRepository(host_id=host_id, source=source, repository=one.id, url=one.url)
        elif row.url != one.url:
            row.url, row.distribution, row.compared_at = one.url, None, None
        row.reported_at = at
        session.add(row)
    await session.flush()
    await session.exec(
        sa.delete(ReportedRepository).where(
            mine, col(ReportedRepository.repository).in_(list(before))
        )
    )


async def to_compare(
    session: AsyncSession, host_ids: Collection[int] | None = None
) -> list[ReportedRepository]:
    """Repositories of which nobody has said yet whether we serve them.

    Args:
        session: in the caller's transaction.
        host_ids: of these hosts; None: of all.
    """
    only = sa.true() if host_ids is None else col(ReportedRepository.host_id).in_(list(host_ids))
    found = await session.exec(
        select(ReportedRepository).where(col(ReportedRepository.compared_at).is_(None), only)
    )
    return list(found)


async def compared(
    session: AsyncSession, found: Mapping[tuple[int, str], str | None], at: datetime
) -> None:
    """Keep what comparing has found.

    Args:
        session: in the caller's transaction.
        found: for a host's id and a repository's address: the distribution that serves it, or None.
        at: the present.
    """
    for (host_id, url), distribution in found.items():
        await session.exec(
            sa.update(ReportedRepository)
            .where(col(ReportedRepository.host_id) == host_id, col(ReportedRepository.url) == url)
            .values(distribution=distribution, compared_at=at)
        )


async def of_host(session: AsyncSession, host_id: int) -> list[RepositoryRow]:
    """The repositories that a host last reported, by their names; once, whoever has told them."""
    found = await session.exec(
        select(ReportedRepository)
        .where(col(ReportedRepository.host_id) == host_id)
        .order_by(ReportedRepository.repository)
    )
    rows = [RepositoryRow(one.repository, one.url, _known_as(one)) for one in found]
    return list(dict.fromkeys(rows))


def _known_as(one: ReportedRepository) -> str:
    if one.compared_at is None:
        return "not compared yet"
    return one.distribution or "unknown: no Pulp of this site serves it"
