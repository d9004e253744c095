"""Lets hosts go on: in which phase one that is held does, and all that failed alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlmodel import col

from inventory import builds, callbacks, claims, hosts, steps
from inventory.allowed import Act, ready_build
from inventory.arrows import PROFILED, Phase, arrow
from inventory.database import CHANNEL_CALLBACKS, AsyncSession, notify
from inventory.errors import InventoryError, StillRuns
from inventory.life import WAITS_FOR_HOST, HostState
from inventory.models import Build, CallbackKind, Host, HostGroup, Interface
from inventory.rights import in_scope
from inventory.scope import Scope

__all__ = [
    "Held",
    "Retried",
    "has_spoken",
    "held",
    "held_at",
    "may_run",
    "phase_to_resume",
    "resume",
    "retry",
    "retry_all",
    "start",
]

_STATES_OF: dict[Phase, frozenset[HostState]] = {
    Phase.DISCOVERY: frozenset({HostState.DISCOVERED}),
    Phase.INCEPTION: frozenset({HostState.SELECTED, HostState.PREPARING, HostState.REBOOTING}),
    Phase.FIRST_BOOT: frozenset({HostState.FIRST_BOOT}),
    Phase.ANACONDA: frozenset({HostState.INSTALLING, HostState.INSTALLED, HostState.FIRST_BOOT}),
    Phase.CANCEL: frozenset({HostState.CANCELLING}),
    Phase.DECOMMISSION: frozenset({HostState.DECOMMISSIONING}),
}
"""Where a host may be when a phase of its build is run, or run again."""

_MADE_SURE = frozenset({23, 24, *PROFILED})
"""Arrows that belong in the installer and that the first boot makes sure of."""
_TOGETHER = 50
"""Hosts that travel in one run, as with the dispatcher."""


@dataclass(frozen=True)
class Held:
    """Hosts that are held at the same step for the same reason."""

    step: int | None
    reason: str
    """With the hosts' own names and addresses left out."""
    hosts: tuple[str, ...]
    advice: str = ""
    """What a person can do."""


@dataclass(frozen=True)
class Retried:
    """What became of hosts that were to go on."""

    goes: Mapping[str, Phase | None]
    """By name: the phase that is run again; None: the host is waited for anew."""
    refused: Mapping[str, str]
    """By name: why it cannot."""


async def phase_to_resume(session: AsyncSession, build: Build) -> Phase | None:
    """The phase in which a held build goes on: that of the step at which it stopped.

    Returns:
        None where the next move is the host's: to run our part of the phase would take away the
        boot configuration that it still needs.
    """
    for undoing in (Phase.CANCEL, Phase.DECOMMISSION):
        if build.held_from in _STATES_OF[undoing]:
            return undoing
    if build.held_step is not None:
        phase = arrow(build.held_step).phase
    else:
        phase = next(one for one, states in _STATES_OF.items() if build.held_from in states)
    match build.held_from:
        case HostState.REBOOTING | HostState.INSTALLING:
            return phase if phase is Phase.INCEPTION else None
        case HostState.FIRST_BOOT if phase is not Phase.ANACONDA or build.held_step in _MADE_SURE:
            told = await has_spoken(session, build)
            return Phase.FIRST_BOOT if told else None
        case _:
            return phase


async def has_spoken(session: AsyncSession, build: Build) -> bool:
    """Whether an installed system has said, and had said, all that the first boot is judged by."""
    group = await session.get(HostGroup, build.host_group_id) if build.host_group_id else None
    registers = group is not None and group.candlepin_id is not None
    if registers and build.id not in await steps.done(session, [build.id], PROFILED):
        return False
    kinds = [CallbackKind.REPORT]
    if group is not None and group.puppet_id is not None:
        kinds.append(CallbackKind.PUPPET_REPORT)
    return all([await callbacks.latest(session, build.id, kind) for kind in kinds])


async def may_run(session: AsyncSession, host: Host, build: Build, phase: Phase) -> bool:
    """Whether a phase that a person has started has anything to do for a host where it is.

    An installer at work still needs its boot configuration, and a system that has not reported
    cannot be judged.
    """
    match phase:
        case Phase.ANACONDA if host.state is HostState.INSTALLING:
            return False
        case Phase.FIRST_BOOT if not await has_spoken(session, build):
            return False
    return host.state in _STATES_OF[phase]


async def resume(session: AsyncSession, host: Host, build: Build, *, at: datetime) -> None:
    """Put a held host back to where it was; one that we wait for gets its whole time again.

    Raises:
        StillRuns: nothing else can travel with it until its run has let go of it.
    """
    if await claims.is_claimed(session, build.id):
        raise StillRuns(host.name, host.state)
    await builds.resume(session, build, at)
    if build.host_group_id is not None and host.state in WAITS_FOR_HOST:
        group = await session.get_one(HostGroup, build.host_group_id)
        first_boot = host.state is HostState.FIRST_BOOT
        minutes = group.first_boot_minutes if first_boot else group.install_minutes
        build.deadline = at + timedelta(minutes=minutes)


async def start(
    session: AsyncSession, phase: Phase, build_ids: list[UUID], *, at: datetime
) -> set[UUID]:
    """Claim a phase for builds, which then travel together, and wake the dispatcher.

    Returns:
        The builds that were claimed; others have a run already, or are closed.
    """
    claimed = await claims.claim(session, phase, build_ids, company=uuid4(), at=at)
    await notify(session, CHANNEL_CALLBACKS)
    return claimed


async def retry(session: AsyncSession, host: Host, *, at: datetime) -> Phase | None:
    """Let a held host go on at its unfinished step.

    Returns:
        The phase that is run again; None: it is the host's turn, which is waited for anew.

    Raises:
        NotReady: the host is not held.
    """
    build, phase = await _let_go_on(session, host, at)
    if phase is not None:
        await start(session, phase, [build.id], at=at)
    # What the host said while it was held is due now.
    await notify(session, CHANNEL_CALLBACKS)
    return phase


async def retry_all(session: AsyncSession, names: Sequence[str], *, at: datetime) -> Retried:
    """Let held hosts go on, together where they go on with the same phase.

    One that cannot go on keeps no other from it.

    Args:
        session: in the caller's transaction.
        names: full names.
        at: the present.
    """
    goes: dict[str, Phase | None] = {}
    refused: dict[str, str] = {}
    together: dict[Phase, list[UUID]] = {}
    for name in sorted(names):
        try:
            async with session.begin_nested():
                host = await hosts.named(session, name)
                build, phase = await _let_go_on(session, host, at)
        except InventoryError as error:
            refused[name] = str(error)
            continue
        goes[name] = phase
        if phase is not None:
            together.setdefault(phase, []).append(build.id)
    for phase, ids in together.items():
        for first in range(0, len(ids), _TOGETHER):
            await start(session, phase, ids[first : first + _TOGETHER], at=at)
    await notify(session, CHANNEL_CALLBACKS)
    return Retried(goes, refused)


async def _let_go_on(session: AsyncSession, host: Host, at: datetime) -> tuple[Build, Phase | None]:
    host = await hosts.lock_host(session, host.id)
    build = ready_build(Act.RETRY, host, await builds.current_build(session, host.id))
    phase = await phase_to_resume(session, build)
    await resume(session, host, build, at=at)
    return build, phase


async def held_at(
    session: AsyncSession, step: int, *, because: str = "", group: str = ""
) -> list[Held]:
    """The hosts that are held at a step, by reason, the reason of most hosts first.

    Args:
        session: only read.
        step: number of the arrow.
        because: only reasons with these words, in any case.
        group: only hosts of the host group of this name; empty: of all.
    """
    words = col(Build.held_reason).icontains(because, autoescape=True) if because else sa.true()
    of_group = col(HostGroup.name) == group if group else sa.true()
    return await _held(session, col(Build.held_step) == step, words, of_group)


async def held(session: AsyncSession, scope: Scope) -> list[Held]:
    """All held hosts by step and reason, the reason of most hosts first.

    Args:
        session: only read.
        scope: of whoever looks.
    """
    return await _held(session, in_scope(scope))


async def _held(session: AsyncSession, *only: sa.ColumnElement[bool]) -> list[Held]:
    found = await session.exec(  # type: ignore[call-overload]  # sqlmodel types four entities
        sa.select(
            col(Host.name),
            col(Build.held_step),
            col(Build.held_reason),
            col(Build.held_advice),
            sa.func.host(Interface.ip),
            col(Interface.mac),
        )
        .select_from(Host)
        .join(Build, col(Build.host_id) == col(Host.id))
        .outerjoin(
            Interface,
            sa.and_(col(Interface.host_id) == col(Host.id), col(Interface.provisioning)),
        )
        .outerjoin(HostGroup, col(HostGroup.id) == col(Build.host_group_id))
        .where(col(Host.state) == HostState.HELD, col(Build.closed_at).is_(None), *only)
        .order_by(col(Host.name))
    )
    together: dict[tuple[int | None, str], list[str]] = {}
    advised: dict[tuple[int | None, str], str] = {}
    for name, step, reason, advice, ip, mac in found:
        said = _without(reason or "", name, ip or "", mac or "")
        together.setdefault((step, said), []).append(name)
        advised[step, said] = _without(advice or "", name, ip or "", mac or "")
    groups = [
        Held(step, reason, tuple(names), advised[step, reason])
        for (step, reason), names in together.items()
    ]
    return sorted(groups, key=lambda one: (-len(one.hosts), one.step or 0, one.reason))


def _without(reason: str, *own: str) -> str:
    for one in own:
        if one:
            reason = reason.replace(one, "…")
    return reason
