"""Builds: one generation of one host, from being opened to its outcome."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from datetime import datetime
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from inventory import claims, events
from inventory.arrows import ARROWS, Needs
from inventory.database import AsyncSession
from inventory.errors import BuildOpen
from inventory.life import Event, HostState, next_state
from inventory.models import Build, BuildOutcome, Host, HostGroup, Step, StepState

__all__ = [
    "any_again",
    "build_by_token",
    "certificate_token",
    "close_build",
    "current_build",
    "hold",
    "keep_pin",
    "keep_token",
    "keep_tree",
    "latest_build",
    "lock_build",
    "of_generation",
    "open_build",
    "registration_token",
    "relies_on_pin",
    "resume",
    "set_group",
    "stage",
    "token_hash",
]


def _not_asked(group: HostGroup | None) -> list[int]:
    if group is None:
        return []
    has = {
        Needs.CANDLEPIN: group.candlepin_id is not None,
        Needs.PUPPET: group.puppet_id is not None,
    }
    return [one.number for one in ARROWS if one.needs is not None and not has[one.needs]]


async def open_build(
    session: AsyncSession,
    host: Host,
    *,
    group: HostGroup | None,
    asked_by: str | None,
    at: datetime,
    leaves: bool = False,
) -> Build:
    """Open the next generation of a host, with a step for each of the thirty-four arrows.

    Args:
        session: in the caller's transaction.
        host: whose.
        group: what it is to become; None while nobody has said.
        asked_by: who or what asked for it.
        at: the present.
        leaves: the host is to be removed: no arrow is asked for.

    Raises:
        BuildOpen: the host has an open build; the transaction goes on.
    """
    generations = select(sa.func.coalesce(sa.func.max(Build.generation), 0) + 1)
    build_id = uuid4()
    opened = await session.exec(
        insert(Build)
        .values(
            id=build_id,
            host_id=host.id,
            generation=generations.where(col(Build.host_id) == host.id).scalar_subquery(),
            host_group_id=group.id if group else None,
            opened_at=at,
            asked_by=asked_by,
        )
        .on_conflict_do_nothing()
        .returning(col(Build.id))
    )
    if opened.scalar_one_or_none() is None:
        present = await current_build(session, host.id)
        raise BuildOpen(host.name, present.id if present else None)
    skipped = [one.number for one in ARROWS] if leaves else _not_asked(group)
    rows = [
        {
            "build_id": build_id,
            "number": one.number,
            "state": StepState.NOT_ASKED if one.number in skipped else StepState.PENDING,
        }
        for one in ARROWS
    ]
    # As parameters: thirty-four rows in the statement itself would be compiled anew each time.
    await session.exec(sa.insert(Step), params=rows)
    if group is not None:
        await _assign_host(session, host_id=host.id, group=group)
    return await lock_build(session, build_id)


async def set_group(session: AsyncSession, build: Build, group: HostGroup, asked_by: str) -> None:
    """Say what a host is to become, and so which arrows are asked for.

    Steps that were done stay so; others follow the group, also when it is another one than before.
    """
    await session.exec(
        sa.update(Build)
        .where(col(Build.id) == build.id)
        .values(host_group_id=group.id, asked_by=asked_by)
    )
    await _assign_host(session, host_id=build.host_id, group=group)
    skipped = _not_asked(group)
    of_build = col(Step.build_id) == build.id
    await session.exec(
        sa.update(Step)
        .where(of_build, col(Step.number).in_(skipped), col(Step.state) == StepState.PENDING)
        .values(state=StepState.NOT_ASKED)
    )
    await session.exec(
        sa.update(Step)
        .where(of_build, col(Step.number).not_in(skipped), col(Step.state) == StepState.NOT_ASKED)
        .values(state=StepState.PENDING)
    )


async def _assign_host(session: AsyncSession, *, host_id: int, group: HostGroup) -> None:
    await session.exec(
        sa.update(Host).where(col(Host.id) == host_id).values(host_group_id=group.id)
    )


async def current_build(session: AsyncSession, host_id: int) -> Build | None:
    """The open build of a host."""
    found = await session.exec(
        select(Build).where(col(Build.host_id) == host_id, col(Build.closed_at).is_(None))
    )
    return found.one_or_none()


async def latest_build(session: AsyncSession, host_id: int) -> Build | None:
    """The newest build of a host, open or closed."""
    found = await session.exec(
        select(Build)
        .where(col(Build.host_id) == host_id)
        .order_by(col(Build.generation).desc())
        .limit(1)
    )
    return found.one_or_none()


async def of_generation(
    session: AsyncSession, host_id: int, generation: int | None
) -> Build | None:
    """A build of a host by its generation; None: the newest."""
    if generation is None:
        return await latest_build(session, host_id)
    found = await session.exec(
        select(Build).where(col(Build.host_id) == host_id, Build.generation == generation)
    )
    return found.one_or_none()


async def any_again(session: AsyncSession, build_ids: Collection[UUID]) -> bool:
    """Whether any of the builds is not its host's first."""
    found = await session.exec(
        select(Build.id).where(col(Build.id).in_(build_ids), col(Build.generation) > 1).limit(1)
    )
    return found.first() is not None


async def since_operation(session: AsyncSession, build: Build) -> set[UUID]:
    """A build and those before it, back to the last that went into operation."""
    good = (
        select(sa.func.coalesce(sa.func.max(Build.generation), 0))
        .where(col(Build.host_id) == build.host_id, col(Build.outcome) == BuildOutcome.IN_OPERATION)
        .scalar_subquery()
    )
    found = await session.exec(
        select(Build.id).where(
            col(Build.host_id) == build.host_id,
            col(Build.generation) > good,
            col(Build.generation) <= build.generation,
        )
    )
    return set(found)


async def lock_build(session: AsyncSession, build_id: UUID) -> Build:
    """Lock a build until the end of the transaction, and read it as it is now."""
    found = await session.exec(
        select(Build)
        .where(col(Build.id) == build_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return found.one()


def stage(host: Host, build: Build) -> HostState | None:
    """How far a host is on its way: of one that is held, where it was held."""
    return build.held_from if host.state is HostState.HELD else host.state


async def _lock_both(session: AsyncSession, build: Build) -> tuple[Host, Build]:
    # The host first, as everywhere: two locks in two orders would be a deadlock.
    host = (
        await session.exec(
            select(Host)
            .where(col(Host.id) == build.host_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    ).one()
    return host, await lock_build(session, build.id)


async def hold(
    session: AsyncSession,
    build: Build,
    *,
    step: int | None,
    reason: str,
    advice: str,
    at: datetime,
) -> None:
    """Stop a host until a person has seen to it.

    A host that is held already keeps where it came from and gets the newer reason. Its deadline
    stays: whoever resumes it sets the next one. The run that it travels in writes nothing more.

    Args:
        session: in the caller's transaction.
        build: the host's open build.
        step: number of the arrow at which it stopped, where it was at one.
        reason: what happened, with the outside system's own words.
        advice: what the person can do.
        at: the present.

    Raises:
        ForbiddenTransition: a host in this state cannot be held.
    """
    host, build = await _lock_both(session, build)
    was = host.state
    if was is not HostState.HELD:
        target = next_state(was, Event.HOLD)
        build.held_from = was
        host.state, host.state_since = target, at
    build.held_step, build.held_reason, build.held_advice = step, reason, advice
    await session.flush()
    if was is not HostState.HELD:
        await events.record(session, host, Event.HOLD, was=was, at=at)
    # A run that went on would call done what a held host was spared.
    await claims.withdraw(session, build.id, at)


async def resume(session: AsyncSession, build: Build, at: datetime) -> None:
    """Put a held host back to where it was held, so that it starts at the unfinished step.

    Raises:
        ForbiddenTransition: the host is not held.
    """
    host, build = await _lock_both(session, build)
    target = next_state(host.state, Event.RETRY, held_from=build.held_from)
    was, host.state, host.state_since = host.state, target, at
    build.held_from = None
    build.held_step = build.held_reason = build.held_advice = None
    await session.flush()
    await events.record(session, host, Event.RETRY, was=was, at=at)


async def close_build(
    session: AsyncSession, build: Build, outcome: BuildOutcome, at: datetime
) -> None:
    """End a build; one that has ended keeps its first outcome.

    The reason of a held build stays, for whoever asks later why it was superseded.
    """
    build = await lock_build(session, build.id)
    if build.closed_at is None:
        build.closed_at, build.outcome, build.deadline = at, outcome, None
    await session.flush()


def token_hash(token: str) -> str:
    """What is kept of a token: it is random and long, so a plain SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def certificate_token(token: str) -> str:
    """The token that comes with a host's certificate request, as its challengePassword.

    Made one-way from the build's: while a request waits at the CA anybody may read it, and the
    build's own token opens the kickstart.
    """
    return hmac.new(token.encode(), b"certificate request", hashlib.sha256).hexdigest()


def registration_token(token: str) -> str:
    """The token that a host shows as one of its activation keys when it registers.

    Made one-way from the build's, which opens the kickstart: command lines can be read, and keys
    stand in logs.
    """
    return hmac.new(token.encode(), b"registration", hashlib.sha256).hexdigest()


async def keep_token(session: AsyncSession, build: Build, token: str) -> None:
    """Keep a build's token by its hash, unspent; an earlier one is forgotten."""
    await session.exec(
        sa.update(Build)
        .where(col(Build.id) == build.id)
        .values(
            token_hash=token_hash(token),
            token_spent_at=None,
            certificate_hash=token_hash(certificate_token(token)),
            registration_hash=token_hash(registration_token(token)),
        )
    )


async def keep_tree(session: AsyncSession, build: Build, url: str) -> None:
    """Keep the install tree that a build began with; it installs from no other."""
    await session.exec(sa.update(Build).where(col(Build.id) == build.id).values(tree_url=url))


async def keep_pin(session: AsyncSession, build: Build, *, pin: str, publication: str) -> None:
    """Keep which pin a build relies on, before it is looked for or made.

    Args:
        session: in the caller's transaction, which locks the pin against being taken away.
        build: whose.
        pin: its base path.
        publication: what it serves.
    """
    await session.exec(
        sa.update(Build)
        .where(col(Build.id) == build.id)
        .values(tree_pin=pin, tree_publication=publication)
    )


async def relies_on_pin(session: AsyncSession, pin: str, since: datetime) -> bool:
    """Whether a build installs from a pin, or did until a moment ago.

    Args:
        session: in the caller's transaction.
        pin: its base path.
        since: builds that ended after this count as well.
    """
    open_or_late = sa.or_(col(Build.closed_at).is_(None), col(Build.closed_at) > since)
    found = await session.exec(
        select(Build.id).where(col(Build.tree_pin) == pin, open_or_late).limit(1)
    )
    return found.first() is not None


async def build_by_token(session: AsyncSession, token: str) -> Build | None:
    """The build that a token was issued for, open or closed, spent or not: the caller decides."""
    found = await session.exec(select(Build).where(col(Build.token_hash) == token_hash(token)))
    return found.one_or_none()
