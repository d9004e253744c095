"""Waves as people look at them: all at a glance, and one with each of its hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col, select

from inventory.database import AsyncSession
from inventory.errors import UnknownWave
from inventory.models import Build, Host, HostGroup, Site, Wave, WaveHost, WaveOutcome, WaveState
from inventory.scope import Scope
from inventory.wave_advance import verdict

__all__ = ["WaveDetail", "WaveHostRow", "WaveRow", "detail", "overview", "within"]


@dataclass(frozen=True)
class WaveRow:
    """One wave at a glance."""

    name: str
    host_group: str
    state: WaveState
    why: str
    asked_by: str
    made_at: datetime
    ended_at: datetime | None
    hosts: int
    waiting: int
    under_way: int
    good: int
    failed: int
    refused: int
    let_go: int
    """Not ordered any more, because the wave was cancelled."""
    batch: int | None
    """The present batch, from 0, the canary; None: none has begun."""
    share: float
    """Of the hosts that are in operation or have failed, those that failed: from 0 to 1."""

    @property
    def progress(self) -> float:
        """How many of a hundred hosts have been through."""
        return 100 * (1 - (self.waiting + self.under_way) / self.hosts) if self.hosts else 100.0


@dataclass(frozen=True)
class WaveHostRow:
    """One host of a wave."""

    name: str
    batch: int | None
    build: UUID | None
    ended: str
    """``waiting``, ``under way``, ``in operation``, ``failed``, ``refused`` or ``let go``."""
    reason: str
    forgiven: bool


@dataclass(frozen=True)
class WaveDetail:
    """A wave with its hosts in their order."""

    wave: WaveRow
    canary: int
    growth: float
    largest: int
    failure_share: float
    per_subnet: int
    per_boot_server: int
    per_pulp: int
    hosts: tuple[WaveHostRow, ...]


def within(scope: Scope) -> sa.ColumnElement[bool]:
    """The condition on ``Wave`` that its group and all of its hosts lie within a scope."""
    limits: list[sa.ColumnElement[bool]] = []
    if scope.host_groups:
        groups = select(HostGroup.id).where(col(HostGroup.name).in_(scope.host_groups))
        limits.append(col(Wave.host_group_id).in_(groups))
    if scope.sites:
        outside = (
            select(WaveHost.host_id)
            .join(Host, col(Host.id) == col(WaveHost.host_id))
            .join(Site, col(Site.id) == col(Host.site_id))
            .where(col(WaveHost.wave_id) == col(Wave.id), col(Site.name).not_in(scope.sites))
        )
        limits.append(~outside.exists())
    return sa.and_(sa.true(), *limits)


async def overview(session: AsyncSession, scope: Scope) -> list[WaveRow]:
    """All waves of whoever looks, the newest first."""
    # As it is at this moment: also a wave that nobody watches any more tells of a later retry.
    outcome = _outcome()

    def count(which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.count().filter(which)

    open_ = outcome.is_(None)
    ordered = col(WaveHost.build_id).is_not(None)
    kept = col(WaveHost.let_go_at).is_(None)
    counts = (
        sa.func.count(),
        count(open_ & ~ordered & kept),
        count(open_ & ordered),
        count(outcome == WaveOutcome.IN_OPERATION.value),
        count(outcome == WaveOutcome.FAILED.value),
        count(outcome == WaveOutcome.REFUSED.value),
        count(open_ & ~ordered & ~kept),
        sa.func.max(col(WaveHost.batch)),
    )
    found = await session.exec(
        sa.select(Wave, col(HostGroup.name), *counts)  # type: ignore[call-overload]
        .join(HostGroup, col(HostGroup.id) == col(Wave.host_group_id))
        .join(WaveHost, col(WaveHost.wave_id) == col(Wave.id))
        .join(Host, col(Host.id) == col(WaveHost.host_id))
        .outerjoin(Build, col(Build.id) == col(WaveHost.build_id))
        .where(within(scope))
        .group_by(col(Wave.id), col(HostGroup.name))
        .order_by(col(Wave.id).desc())
        .execution_options(populate_existing=True)
    )
    return [_row(wave, group, numbers) for wave, group, *numbers in found]


async def detail(session: AsyncSession, scope: Scope, name: str) -> WaveDetail:
    """One wave.

    Raises:
        UnknownWave: there is none of this name, or not for them.
    """
    row = next((one for one in await overview(session, scope) if one.name == name), None)
    if row is None:
        raise UnknownWave(name)
    wave = (await session.exec(select(Wave).where(Wave.name == name))).one()
    found = await session.exec(  # type: ignore[call-overload]
        sa.select(WaveHost, col(Host.name), _outcome(), col(Build.given_up), col(Build.held_reason))
        .join(Host, col(Host.id) == col(WaveHost.host_id))
        .outerjoin(Build, col(Build.id) == col(WaveHost.build_id))
        .where(col(WaveHost.wave_id) == wave.id)
        .order_by(col(WaveHost.position))
        .execution_options(populate_existing=True)
    )
    settings = wave.model_dump(
        include={
            "canary", "growth", "largest", "failure_share",
            "per_subnet", "per_boot_server", "per_pulp",
        }
    )  # fmt: skip
    hosts = tuple(_host_row(*one) for one in found)
    return WaveDetail(wave=row, hosts=hosts, **settings)


def _outcome() -> sa.ColumnElement[str | None]:
    kept = sa.cast(col(WaveHost.outcome), sa.String)
    return sa.case((col(WaveHost.build_id).is_(None), kept), else_=verdict())


def _row(wave: Wave, group: str, numbers: Sequence[int]) -> WaveRow:
    hosts, waiting, under_way, good, failed, refused, gone, batch = numbers
    return WaveRow(
        name=wave.name,
        host_group=group,
        state=wave.state,
        why=wave.why,
        asked_by=wave.asked_by,
        made_at=wave.made_at,
        ended_at=wave.ended_at,
        hosts=hosts,
        waiting=waiting,
        under_way=under_way,
        good=good,
        failed=failed,
        refused=refused,
        let_go=gone,
        batch=batch,
        share=failed / (good + failed) if failed else 0.0,
    )


def _host_row(
    row: WaveHost, name: str, word: str | None, given_up: str | None, held: str | None
) -> WaveHostRow:
    if word is not None:
        ended = word.replace("_", " ")
    elif row.build_id is not None:
        ended = "under way"
    else:
        ended = "waiting" if row.let_go_at is None else "let go"
    failed = word == WaveOutcome.FAILED.value
    reason = row.reason if word == WaveOutcome.REFUSED.value else ""
    if failed:
        reason = given_up or held or row.reason
    return WaveHostRow(name, row.batch, row.build_id, ended, reason, row.forgiven)
