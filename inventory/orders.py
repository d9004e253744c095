"""What people, rules and schedules ask for: provision a host, build it anew, give it up."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import select

from inventory import builds, claims, effects, hosts, retries, steps
from inventory.allowed import Act, before_reboot, ready_build, require_ready
from inventory.arrows import Evidence
from inventory.database import CHANNEL_CALLBACKS, AsyncSession, notify
from inventory.errors import UnknownGroup
from inventory.host_names import require_full_name
from inventory.life import Event, HostState
from inventory.models import (
    Build,
    BuildOutcome,
    Domain,
    Host,
    HostGroup,
)

__all__ = [
    "cancel",
    "decommission",
    "group_named",
    "provision",
    "rebuild",
]


async def group_named(session: AsyncSession, name: str) -> HostGroup:
    """The host group of a name.

    Raises:
        UnknownGroup: there is none; the message names those that are.
    """
    group = (await session.exec(select(HostGroup).where(HostGroup.name == name))).one_or_none()
    if group is None:
        others = await session.exec(select(HostGroup.name).order_by(HostGroup.name))
        raise UnknownGroup(name, list(others))
    return group


async def provision(
    session: AsyncSession,
    host: Host,
    group: HostGroup,
    *,
    name: str | None,
    anew: bool = False,
    asked_by: str,
    at: datetime,
) -> Build:
    """Select a host for a group (arrow 6): its name, its group, its open build.

    Args:
        session: in the caller's transaction; the host stays locked until its end.
        host: discovered, cancelled or held.
        group: what it is to become.
        name: full name, or a short one that the group's domain completes; None keeps what it has.
        anew: also where it is in operation: what is on its disk is lost.
        asked_by: who or what asked for it, kept for audit.
        at: the present.

    Raises:
        NotReady: the host is being provisioned, or leaves.
        BadName: no host can be called so.
        NameTaken: another host has the name.
    """
    host = await hosts.lock_host(session, host.id)
    build = await builds.current_build(session, host.id)
    over = anew and host.state is HostState.IN_OPERATION
    require_ready(Act.REBUILD if over else Act.PROVISION, host, build, group_named=True)
    event: Event | None = Event.REBUILD
    if build is None:
        build = await builds.open_build(session, host, group=group, asked_by=asked_by, at=at)
    elif host.state is HostState.DISCOVERED:
        event = Event.SELECT
    elif await _begins_anew(session, host, build, group, name):
        build = await _supersede(session, host, build, group, asked_by=asked_by, at=at)
    else:
        event = Event.SELECT if build.held_from is HostState.DISCOVERED else None
        await retries.resume(session, host, build, at=at)
    build = await _select(session, host, build, group, name=name, asked_by=asked_by, at=at)
    # Last, so that its event tells of the host as what it was selected for.
    if event is not None:
        await hosts.move(session, host, event, at)
    return build


async def _select(
    session: AsyncSession,
    host: Host,
    build: Build,
    group: HostGroup,
    *,
    name: str | None,
    asked_by: str,
    at: datetime,
) -> Build:
    await builds.set_group(session, build, group, asked_by)
    await hosts.take_name(session, host, await _full_name(session, host, group, name))
    await steps.finish(
        session,
        build.id,
        6,
        evidence=Evidence.OBSERVED,
        seen=f"{asked_by} asked for {group.name}",
        at=at,
    )
    return build


async def _begins_anew(
    session: AsyncSession, host: Host, build: Build, group: HostGroup, name: str | None
) -> bool:
    """Whether a host held before its reboot is to be something else than what was made for it.

    Its steps that are done would be passed over, and it would start as what it was to be before.
    """
    same = await _full_name(session, host, group, name) == host.name
    if same and build.host_group_id == group.id:
        return False
    return bool(await effects.of_build(session, build.id))


async def _supersede(
    session: AsyncSession,
    host: Host,
    build: Build,
    group: HostGroup,
    *,
    asked_by: str,
    at: datetime,
) -> Build:
    """Open the next build of a held host, which takes over what the held one has made.

    The caller moves the host when it is selected.
    """
    await claims.withdraw(session, build.id, at)
    await builds.close_build(session, build, BuildOutcome.SUPERSEDED, at)
    return await builds.open_build(session, host, group=group, asked_by=asked_by, at=at)


async def _full_name(session: AsyncSession, host: Host, group: HostGroup, name: str | None) -> str:
    wanted = name or host.name
    if "." in wanted:
        return require_full_name(wanted)
    domain = await session.get_one(Domain, group.domain_id)
    return require_full_name(f"{wanted}.{domain.name}")


async def cancel(session: AsyncSession, host: Host, *, why: str, at: datetime) -> Build:
    """Give a host's build up; the flow ``cancel`` undoes what it has changed outside.

    Its token is spent at once, so that it gets no kickstart more, and the run that it travels in
    writes nothing more. Cancelled again it stays as it is.

    Args:
        session: in the caller's transaction; the host stays locked until its end.
        host: on its way, or held.
        why: who gave it up, or what failed.
        at: the present.

    Raises:
        NotReady: there is nothing to give up.
    """
    host = await hosts.lock_host(session, host.id)
    build = ready_build(Act.CANCEL, host, await builds.current_build(session, host.id))
    if host.state is not HostState.CANCELLING:
        await _leave(session, host, build, Event.CANCEL, why, at)
    return build


async def decommission(session: AsyncSession, host: Host, *, asked_by: str, at: datetime) -> Build:
    """Let a host go for good; the flow ``decommission`` undoes what all its builds have changed.

    Args:
        session: in the caller's transaction; the host stays locked until its end.
        host: in any state but retired.
        asked_by: who asked for it.
        at: the present.

    Raises:
        NotReady: it has gone already.
    """
    host = await hosts.lock_host(session, host.id)
    build = await builds.current_build(session, host.id)
    require_ready(Act.DECOMMISSION, host, build)
    if build is None:
        group = await session.get(HostGroup, host.host_group_id) if host.host_group_id else None
        build = await builds.open_build(
            session, host, group=group, asked_by=asked_by, at=at, leaves=True
        )
    if host.state is not HostState.DECOMMISSIONING:
        await _leave(session, host, build, Event.DECOMMISSION, asked_by, at)
    return build


async def _leave(
    session: AsyncSession, host: Host, build: Build, event: Event, why: str, at: datetime
) -> None:
    await hosts.move(session, host, event, at)
    build.given_up = f"{why}; it was held: {build.held_reason}" if build.held_reason else why
    build.held_reason = build.held_from = build.held_step = build.held_advice = build.deadline = (
        None
    )
    if build.token_hash is not None:
        build.token_spent_at = build.token_spent_at or at
    await session.flush()
    await claims.withdraw(session, build.id, at)
    await notify(session, CHANNEL_CALLBACKS)


async def rebuild(
    session: AsyncSession,
    host: Host,
    group: HostGroup | None,
    *,
    name: str | None = None,
    asked_by: str,
    at: datetime,
) -> Build:
    """Build a host anew: the next generation, under its address.

    Args:
        session: in the caller's transaction; the host stays locked until its end.
        host: in operation, cancelled or held; what a held build has made is taken over.
        group: what it is to become; None: what it is.
        name: as for ``provision``.
        asked_by: who asked for it.
        at: the present.

    Raises:
        NotReady: the host is being built, leaves, or has never had a group.
    """
    host = await hosts.lock_host(session, host.id)
    build = await builds.current_build(session, host.id)
    require_ready(Act.REBUILD, host, build, group_named=group is not None)
    if group is None:
        group = await session.get_one(HostGroup, host.host_group_id)
    if host.state is HostState.HELD and build is not None and not before_reboot(build):
        build = await _supersede(session, host, build, group, asked_by=asked_by, at=at)
        build = await _select(session, host, build, group, name=name, asked_by=asked_by, at=at)
        await hosts.move(session, host, Event.REBUILD, at)
        return build
    return await provision(session, host, group, name=name, anew=True, asked_by=asked_by, at=at)
