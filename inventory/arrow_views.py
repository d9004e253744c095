"""The arrows of a build as people look at them: how each stands, when it was, how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from inventory import durations, steps
from inventory.arrows import arrow
from inventory.database import AsyncSession
from inventory.durations import UsualArrow
from inventory.life import HostState
from inventory.models import Build, Host, Step, StepState

__all__ = ["ArrowView", "Standing", "arrows_of"]

_SLOW = 1.5
"""So many times what is usual for all but a few is slow."""
_HOSTS_TURN = {
    HostState.REBOOTING: range(18, 22),
    HostState.INSTALLING: range(22, 28),
    HostState.FIRST_BOOT: range(30, 35),
}
"""The arrows that a host goes through by itself, by the state in which it is waited for."""


class Standing(StrEnum):
    """How an arrow stands, seen together with its build and its host."""

    PENDING = "pending"
    AWAITED = "awaited"
    """It is the host's turn, and this comes next."""
    RUNNING = "running"
    HELD = "held"
    """The host is held here."""
    HALTED = "halted"
    """It was under way when the build ended, was given up, or was held: nobody works at it now."""
    FAILED = "failed"
    DONE = "done"
    NOT_ASKED = "not asked for"


@dataclass(frozen=True)
class ArrowView:
    """One arrow of a build."""

    number: int
    label: str
    phase: str
    source: str
    target: str
    text: str
    state: StepState
    standing: Standing
    """Its state as the build's and the host's make it."""
    evidence: str | None
    awaited_since: datetime | None
    """Since when the host could have done it; None: it is not awaited."""
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    """How long it took; of what hosts do by themselves, since the arrow before was done."""
    usual_seconds: float | None
    """Half of the group's hosts took at most so long; None: too few have."""
    slow: bool
    """It took much longer than nearly all."""
    seen: str
    error: str | None
    attempts: int
    flow_run_id: UUID | None


async def arrows_of(session: AsyncSession, build: Build) -> tuple[ArrowView, ...]:
    """The thirty-four arrows of a build, with their times and what is usual for its host group."""
    found = (await steps.states(session, [build.id]))[build.id]
    host = await session.get_one(Host, build.host_id)
    group = build.host_group_id
    usual = {} if group is None else await durations.usual_arrows(session, group)
    ends = sorted(one.ended_at for one in found.values() if one.ended_at is not None)
    awaited = _awaited(found, host, build)
    return tuple(
        _view(
            found[number],
            ends,
            usual.get(number),
            _standing(found[number], host, build, awaited),
            _since(ends, host) if number == awaited else None,
        )
        for number in sorted(found)
    )


def _awaited(found: Mapping[int, Step], host: Host, build: Build) -> int | None:
    """The arrow that comes next where it is the host's turn; None where one is under way."""
    if build.closed_at is not None:
        return None
    turn = [found[number] for number in _HOSTS_TURN.get(host.state, ()) if number in found]
    if any(one.state is StepState.RUNNING for one in turn):
        return None
    return next((one.number for one in turn if one.state is StepState.PENDING), None)


def _since(ends: list[datetime], host: Host) -> datetime:
    """Since when the host could have gone on: after a retry, since then."""
    return max([host.state_since, *ends[-1:]])


def _standing(step: Step, host: Host, build: Build, awaited: int | None) -> Standing:
    stopped = build.closed_at is not None or build.given_up is not None
    held = not stopped and host.state is HostState.HELD
    if held and step.number == build.held_step:
        return Standing.HELD
    if step.state is StepState.RUNNING and (stopped or held):
        return Standing.HALTED
    return Standing.AWAITED if step.number == awaited else Standing(step.state.value)


def _view(
    step: Step,
    ends: list[datetime],
    usual: UsualArrow | None,
    standing: Standing,
    awaited_since: datetime | None,
) -> ArrowView:
    what = arrow(step.number)
    took = _took(step, ends)
    most = None if usual is None else max(usual.most, timedelta(seconds=1)) * _SLOW
    return ArrowView(
        number=step.number,
        label=what.label,
        phase=what.phase.value,
        source=what.source,
        target=what.target,
        text=what.text,
        state=step.state,
        standing=standing,
        evidence=step.evidence,
        awaited_since=awaited_since,
        started_at=step.started_at,
        ended_at=step.ended_at,
        seconds=None if took is None else took.total_seconds(),
        usual_seconds=None if usual is None else usual.median.total_seconds(),
        slow=took is not None and most is not None and took > most,
        seen=step.seen,
        error=step.error,
        attempts=step.attempts,
        flow_run_id=step.flow_run_id,
    )


def _took(step: Step, ends: list[datetime]) -> timedelta | None:
    if step.ended_at is None:
        return None
    began = step.started_at
    if began is None:
        began = max((one for one in ends if one < step.ended_at), default=None)
    return None if began is None else max(step.ended_at - began, timedelta())
