"""The fleet as people look at it: a page of hosts by filters, and how many are where.

A page costs the same with a hundred hosts and with ten thousand: it begins after a name, and only
what it shows is joined to what hosts have been through.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import col, select

from inventory.arrows import arrow
from inventory.database import AsyncSession
from inventory.life import HostState
from inventory.models import (
    Build,
    Host,
    HostGroup,
    Interface,
    Site,
    Step,
    StepState,
    Subnet,
)
from inventory.rights import in_scope
from inventory.scope import Scope

__all__ = ["Counts", "FleetRow", "Page", "Wanted", "counts", "everyone", "page", "rows"]


@dataclass(frozen=True)
class Wanted:
    """Which hosts are looked for; what is empty is no limit."""

    text: str = ""
    """Part of a name, MAC address or IP address, in any case."""
    states: frozenset[HostState] = frozenset()
    host_group: str = ""
    site: str = ""
    subnet: str = ""
    held_at: int | None = None
    """Held at this arrow."""
    in_trouble: bool = False
    """Slower than their kind usually is, or boot what they should not; not held yet."""


@dataclass(frozen=True)
class FleetRow:
    """One host at a glance."""

    id: int
    name: str
    state: HostState
    since: datetime
    site: str
    host_group: str | None
    mac: str | None
    """Of the interface that it boots from."""
    ip: str | None
    """The address that it has for good, or else the last one that it reported."""
    deadline: datetime | None
    """When the present wait for the host ends; later it is held."""
    held_step: int | None
    held_reason: str | None
    held_advice: str | None
    trouble: str | None
    given_up: str | None
    step: int | None
    """The arrow that it is at: the one under way, else the last that was done."""
    done: int
    """Arrows that are done, of those that are asked for."""
    asked: int

    @property
    def step_label(self) -> str:
        """The arrow in words; empty before the first."""
        return arrow(self.step).label if self.step else ""


@dataclass(frozen=True)
class Page:
    """Some hosts in the order of their names."""

    rows: tuple[FleetRow, ...]
    next: str | None
    """Name after which the next page begins; None: this is the last."""


@dataclass(frozen=True)
class Counts:
    """How many hosts are where."""

    by_state: dict[HostState, int] = field(default_factory=dict)
    in_trouble: int = 0

    @property
    def all(self) -> int:
        """All hosts but those that have gone."""
        gone = self.by_state.get(HostState.RETIRED, 0)
        return sum(self.by_state.values()) - gone


def _filters(scope: Scope, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    only: list[sa.ColumnElement[bool]] = [in_scope(scope)]
    if wanted.states:
        only.append(col(Host.state).in_(wanted.states))
    else:
        only.append(col(Host.state) != HostState.RETIRED)
    if wanted.host_group:
        group = select(HostGroup.id).where(HostGroup.name == wanted.host_group)
        only.append(col(Host.host_group_id).in_(group))
    if wanted.site:
        only.append(col(Host.site_id).in_(select(Site.id).where(Site.name == wanted.site)))
    if wanted.subnet:
        of_subnet = (
            select(Interface.host_id)
            .join(Subnet, col(Subnet.id) == col(Interface.subnet_id))
            .where(Subnet.name == wanted.subnet)
        )
        only.append(col(Host.id).in_(of_subnet))
    if wanted.held_at is not None:
        held = select(Build.host_id).where(
            Build.held_step == wanted.held_at, col(Build.closed_at).is_(None)
        )
        only.append(sa.and_(col(Host.state) == HostState.HELD, col(Host.id).in_(held)))
    if wanted.in_trouble:
        only.append(col(Host.id).in_(_troubled()))
    if wanted.text:
        only.append(_like(wanted.text))
    return only


def _troubled() -> sa.Select[tuple[int]]:
    found: sa.Select[tuple[int]] = (
        sa.select(col(Build.host_id))
        .join(Host, col(Host.id) == col(Build.host_id))
        .where(
            col(Build.closed_at).is_(None),
            col(Build.trouble_since) >= col(Host.state_since),
            col(Host.state) != HostState.HELD,
        )
    )
    return found


def _like(text: str) -> sa.ColumnElement[bool]:
    escaped = text.strip().lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    like = f"%{escaped}%"
    interfaces = select(Interface.host_id).where(
        sa.or_(
            col(Interface.mac).like(like.replace("-", ":")),
            sa.func.host(Interface.ip).like(like),
            sa.func.host(Interface.discovered_ip).like(like),
        )
    )
    return sa.or_(sa.func.lower(Host.name).like(like), col(Host.id).in_(interfaces))


async def page(
    session: AsyncSession,
    scope: Scope,
    wanted: Wanted,
    *,
    after: str = "",
    limit: int = 100,
) -> Page:
    """Hosts by name.

    Args:
        session: only read.
        scope: of whoever looks.
        wanted: which.
        after: the name after which the page begins.
        limit: at most so many.
    """
    names = await session.exec(
        select(Host.id, Host.name)
        .where(*_filters(scope, wanted), col(Host.name) > after)
        .order_by(col(Host.name))
        .limit(limit + 1)
    )
    found = names.all()
    shown = found[:limit]
    by_id = {one.id: one for one in await rows(session, scope, [one for one, _ in shown])}
    more = shown[-1][1] if len(found) > limit else None
    return Page(tuple(by_id[one] for one, _ in shown if one in by_id), more)


async def rows(session: AsyncSession, scope: Scope, host_ids: Collection[int]) -> list[FleetRow]:
    """Hosts by their ids; those that are not within the scope are left out.

    Args:
        session: only read.
        scope: of whoever looks.
        host_ids: a page of them.
    """
    return await _rows(session, col(Host.id).in_(list(host_ids)), in_scope(scope))


async def everyone(session: AsyncSession, name: str | None = None) -> list[FleetRow]:
    """All hosts by name, also those that have gone; or only the one of a name, if there is one."""
    only = sa.true() if name is None else col(Host.name) == name.strip().lower()
    return await _rows(session, only)


async def _rows(session: AsyncSession, *only: sa.ColumnElement[bool]) -> list[FleetRow]:
    newest = (
        sa.select(Build)
        .where(col(Build.host_id) == col(Host.id))
        .order_by(col(Build.generation).desc())
        .limit(1)
        .correlate(Host)
        .lateral("newest")
    )
    settled = sa.func.count().filter(sa.column("state") == StepState.DONE.value)
    asked = sa.func.count().filter(sa.column("state") != StepState.NOT_ASKED.value)
    open_ = sa.column("state").in_([StepState.RUNNING.value, StepState.FAILED.value])
    done = sa.column("state") == StepState.DONE.value
    number = sa.column("number", sa.Integer())
    progress = (
        sa.select(
            sa.func.coalesce(
                sa.func.min(number).filter(open_), sa.func.max(number).filter(done)
            ).label("step"),
            settled.label("done"),
            asked.label("asked"),
        )
        .select_from(
            sa.select(col(Step.number), sa.cast(col(Step.state), sa.String()).label("state"))
            .where(col(Step.build_id) == newest.c.id)
            .correlate(newest)
            .subquery("arrows")
        )
        .lateral("progress")
    )
    address = sa.func.coalesce(sa.func.host(Interface.ip), sa.func.host(Interface.discovered_ip))
    trouble = sa.case(
        (
            sa.and_(
                newest.c.trouble_since >= col(Host.state_since),
                col(Host.state) != HostState.HELD,
            ),
            newest.c.trouble,
        )
    )
    found = await session.exec(  # type: ignore[call-overload]  # sqlmodel types four entities
        sa.select(
            col(Host.id),
            col(Host.name),
            col(Host.state),
            col(Host.state_since),
            col(Site.name),
            col(HostGroup.name),
            col(Interface.mac),
            address,
            newest.c.deadline,
            newest.c.held_step,
            newest.c.held_reason,
            newest.c.held_advice,
            trouble,
            newest.c.given_up,
            progress.c.step,
            progress.c.done,
            progress.c.asked,
        )
        .select_from(Host)
        .join(Site, col(Site.id) == col(Host.site_id))
        .outerjoin(HostGroup, col(HostGroup.id) == col(Host.host_group_id))
        .outerjoin(
            Interface,
            sa.and_(col(Interface.host_id) == col(Host.id), col(Interface.provisioning)),
        )
        .outerjoin(newest, sa.true())
        .outerjoin(progress, sa.true())
        .where(*only)
        .order_by(col(Host.name))
    )
    return [FleetRow(*row) for row in found]


async def counts(session: AsyncSession, scope: Scope) -> Counts:
    """How many hosts are where.

    Args:
        session: only read.
        scope: of whoever looks.
    """
    found = await session.exec(
        select(Host.state, sa.func.count()).where(in_scope(scope)).group_by(col(Host.state))
    )
    troubled = await session.exec(
        select(sa.func.count())
        .select_from(Host)
        .where(in_scope(scope), col(Host.id).in_(_troubled()))
    )
    return Counts({HostState(state): count for state, count in found}, troubled.one())
