"""What people look at: the fleet in rows, and one host's arrows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col, select

from inventory import builds, effects, hosts, steps
from inventory.arrows import arrow
from inventory.database import AsyncSession
from inventory.models import Build, Host, Interface, Step

__all__ = [
    "ArrowRow",
    "EffectRow",
    "HostRow",
    "arrows_of_fleet",
    "arrows_of_host",
    "effects_of_host",
    "fleet",
]


@dataclass(frozen=True)
class HostRow:
    """One host at a glance."""

    name: str
    state: str
    since: datetime
    ip: str | None
    held_step: int | None
    held_reason: str | None
    held_advice: str | None
    """What a person can do about it."""
    mac: str | None
    """Of the interface that it boots from."""
    given_up: str | None = None
    """Who gave its newest build up, or what failed."""
    trouble: str | None = None
    """What is not well though it is not held."""


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


async def fleet(session: AsyncSession, name: str | None = None) -> list[HostRow]:
    """All hosts by name, or only the one that has a name; none if nobody has it."""
    only = sa.true() if name is None else col(Host.name) == name.strip().lower()
    newest = (
        select(Build.id)
        .where(col(Build.host_id) == col(Host.id))
        .order_by(col(Build.generation).desc())
        .limit(1)
        .correlate(Host)
        .scalar_subquery()
    )
    rows = await session.exec(  # type: ignore[call-overload]  # sqlmodel types four entities
        sa.select(
            col(Host.name),
            col(Host.state),
            col(Host.state_since),
            sa.func.host(Interface.ip),
            col(Build.held_step),
            col(Build.held_reason),
            col(Build.held_advice),
            col(Interface.mac),
            col(Build.given_up),
            sa.case((col(Build.trouble_since) >= col(Host.state_since), col(Build.trouble))),
        )
        .select_from(Host)
        .outerjoin(
            Interface,
            sa.and_(col(Interface.host_id) == col(Host.id), col(Interface.provisioning)),
        )
        .outerjoin(Build, sa.and_(col(Build.host_id) == col(Host.id), col(Build.id) == newest))
        .where(only)
        .order_by(col(Host.name))
    )
    return [HostRow(*row) for row in rows]


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
