"""Plans that people ask for in console and API: written down here, made by a run of the flow.

The gateway speaks to no outside system and not to Prefect. The dispatcher sees what was asked for,
starts the deployment ``plan`` for it, and the run writes here what it has found.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col, select

from inventory import orders, rights
from inventory.allowed import Act, require_role
from inventory.database import CHANNEL_CALLBACKS, CHANNEL_CHANGES, AsyncSession, notify
from inventory.errors import NotReady
from inventory.models import Host, PlanRequest
from inventory.rights import Actor

__all__ = ["PlanView", "ask", "end", "latest", "of_host", "started", "wanted"]


@dataclass(frozen=True)
class PlanView:
    """A plan that somebody has asked for."""

    number: int
    host: str
    host_group: str
    """Empty: the host's own."""
    asked_by: str
    asked_at: datetime
    flow_run_id: UUID | None
    done_at: datetime | None
    text: str | None
    """The plan in words; None: not made yet, or it cannot be made."""
    error: str | None
    """Why it cannot be made."""


@dataclass(frozen=True)
class Wanted:
    """What the dispatcher starts a run for."""

    number: int
    host: str
    host_group: str


async def ask(
    session: AsyncSession, actor: Actor, name: str, *, group: str = "", at: datetime
) -> PlanView:
    """Ask what provisioning a host would do; whoever may see it may ask.

    Raises:
        InventoryError: host or group is unknown, or not theirs.
    """
    require_role(actor, Act.PLAN)
    host = await rights.own_host(session, actor, name)
    if group:
        rights.require_group(actor, group)
        await orders.group_named(session, group)
    elif host.host_group_id is None:
        raise NotReady(host.name, host.state, "nobody has said what it is to be: name a host group")
    asked = PlanRequest(
        host_id=host.id, host_group=group, name="", asked_by=actor.title, asked_at=at
    )
    session.add(asked)
    await session.flush()
    await notify(session, CHANNEL_CALLBACKS)
    await notify(session, CHANNEL_CHANGES, str(host.id))
    return _view(asked, host)


async def wanted(session: AsyncSession, limit: int = 20) -> list[Wanted]:
    """What nobody has started yet, locked; what others hold is left out."""
    found = await session.exec(
        select(PlanRequest, Host.name)
        .join(Host, col(Host.id) == col(PlanRequest.host_id))
        .where(col(PlanRequest.flow_run_id).is_(None), col(PlanRequest.done_at).is_(None))
        .order_by(col(PlanRequest.id))
        .limit(limit)
        .with_for_update(of=PlanRequest, skip_locked=True)
    )
    return [Wanted(one.id, host, one.host_group) for one, host in found]


async def started(session: AsyncSession, number: int, flow_run_id: UUID) -> None:
    """Say which run makes it."""
    await _change(session, number, flow_run_id=flow_run_id)


async def end(
    session: AsyncSession,
    number: int,
    *,
    text: str | None,
    error: str | None,
    at: datetime,
) -> None:
    """Keep what was found, or why nothing was."""
    await _change(session, number, text=text, error=error, done_at=at)


async def _change(session: AsyncSession, number: int, **values: object) -> None:
    found = await session.exec(
        sa.update(PlanRequest)
        .where(col(PlanRequest.id) == number)
        .values(**values)
        .returning(col(PlanRequest.host_id))
    )
    # Open pages of the host show its newest plan.
    for host_id in found.scalars():
        await notify(session, CHANNEL_CHANGES, str(host_id))


async def of_host(session: AsyncSession, host_id: int, number: int) -> PlanView | None:
    """A plan of a host by its number."""
    host = await session.get_one(Host, host_id)
    asked = await session.get(PlanRequest, number)
    return None if asked is None or asked.host_id != host_id else _view(asked, host)


async def latest(session: AsyncSession, host_id: int) -> PlanView | None:
    """The plan of a host that was asked for last."""
    found = await session.exec(
        select(PlanRequest)
        .where(PlanRequest.host_id == host_id)
        .order_by(col(PlanRequest.id).desc())
        .limit(1)
    )
    asked = found.one_or_none()
    return None if asked is None else _view(asked, await session.get_one(Host, host_id))


def _view(asked: PlanRequest, host: Host) -> PlanView:
    return PlanView(
        number=asked.id,
        host=host.name,
        host_group=asked.host_group,
        asked_by=asked.asked_by,
        asked_at=asked.asked_at,
        flow_run_id=asked.flow_run_id,
        done_at=asked.done_at,
        text=asked.text,
        error=asked.error,
    )
