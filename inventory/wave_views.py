"""Waves as people look at them: all at a glance, and one with its batches and hosts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa
from sqlmodel import col, select

from inventory.database import AsyncSession
from inventory.errors import UnknownWave
from inventory.models import Build, Host, HostGroup, Site, Wave, WaveHost, WaveOutcome
from inventory.scope import Scope
from inventory.wave_outcomes import tells, verdict
from inventory.wave_rows import BatchRow, WaveDetail, WaveHostRow, WavePage, WaveRow

__all__ = ["detail", "overview", "unfinished", "within"]

_MOST_UNFINISHED = 1000


def within(scope: Scope) -> sa.ColumnElement[bool]:
    """The condition on ``Wave`` that its group and all of its hosts lie within a scope."""
    limits: list[sa.ColumnElement[bool]] = []
    if scope.host_groups:
        groups = select(HostGroup.id).where(col(HostGroup.name).in_(scope.host_groups))
        limits.append(col(Wave.host_group_id).in_(groups))
        other = (
            select(WaveHost.host_id)
            .join(Host, col(Host.id) == col(WaveHost.host_id))
            .where(
                col(WaveHost.wave_id) == col(Wave.id),
                # Those that have none yet are nobody's, and NULL is in no list.
                col(Host.host_group_id).not_in(groups),
            )
        )
        limits.append(~other.exists())
    if scope.sites:
        outside = (
            select(WaveHost.host_id)
            .join(Host, col(Host.id) == col(WaveHost.host_id))
            .join(Site, col(Site.id) == col(Host.site_id))
            .where(col(WaveHost.wave_id) == col(Wave.id), col(Site.name).not_in(scope.sites))
        )
        limits.append(~outside.exists())
    return sa.and_(sa.true(), *limits)


async def overview(
    session: AsyncSession, scope: Scope, *, before: int | None = None, limit: int = 50
) -> WavePage:
    """A page of the waves of whoever looks, the newest first.

    Args:
        session: only read.
        scope: of whoever looks.
        before: only older ones than the wave of this id.
        limit: at most so many.
    """
    older = sa.true() if before is None else col(Wave.id) < before
    found = await _rows(session, sa.and_(within(scope), older), limit + 1)
    return WavePage(found[:limit], found[limit - 1].id if len(found) > limit else None)


async def unfinished(session: AsyncSession, scope: Scope) -> list[WaveRow]:
    """The waves that have not ended, the newest first."""
    return await _rows(
        session, sa.and_(within(scope), col(Wave.ended_at).is_(None)), _MOST_UNFINISHED
    )


async def detail(
    session: AsyncSession, scope: Scope, name: str, *, after: int = -1, limit: int | None = None
) -> WaveDetail:
    """One wave.

    Args:
        session: only read.
        scope: of whoever looks.
        name: of the wave.
        after: only hosts behind this position.
        limit: hosts at most; None: all.

    Raises:
        UnknownWave: there is none of this name, or not for them.
    """
    rows = await _rows(session, sa.and_(within(scope), col(Wave.name) == name), 1)
    if not rows:
        raise UnknownWave(name)
    wave = await session.get_one(Wave, rows[0].id)
    found = await session.exec(  # type: ignore[call-overload]
        sa.select(WaveHost, col(Host.name), _ended(), col(Build.given_up), col(Build.held_reason))
        .join(Host, col(Host.id) == col(WaveHost.host_id))
        .outerjoin(Build, tells())
        .where(col(WaveHost.wave_id) == wave.id, col(WaveHost.position) > after)
        .order_by(col(WaveHost.position))
        .limit(None if limit is None else limit + 1)
        .execution_options(populate_existing=True)
    )
    hosts = [_host_row(*one) for one in found]
    more = limit is not None and len(hosts) > limit
    settings = wave.model_dump(
        include={
            *("canary", "growth", "largest", "failure_share", "rebuild"),
            *("per_subnet", "per_boot_server", "per_pulp"),
        }
    )
    return WaveDetail(
        wave=rows[0],
        batches=await _batches(session, wave.id),
        hosts=tuple(hosts[:limit]),
        next=hosts[:limit][-1].position if more else None,
        **settings,
    )


def _ended() -> sa.ColumnElement[str]:
    """What became of a host as it is at this moment.

    Also a wave that nobody watches any more tells of a later retry.
    """
    kept = sa.cast(col(WaveHost.outcome), sa.String)
    ordered = col(WaveHost.build_id).is_not(None)
    return sa.case(
        (kept == WaveOutcome.IN_OPERATION.value, kept),
        (ordered, sa.func.coalesce(verdict(), "under way")),
        (kept.is_not(None), kept),
        (col(WaveHost.let_go_at).is_(None), "waiting"),
        else_="let go",
    )


_GOOD, _FAILED, _REFUSED = (
    one.value for one in (WaveOutcome.IN_OPERATION, WaveOutcome.FAILED, WaveOutcome.REFUSED)
)


async def _rows(session: AsyncSession, which: sa.ColumnElement[bool], limit: int) -> list[WaveRow]:
    found = await session.exec(
        select(Wave, HostGroup.name)
        .join(HostGroup, col(HostGroup.id) == col(Wave.host_group_id))
        .where(which)
        .order_by(col(Wave.id).desc())
        .limit(limit)
        .execution_options(populate_existing=True)
    )
    waves = list(found)
    ended = _ended().label("ended")
    of_each = (
        sa.select(col(WaveHost.wave_id), col(WaveHost.batch), col(WaveHost.forgiven), ended)
        .join(Host, col(Host.id) == col(WaveHost.host_id))
        .outerjoin(Build, tells())
        .where(col(WaveHost.wave_id).in_([wave.id for wave, _ in waves]))
        .subquery()
    )
    c = of_each.c
    forgiven = (c.ended == _FAILED) & c.forgiven
    counted = await session.exec(  # type: ignore[call-overload]
        sa.select(
            *(c.wave_id, c.ended, sa.func.count(), sa.func.max(c.batch)),
            sa.func.count().filter(forgiven),
        ).group_by(c.wave_id, c.ended)
    )
    numbers: dict[int, dict[str, int]] = defaultdict(dict)
    batches: dict[int, list[int]] = defaultdict(list)
    pardons: dict[int, int] = defaultdict(int)
    for wave_id, word, count, batch, pardoned in counted:
        numbers[wave_id][word] = count
        pardons[wave_id] += pardoned
        batches[wave_id] += [] if batch is None else [batch]
    return [
        _row(wave, group, numbers[wave.id], batches[wave.id], pardons[wave.id])
        for wave, group in waves
    ]


def _row(
    wave: Wave, group: str, numbers: dict[str, int], batches: Sequence[int], forgiven: int
) -> WaveRow:
    good, failed = numbers.get(_GOOD, 0), numbers.get(_FAILED, 0)
    counting = failed - forgiven
    return WaveRow(
        id=wave.id,
        name=wave.name,
        host_group=group,
        state=wave.state,
        why=wave.why,
        asked_by=wave.asked_by,
        made_at=wave.made_at,
        ended_at=wave.ended_at,
        hosts=sum(numbers.values()),
        waiting=numbers.get("waiting", 0),
        under_way=numbers.get("under way", 0),
        good=good,
        failed=failed,
        forgiven=forgiven,
        refused=numbers.get(_REFUSED, 0),
        let_go=numbers.get("let go", 0),
        batch=max(batches, default=None),
        share=counting / (good + counting) if counting else 0.0,
    )


async def _batches(session: AsyncSession, wave_id: int) -> tuple[BatchRow, ...]:
    ended = _ended()
    words = ("waiting", "under way", _GOOD, _FAILED, _REFUSED)
    found = await session.exec(  # type: ignore[call-overload]
        sa.select(
            col(WaveHost.batch),
            sa.func.count(),
            *(sa.func.count().filter(ended == word) for word in words),
        )
        .select_from(WaveHost)
        .join(Host, col(Host.id) == col(WaveHost.host_id))
        .outerjoin(Build, tells())
        .where(col(WaveHost.wave_id) == wave_id, col(WaveHost.batch).is_not(None))
        .group_by(col(WaveHost.batch))
        .order_by(col(WaveHost.batch))
    )
    return tuple(BatchRow(*one) for one in found)


def _host_row(
    row: WaveHost, name: str, word: str, given_up: str | None, held: str | None
) -> WaveHostRow:
    reason = row.reason if word == _REFUSED else ""
    if word == _FAILED:
        reason = given_up or held or row.reason
    return WaveHostRow(
        id=row.host_id,
        name=name,
        position=row.position,
        batch=row.batch,
        build=row.build_id,
        ended=word.replace("_", " "),
        reason=reason,
        forgiven=row.forgiven and word == _FAILED,
    )
