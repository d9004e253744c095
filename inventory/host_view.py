"""One host as people look at it: its arrows with their times, and what each exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import col, select

from inventory import builds, durations
from inventory.arrow_views import ArrowView, arrows_of
from inventory.database import AsyncSession
from inventory.durations import UsualArrow
from inventory.fleet import FleetRow, rows
from inventory.models import (
    Build,
    Callback,
    CallbackKind,
    Effect,
    Facts,
    Host,
    HostGroup,
    Interface,
    RenderedKickstart,
    Subnet,
)
from inventory.scope import Scope

__all__ = [
    "ArrowDetail",
    "BuildView",
    "FactsView",
    "HostView",
    "InterfaceView",
    "Record",
    "Told",
    "arrow_detail",
    "facts_of",
    "host_view",
]

_SYSTEMS = {
    **dict.fromkeys((9, 10), ("TFTP",)),
    11: ("boot file", "Pulp"),
    **dict.fromkeys((12, 13), ("DHCP",)),
    **dict.fromkeys((14, 15), ("DNS",)),
    **dict.fromkeys((16, 17), ("power", "discovery image", "restart")),
    23: ("Candlepin",),
    24: ("Puppet CA", "Puppet"),
    **dict.fromkeys((28, 29), ("TFTP",)),
}
"""The systems in which an arrow changes something, as effects name them."""
_TELLINGS = {
    **dict.fromkeys((4, 5), (CallbackKind.FACTS,)),
    **dict.fromkeys((20, 21), (CallbackKind.KICKSTART,)),
    22: (CallbackKind.PROGRESS,),
    27: (CallbackKind.BUILT, CallbackKind.FAILED),
    30: (CallbackKind.REPORT,),
    **dict.fromkeys((33, 34), (CallbackKind.PUPPET_REPORT,)),
}
"""What is told by an arrow."""


@dataclass(frozen=True)
class BuildView:
    """One build of a host."""

    id: UUID
    generation: int
    host_group: str | None
    opened_at: datetime
    closed_at: datetime | None
    outcome: str | None
    asked_by: str | None
    kickstarts: int
    network_boots: int
    given_up: str | None
    held_reason: str | None
    """Why it is held, or was when another build took its place."""


@dataclass(frozen=True)
class InterfaceView:
    """One interface of a host."""

    mac: str
    name: str
    provisioning: bool
    subnet: str | None
    ip: str | None
    """Reserved for it."""
    discovered_ip: str | None


@dataclass(frozen=True)
class FactsView:
    """What one source has told of a host."""

    source: str
    received_at: datetime
    values: Mapping[str, Any]


@dataclass(frozen=True)
class HostView:
    """A host with all of its latest build."""

    row: FleetRow
    arrows: tuple[ArrowView, ...]
    builds: tuple[BuildView, ...]
    """The newest first."""
    interfaces: tuple[InterfaceView, ...]


@dataclass(frozen=True)
class Record:
    """A change outside, before and after."""

    system: str
    place: str
    key: str
    state: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    intended_at: datetime
    verified_at: datetime | None
    seen: str


@dataclass(frozen=True)
class Told:
    """What a host or a server said, as received."""

    kind: str
    at: datetime
    remote: str
    body: str


@dataclass(frozen=True)
class ArrowDetail:
    """What is known of one arrow: what was sent, what came back, what it changed."""

    arrow: ArrowView
    usual: UsualArrow | None
    records: tuple[Record, ...]
    told: tuple[Told, ...]
    """The newest first."""
    rendered: str | None
    """The file that was given to the host, without its secrets."""


async def host_view(session: AsyncSession, scope: Scope, host: Host) -> HostView:
    """A host by what the inventory knows of it.

    Args:
        session: only read.
        scope: of whoever looks, and may see the host.
        host: from ``rights.own_host``.
    """
    (row,) = await rows(session, scope, [host.id])
    latest = await builds.latest_build(session, host.id)
    return HostView(
        row=row,
        arrows=() if latest is None else await arrows_of(session, latest),
        builds=await _builds(session, host.id),
        interfaces=await _interfaces(session, host.id),
    )


async def _builds(session: AsyncSession, host_id: int) -> tuple[BuildView, ...]:
    found = await session.exec(
        select(Build, HostGroup.name)
        .outerjoin(HostGroup, col(HostGroup.id) == col(Build.host_group_id))
        .where(col(Build.host_id) == host_id)
        .order_by(col(Build.generation).desc())
    )
    return tuple(
        BuildView(
            id=one.id,
            generation=one.generation,
            host_group=group,
            opened_at=one.opened_at,
            closed_at=one.closed_at,
            outcome=one.outcome,
            asked_by=one.asked_by,
            kickstarts=one.kickstarts,
            network_boots=one.network_boots,
            given_up=one.given_up,
            held_reason=one.held_reason,
        )
        for one, group in found
    )


async def _interfaces(session: AsyncSession, host_id: int) -> tuple[InterfaceView, ...]:
    found = await session.exec(
        select(Interface, Subnet.name)
        .outerjoin(Subnet, col(Subnet.id) == col(Interface.subnet_id))
        .where(col(Interface.host_id) == host_id)
        .order_by(col(Interface.provisioning).desc(), col(Interface.name), col(Interface.mac))
    )
    return tuple(
        InterfaceView(
            mac=one.mac,
            name=one.name,
            provisioning=one.provisioning,
            subnet=subnet,
            ip=_plain(one.ip),
            discovered_ip=_plain(one.discovered_ip),
        )
        for one, subnet in found
    )


def _plain(address: str | None) -> str | None:
    return None if address is None else str(address).partition("/")[0]


async def facts_of(session: AsyncSession, host_id: int) -> list[FactsView]:
    """What each source has told of a host, the newest first."""
    found = await session.exec(
        select(Facts).where(col(Facts.host_id) == host_id).order_by(col(Facts.received_at).desc())
    )
    return [FactsView(one.source, one.received_at, one.values) for one in found]


async def arrow_detail(session: AsyncSession, build: Build, number: int) -> ArrowDetail:
    """What is known of one arrow of a build.

    Args:
        session: only read.
        build: whose.
        number: of the arrow, 1 to 34.
    """
    views = await arrows_of(session, build)
    usual = {}
    if build.host_group_id is not None:
        usual = await durations.usual_arrows(session, build.host_group_id)
    return ArrowDetail(
        arrow=views[number - 1],
        usual=usual.get(number),
        records=await _records(session, build.id, number),
        told=await _told(session, build.id, number),
        rendered=await _rendered(session, build.id) if number in (20, 21) else None,
    )


async def _records(session: AsyncSession, build_id: UUID, number: int) -> tuple[Record, ...]:
    systems = _SYSTEMS.get(number, ())
    found = await session.exec(
        select(Effect)
        .where(col(Effect.build_id) == build_id, col(Effect.system).in_(systems))
        .order_by(col(Effect.id))
    )
    return tuple(
        Record(
            system=one.system,
            place=one.place,
            key=one.key,
            state=one.state,
            before=one.before,
            after=one.after,
            intended_at=one.intended_at,
            verified_at=one.verified_at,
            seen=one.seen,
        )
        for one in found
    )


async def _told(session: AsyncSession, build_id: UUID, number: int) -> tuple[Told, ...]:
    found = await session.exec(
        select(Callback)
        .where(
            col(Callback.build_id) == build_id,
            col(Callback.kind).in_(_TELLINGS.get(number, ())),
        )
        .order_by(col(Callback.id).desc())
        .limit(5)
    )
    return tuple(Told(one.kind, one.received_at, one.remote, one.body) for one in found)


async def _rendered(session: AsyncSession, build_id: UUID) -> str | None:
    kept = await session.get(RenderedKickstart, build_id)
    return None if kept is None else kept.text
