"""Takes waves on: whether one has ended or is to stop, and whose turn it is.

Any number of dispatchers may do it at the same time: a wave is in one's hands by its row's lock,
and only one of all orders hosts at a moment, because two that count at once would both find room.
Nobody's lock is waited for: what somebody else has in hand is looked at again in the next round.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from inventory import builds, orders
from inventory.built import Built, built_so_far
from inventory.database import CHANNEL_CALLBACKS, CHANNEL_CHANGES, AsyncSession, notify
from inventory.errors import InventoryError, StillRuns
from inventory.life import ForbiddenTransition
from inventory.models import Host, HostGroup, Wave, WaveHost, WaveOutcome, WaveState
from inventory.wave_admission import require_fit
from inventory.wave_outcomes import settle
from inventory.wave_room import has_room

__all__ = ["MOST_AT_ONCE", "advance", "batch_size", "let_go"]

MOST_AT_ONCE = 20
"""Hosts that one transaction orders or refuses: whatever else is due waits for its end."""
_ORDERING_LOCK = 0x77617665  # "wave": one number that all dispatchers agree on
_PATIENCE = "300ms"
"""For rows that are rarely locked. Shorter than PostgreSQL takes to look for deadlocks."""
_LOCK_NOT_AVAILABLE = "55P03"
_NAMED = 5
"""Hosts that are named in a reason; all are to be seen in the wave itself."""


def batch_size(wave: Wave, number: int, most: int) -> int:
    """How many hosts a batch has, from 0, the canary.

    Args:
        wave: whose.
        number: of the batch.
        most: hosts of the wave: no batch is larger, whatever the growth.
    """
    limit = min(wave.largest or most, most)
    size = min(wave.canary, limit)
    for _ in range(number):
        if size >= limit or wave.growth == 1:
            break
        # Rounded first: ten times 1.1 is a little more than eleven to a computer.
        size = math.ceil(min(limit, round(size * wave.growth, 6)))
    return size


async def advance(session: AsyncSession, at: datetime) -> int:
    """Take all waves on that nobody else has in hand; without any it is one cheap statement.

    Args:
        session: in a transaction of its own.
        at: the present.

    Returns:
        How many hosts were ordered; there may be more for the next call.
    """
    watched = (WaveState.RUNNING, WaveState.CANCELLED)
    found = await session.exec(
        select(Wave)
        .where(col(Wave.ended_at).is_(None), col(Wave.state).in_(watched))
        .order_by(col(Wave.turn), col(Wave.id))
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    waves = list(found)
    if not waves:
        return 0
    ids = [one.id for one in waves]
    await settle(session, ids)
    tallies = await _tallies(session, ids)
    running = [one for one in waves if await _goes_on(session, one, tallies[one.id], at)]
    round_ = _Round(session, at, {one: each.hosts for one, each in tallies.items()})
    if running:
        await round_.take_turns(running)
    if round_.looked:
        await notify(session, CHANNEL_CALLBACKS)
    return round_.ordered


async def let_go(session: AsyncSession, wave: Wave, at: datetime) -> None:
    """Leave all hosts of a wave to other waves."""
    await session.exec(
        sa.update(WaveHost)
        .where(col(WaveHost.wave_id) == wave.id, col(WaveHost.let_go_at).is_(None))
        .values(let_go_at=at)
    )


@dataclass(frozen=True)
class _Tally:
    hosts: int
    left: int
    """That wait or are under way."""
    under_way: int
    good: int
    failed: int
    """And are not forgiven."""


async def _tallies(session: AsyncSession, wave_ids: Collection[int]) -> dict[int, _Tally]:
    outcome, forgiven = col(WaveHost.outcome), col(WaveHost.forgiven)
    open_ = outcome.is_(None)
    found = await session.exec(  # type: ignore[call-overload]
        sa.select(
            col(WaveHost.wave_id),
            sa.func.count(),
            sa.func.count().filter(open_),
            sa.func.count().filter(open_ & col(WaveHost.build_id).is_not(None)),
            sa.func.count().filter(outcome == WaveOutcome.IN_OPERATION),
            sa.func.count().filter((outcome == WaveOutcome.FAILED) & ~forgiven),
        )
        .where(col(WaveHost.wave_id).in_(wave_ids))
        .group_by(col(WaveHost.wave_id))
    )
    return {wave: _Tally(*numbers) for wave, *numbers in found}


async def _goes_on(session: AsyncSession, wave: Wave, tally: _Tally, at: datetime) -> bool:
    """Whether a wave orders hosts; ends it or stops it where it is to be."""
    if wave.state is WaveState.CANCELLED:
        if not tally.under_way:
            wave.ended_at = at
            await _tell(session)
        return False
    tried = tally.good + tally.failed
    if tally.failed and tally.failed / tried > wave.failure_share:
        wave.state = WaveState.STOPPED
        wave.why = (
            f"{tally.failed} of {tried} hosts failed, and {wave.failure_share:.0%} may: "
            + await _reasons(session, wave, tally.failed)
        )
        await _tell(session)
        return False
    if not tally.left:
        wave.state, wave.ended_at = WaveState.DONE, at
        await let_go(session, wave, at)
        await _tell(session)
        return False
    return True


async def _tell(session: AsyncSession) -> None:
    # No host need have changed for it, and open pages show waves as well.
    await notify(session, CHANNEL_CHANGES, "*")


async def _reasons(session: AsyncSession, wave: Wave, count: int) -> str:
    found = await session.exec(
        select(Host.name, WaveHost.reason)
        .join(Host, col(Host.id) == col(WaveHost.host_id))
        .where(
            col(WaveHost.wave_id) == wave.id,
            col(WaveHost.outcome) == WaveOutcome.FAILED,
            ~col(WaveHost.forgiven),
        )
        .order_by(col(WaveHost.position))
        .limit(_NAMED)
    )
    said = [f"{name}: {reason}" for name, reason in found]
    more = [f"and {count - len(said)} more"] if count > len(said) else []
    return "; ".join([*said, *more])


@dataclass
class _Round:
    """One look at whose turn it is, in one transaction."""

    session: AsyncSession
    at: datetime
    hosts: dict[int, int]
    """How many hosts each wave has, by its id."""
    looked: int = 0
    """Hosts whose turn came, also those that were refused."""
    ordered: int = 0
    busy: set[int] = field(default_factory=set)
    """Hosts that somebody else has in hand."""
    stuck: bool = False
    """Something that many hosts need is locked: the rest is for the next round."""

    async def take_turns(self, waves: Sequence[Wave]) -> None:
        """Order one host of each wave after the other, for as long as there are hosts and room."""
        # Tried, not waited for: who has it now looks again in two seconds, and so do we.
        lock = select(sa.func.pg_try_advisory_xact_lock(_ORDERING_LOCK))
        if not (await self.session.exec(lock)).one():
            return
        await self.session.exec(select(sa.func.set_config("lock_timeout", _PATIENCE, True)))
        last = (await self.session.exec(select(sa.func.max(Wave.turn)))).one()
        queue = deque(waves)
        while queue and not self.stuck and self.looked < MOST_AT_ONCE:
            wave = queue.popleft()
            row = await self._next(wave)
            if row is None:
                continue
            group = await self.session.get_one(HostGroup, wave.host_group_id)
            if not await has_room(self.session, wave, group):
                continue
            if await self._order(wave, group, row):
                # A number and not a time, for clocks of machines differ.
                last += 1
                wave.turn = last
            queue.append(wave)

    async def _next(self, wave: Wave) -> WaveHost | None:
        """The host of a wave whose turn it is; None: its batch is under way."""
        waiting = (
            select(WaveHost)
            .where(
                col(WaveHost.wave_id) == wave.id,
                col(WaveHost.build_id).is_(None),
                col(WaveHost.outcome).is_(None),
                col(WaveHost.host_id).not_in(self.busy),
            )
            .order_by(col(WaveHost.position))
            .execution_options(populate_existing=True)
        )
        in_turn = col(WaveHost.batch).is_not(None)
        found = (await self.session.exec(waiting.where(in_turn).limit(1))).first()
        if found is not None:
            return found
        number = await self._next_batch(wave)
        if number is None:
            return None
        size = batch_size(wave, number, self.hosts[wave.id])
        batch = list(await self.session.exec(waiting.where(~in_turn).limit(size)))
        for one in batch:
            one.batch = number
        await self.session.flush()
        return batch[0] if batch else None

    async def _next_batch(self, wave: Wave) -> int | None:
        """The batch that may begin; None: the one before is not through.

        One of which no host was tried says nothing, and is filled up once more.
        """
        begun = col(WaveHost.batch).is_not(None)
        number, left = (
            await self.session.exec(
                select(
                    sa.func.max(WaveHost.batch),
                    sa.func.count().filter(col(WaveHost.outcome).is_(None)),
                ).where(col(WaveHost.wave_id) == wave.id, begun)
            )
        ).one()
        if number is None:
            return 0
        if left:
            return None
        tried = await self.session.exec(
            select(WaveHost.host_id)
            .where(
                col(WaveHost.wave_id) == wave.id,
                col(WaveHost.batch) == number,
                col(WaveHost.build_id).is_not(None),
            )
            .limit(1)
        )
        return int(number) + (tried.first() is not None)

    async def _order(self, wave: Wave, group: HostGroup, row: WaveHost) -> bool:
        """Order a host, or keep why it is refused; says whether it was ordered."""
        found = await self.session.exec(
            select(Host)
            .where(col(Host.id) == row.host_id)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        )
        host = found.one_or_none()
        if host is None:
            self.busy.add(row.host_id)
            return False
        try:
            async with self.session.begin_nested():
                so_far = (await built_so_far(self.session, [host.id]))[host.id]
                open_ = await builds.current_build(self.session, host.id)
                admitted = Built(row.generation, row.operated, row.group_id)
                require_fit(
                    *(host, open_, so_far),
                    rebuild=wave.rebuild,
                    group=group.id,
                    admitted=admitted,
                )
                build = await orders.provision(
                    *(self.session, host, group),
                    name=None,
                    # Whether its system may be lost was just asked.
                    anew=True,
                    asked_by=f"wave {wave.name}",
                    at=self.at,
                )
        except StillRuns:
            self.busy.add(row.host_id)
            return False
        except (InventoryError, ForbiddenTransition) as error:
            row.outcome, row.reason = WaveOutcome.REFUSED, str(error)
            await self.session.flush()
            self.looked += 1
            return False
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            self.stuck = True
            return False
        row.build_id = build.id
        await self.session.flush()
        self.looked += 1
        self.ordered += 1
        return True
