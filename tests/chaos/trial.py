"""One fault: struck, lived through, and what it left behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

import sqlalchemy as sa
from pydantic import BaseModel
from sqlmodel import col, select

from inventory.life import HostState
from inventory.models import Callback, CallbackKind, Host
from tests.chaos.faults import Injector, Kind, Point
from tests.chaos.site import ChaosSite, Worker, retry_held
from tests.chaos.walks import Walk, states

__all__ = ["Case", "Clean", "Result", "clean", "endless", "strike"]

_RETRIES = 3
_INSIDE = frozenset(
    {
        *(Kind.KILLED, Kind.SLEPT, Kind.BACK, Kind.AHEAD),
        *(Kind.CUT, Kind.UNANSWERED, Kind.FULL),
    }
)
"""Faults of our own, for which no host may be held."""
_WAITED_FOR = (CallbackKind.FACTS, CallbackKind.REPORT, CallbackKind.PUPPET_REPORT)


@dataclass(frozen=True)
class Case:
    """A walk with so many hosts of a kind."""

    walk: Walk
    hosts: int
    full: bool
    """With Puppet and Candlepin."""

    def __str__(self) -> str:
        return f"{self.walk.name}/{self.hosts}{'+' if self.full else ''}"


@dataclass(frozen=True)
class Clean:
    """What a walk without any fault passes by and leaves."""

    points: tuple[Point, ...]
    acts: Counter[str]
    held: Counter[str]


class Result(BaseModel):
    """What became of one fault."""

    case: str
    point: Point
    kind: Kind
    resumed: bool
    held: tuple[str, ...]
    """Why hosts were held until they were retried; none where they went on by themselves."""
    repeated: int
    same: int
    """Repeated by a process that was stopped right before the write, without any change."""
    leaked: int
    lost: int
    why: str = ""

    @property
    def good(self) -> bool:
        """Whether all that must hold does."""
        return self.resumed and not (self.repeated or self.leaked or self.lost or self.why)

    def __str__(self) -> str:
        return f"{self.case}/{self.point}/{self.kind}"


async def clean(site: ChaosSite, case: Case) -> Clean:
    """Walk without a fault, twice: what differs by itself would be found as a fault's doing."""
    seen = Injector()
    first = await _walk(site, case, seen)
    acts, held = site.acts(), site.held()
    if first:
        raise AssertionError(f"{case} does not end well by itself: {first}")
    return Clean(tuple(seen.seen), acts, held)


async def _walk(site: ChaosSite, case: Case, injector: Injector) -> str:
    """Prepare hosts and let the flow work; returns what is wrong with where they are then."""
    await site.reset(Injector(), full=case.full)
    await case.walk.prepare(site, range(1, case.hosts + 1))
    site.clear_logs()
    site.injector = injector
    await Worker(site).settle()
    return await _missed(site, case)


async def _missed(site: ChaosSite, case: Case) -> str:
    found = Counter(await states(site))
    if found == {case.walk.goal: case.hosts}:
        return ""
    return ", ".join(f"{count} {state}" for state, count in found.items())


async def strike(
    site: ChaosSite, case: Case, point: Point, kind: Kind, without: Clean
) -> Result | None:
    """Have one thing go wrong at one point, let the hosts go on, and look at what is left.

    Returns:
        None: the walk went another way this time, and ended before the point.
    """

    async def asleep() -> None:
        """Others take this worker for dead, and do its work, before it wakes."""
        for one in site.living:
            await one.die()
        site.injector = Injector()
        await asyncio.create_task(Worker(site).settle())

    injector = Injector(point.number, kind, asleep)
    wrong = await _walk(site, case, injector)
    held: list[str] = []
    for _ in range(_RETRIES):
        builds = await retry_held(site)
        if not builds:
            break
        held += [f"{one.held_step}: {one.held_reason} {one.held_advice}" for one in builds]
        site.injector = Injector()
        await Worker(site).settle()
        wrong = await _missed(site, case)
    if injector.struck is None:
        return None
    why = _why(kind, injector.struck, held)
    acts, extra = site.acts(), site.held()
    repeated = sum((acts - without.acts).values())
    same = repeated if kind is Kind.SLEPT and extra == without.held else 0
    return Result(
        case=str(case),
        point=injector.struck,
        kind=kind,
        resumed=not wrong,
        held=tuple(held),
        repeated=repeated - same,
        same=same,
        leaked=sum((extra - without.held).values()) + site.duplicates(),
        lost=await _lost(site, case) + sum((without.held - extra).values()),
        why=why or wrong,
    )


def endless(case: Case, point: Point, kind: Kind) -> Result:
    """What is said of a fault after which somebody waits for ever."""
    return Result(
        case=str(case),
        point=point,
        kind=kind,
        resumed=False,
        held=(),
        why="does not end",
        repeated=0,
        same=0,
        leaked=0,
        lost=0,
    )


def _why(kind: Kind, point: Point, held: list[str]) -> str:
    """What is untrue about the reasons for which hosts were held."""
    for reason in held:
        if "fault of Rackrise" in reason:
            return f"held for {reason!r}"
        if kind in _INSIDE:
            return f"held for {reason!r}, though nothing outside was wrong"
    return ""


async def _lost(site: ChaosSite, case: Case) -> int:
    """Callbacks that somebody should have acted upon, and nobody has."""
    async with site.bench.database.sessions() as session:
        found = await session.exec(
            select(sa.func.count())
            .select_from(Callback)
            .join(Host, col(Host.id) == col(Callback.host_id))
            .where(
                col(Callback.handled_at).is_(None),
                col(Callback.kind).in_(_WAITED_FOR),
                sa.or_(
                    col(Host.state) != HostState.REBOOTING,
                    col(Callback.kind) == CallbackKind.FACTS,
                ),
            )
        )
        return found.one()
