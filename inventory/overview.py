"""What the command line and the lab show of hosts: their arrows, and what was changed for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlmodel import col, select

from inventory import builds, effects, hosts, steps
from inventory.arrows import arrow
from inventory.database import AsyncSession
from inventory.models import Build, Host, Step

__all__ = [
    "ArrowRow",
    "EffectRow",
    "arrows_of_fleet",
    "arrows_of_host",
    "effects_of_host",
]


@dataclass(frozen=True)
class ArrowRow:
    """One arrow of a host's latest build."""

    number: int
    label: str
    state: str
    evidence: str | None
    at: datetime | None
    seen: str
    error: str | None
    flow_run_id: UUID | None
    """Where Prefect shows how it was done; None for what hosts do and tell."""


@dataclass(frozen=True)
class EffectRow:
    """One record outside that a host's builds have changed, as its newest build left it."""

    system: str
    place: str
    key: str
    state: str
    at: datetime
    seen: str


async def effects_of_host(session: AsyncSession, host_id: int) -> list[EffectRow]:
    """The records that a host's builds have changed, in the order in which they were first made."""
    newest: dict[tuple[str, str, str], EffectRow] = {}
    for one in await effects.of_host(session, host_id):
        at = one.undone_at or one.verified_at or one.applied_at or one.intended_at
        row = EffectRow(one.system, one.place, one.key, one.state, at, one.seen)
        newest[one.system, one.place, one.key] = row
    return list(newest.values())


async def arrows_of_host(session: AsyncSession, name: str) -> list[ArrowRow]:
    """The thirty-four arrows of a host's latest build; none if it has never had one.

    Raises:
        UnknownHost: there is no host of this name.
    """
    host = await hosts.named(session, name)
    build = await builds.latest_build(session, host.id)
    if build is None:
        return []
    found = (await steps.states(session, [build.id]))[build.id]
    return _rows(found)


async def arrows_of_fleet(session: AsyncSession) -> dict[str, list[ArrowRow]]:
    """The arrows of each host's latest build, by the host's name."""
    newest = (
        select(Build.id, Host.name)
        .join(Host, col(Host.id) == col(Build.host_id))
        .distinct(col(Build.host_id))
        .order_by(col(Build.host_id), col(Build.generation).desc())
    )
    names = dict((await session.exec(newest)).all())
    found = await steps.states(session, names)
    return {names[build]: _rows(arrows) for build, arrows in found.items()}


def _rows(found: dict[int, Step]) -> list[ArrowRow]:
    return [
        ArrowRow(
            number=number,
            label=arrow(number).label,
            state=step.state,
            evidence=step.evidence,
            at=step.ended_at,
            seen=step.seen,
            error=step.error,
            flow_run_id=step.flow_run_id,
        )
        for number, step in sorted(found.items())
    ]
