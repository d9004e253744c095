"""What a host's own system and its Puppet have reported of it, the newest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select

from inventory.database import AsyncSession
from inventory.models import Build, Callback, CallbackKind, Facts

__all__ = ["FactsAt", "ReportView", "facts_at", "reports_of"]

_KINDS = (CallbackKind.REPORT, CallbackKind.PUPPET_REPORT)


@dataclass(frozen=True)
class ReportView:
    """One report as it was received."""

    kind: CallbackKind
    at: datetime
    remote: str
    """The host's address, or the name of the Puppet that told."""
    generation: int | None
    """Of the build that waited for it; None: none did."""
    waits: bool
    """A flow has still to judge it."""
    body: str


@dataclass(frozen=True)
class FactsAt:
    """When one source told the facts that are kept of it."""

    source: str
    at: datetime


async def reports_of(session: AsyncSession, host_id: int, limit: int = 5) -> list[ReportView]:
    """The newest reports of a host."""
    found = await session.exec(
        select(Callback, Build.generation)
        .outerjoin(Build, col(Build.id) == col(Callback.build_id))
        .where(col(Callback.host_id) == host_id, col(Callback.kind).in_(_KINDS))
        .order_by(col(Callback.id).desc())
        .limit(limit)
    )
    return [
        ReportView(
            kind=one.kind,
            at=one.received_at,
            remote=one.remote,
            generation=generation,
            waits=one.handled_at is None,
            body=one.body,
        )
        for one, generation in found
    ]


async def facts_at(session: AsyncSession, host_id: int) -> list[FactsAt]:
    """Which sources have told facts of a host, the newest first."""
    found = await session.exec(
        select(Facts.source, Facts.received_at)
        .where(col(Facts.host_id) == host_id)
        .order_by(col(Facts.received_at).desc())
    )
    return [FactsAt(*one) for one in found]
