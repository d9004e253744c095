"""What people do to hosts, through whichever door: with their right to it, and an entry in the log.

Console, API and command line call these; what is done is in ``orders`` and ``retries``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select

from inventory import audit, orders, retries, rights
from inventory.allowed import Act, require_role
from inventory.database import CHANNEL_CALLBACKS, AsyncSession, notify
from inventory.errors import InventoryError
from inventory.models import Build, Host, HostGroup
from inventory.rights import Actor

__all__ = [
    "Provisioned",
    "cancel",
    "decommission",
    "provision",
    "provision_all",
    "rebuild",
    "resume",
    "retry",
]


@dataclass(frozen=True)
class Provisioned:
    """What became of hosts that were to be provisioned together."""

    selected: Sequence[str]
    """By the names that they were asked for by."""
    refused: Mapping[str, str]
    """By name: why it cannot."""


async def provision(
    session: AsyncSession, actor: Actor, name: str, group: str, *, as_name: str = "", at: datetime
) -> Host:
    """Provision a host: its run starts at once.

    Args:
        session: in the caller's transaction.
        actor: who asks; at least an operator.
        name: of the host, as it is called now.
        group: name of the host group that it becomes.
        as_name: name that it gets; empty keeps what it has.
        at: the present.

    Raises:
        InventoryError: it is not known, not theirs, or cannot be provisioned now.
    """
    host = await _theirs(session, actor, Act.PROVISION, name)
    rights.require_group(actor, group)
    before = await audit.condition_of(session, host.id)
    wanted = await orders.group_named(session, group)
    await orders.provision(session, host, wanted, name=as_name or None, asked_by=actor.title, at=at)
    await audit.record_host(session, actor, "provision", host.id, before=before, at=at)
    await notify(session, CHANNEL_CALLBACKS)
    return host


async def provision_all(
    session: AsyncSession, actor: Actor, names: Sequence[str], group: str, *, at: datetime
) -> Provisioned:
    """Provision hosts under the names that they have; one that is refused keeps no other from it.

    Raises:
        InventoryError: they only look, or the host group is not theirs or not known.
    """
    require_role(actor, Act.PROVISION)
    rights.require_group(actor, group)
    await orders.group_named(session, group)
    # In the order in which everybody locks hosts, so that nobody waits for each other.
    found = await session.exec(
        select(Host.name).where(col(Host.name).in_(names)).order_by(col(Host.id))
    )
    there = list(found)
    selected: list[str] = []
    refused: dict[str, str] = {}
    for name in dict.fromkeys([*there, *names]):
        try:
            async with session.begin_nested():
                await provision(session, actor, name, group, at=at)
            selected.append(name)
        except InventoryError as error:
            refused[name] = str(error)
    return Provisioned(selected, refused)


async def rebuild(
    session: AsyncSession,
    actor: Actor,
    name: str,
    group: str = "",
    *,
    as_name: str = "",
    at: datetime,
) -> Host:
    """Install a host anew, under its address; empty ``group`` and ``as_name`` keep its own.

    Raises:
        InventoryError: it is not known, not theirs, or cannot be rebuilt now.
    """
    host = await _theirs(session, actor, Act.REBUILD, name)
    wanted: HostGroup | None = None
    if group:
        rights.require_group(actor, group)
        wanted = await orders.group_named(session, group)
    before = await audit.condition_of(session, host.id)
    await orders.rebuild(session, host, wanted, name=as_name or None, asked_by=actor.title, at=at)
    await audit.record_host(session, actor, "rebuild", host.id, before=before, at=at)
    await notify(session, CHANNEL_CALLBACKS)
    return host


async def cancel(
    session: AsyncSession, actor: Actor, name: str, *, why: str = "", at: datetime
) -> Host:
    """Give a host's build up, and have undone what it has changed outside.

    Raises:
        InventoryError: it is not known, not theirs, or there is nothing to give up.
    """
    host = await _theirs(session, actor, Act.CANCEL, name)
    before = await audit.condition_of(session, host.id)
    said = f"{actor.title}: {why}" if why else actor.title
    await orders.cancel(session, host, why=said, at=at)
    await audit.record_host(session, actor, "cancel", host.id, before=before, at=at, note=why)
    return host


async def decommission(session: AsyncSession, actor: Actor, name: str, *, at: datetime) -> Host:
    """Let a host go for good.

    Raises:
        InventoryError: it is not known, not theirs, or has gone already.
    """
    host = await _theirs(session, actor, Act.DECOMMISSION, name)
    before = await audit.condition_of(session, host.id)
    await orders.decommission(session, host, asked_by=actor.title, at=at)
    await audit.record_host(session, actor, "decommission", host.id, before=before, at=at)
    return host


async def retry(
    session: AsyncSession, actor: Actor, names: Sequence[str], *, at: datetime
) -> retries.Retried:
    """Let held hosts go on at their unfinished step, together where that is the same phase.

    One that is not theirs or cannot go on keeps no other from it.

    Raises:
        Forbidden: they only look.
    """
    require_role(actor, Act.RETRY)
    refused: dict[str, str] = {}
    were: dict[str, tuple[int, audit.Condition]] = {}
    for name in names:
        try:
            host = await rights.own_host(session, actor, name)
        except InventoryError as error:
            refused[name] = str(error)
            continue
        were[host.name] = (host.id, await audit.condition_of(session, host.id))
    told = await retries.retry_all(session, list(were), at=at)
    for name in told.goes:
        host_id, before = were[name]
        await audit.record_host(session, actor, "retry", host_id, before=before, at=at)
    return retries.Retried(told.goes, {**told.refused, **refused})


async def resume(
    session: AsyncSession, actor: Actor, host: Host, build: Build, *, at: datetime
) -> None:
    """Put a held host back to where it was, for whoever runs its flow again.

    Raises:
        Forbidden: they only look.
        NotReady: its run has still to let go of it.
    """
    require_role(actor, Act.RETRY)
    before = await audit.condition_of(session, host.id)
    await retries.resume(session, host, build, at=at)
    await audit.record_host(session, actor, "retry", host.id, before=before, at=at)


async def _theirs(session: AsyncSession, actor: Actor, act: Act, name: str) -> Host:
    require_role(actor, act)
    return await rights.own_host(session, actor, name)
