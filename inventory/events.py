"""What happens to hosts, kept in one order for whoever follows it: streams, pages, webhooks.

An event is written with the state that it tells of, and gets its position once it is committed:
a transaction that began earlier may end later, and who goes on from the last ``id`` would miss its
events. Whoever gives positions has a lock until they are committed, so that they become visible in
their order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from inventory.arrows import arrow
from inventory.database import CHANNEL_EVENTS, AsyncSession, notify
from inventory.life import TRANSITIONS, Event, HostState
from inventory.models import (
    EVENT_POSITION,
    Build,
    Delivery,
    Host,
    HostEvent,
    HostGroup,
    Site,
    Webhook,
)
from inventory.scope import Scope

__all__ = ["KINDS", "MOST_AT_ONCE", "after", "forget", "newest", "publish", "record"]

MOST_AT_ONCE = 1000
"""Events that one transaction gives positions, or reads."""
_PUBLISH_LOCK = 0x6576656E  # "even": one number that all who give positions agree on


def _kind(event: Event, target: HostState) -> str:
    # Back to where it was held is no news of that state.
    return "host.retried" if event is Event.RETRY else f"host.{target.value}"


KINDS: tuple[str, ...] = tuple(dict.fromkeys(_kind(one.event, one.target) for one in TRANSITIONS))
"""All kinds of events: one for each state that is entered, and ``host.retried``."""


async def record(
    session: AsyncSession, host: Host, event: Event, *, was: HostState | None, at: datetime
) -> None:
    """Keep that a host has entered a state.

    Args:
        session: the transaction in which it did; the host is locked, and flushed.
        host: in its new state.
        event: what moved it.
        was: its state before; None: it is new.
        at: when.
    """
    found = await session.exec(
        select(Build)
        .where(col(Build.host_id) == host.id)
        .order_by(col(Build.generation).desc())
        .limit(1)
    )
    build = found.one_or_none()
    await session.exec(
        insert(HostEvent).values(
            uid=uuid4(),
            at=at,
            kind=_kind(event, host.state),
            host_id=host.id,
            host=host.name,
            site=select(Site.name).where(col(Site.id) == host.site_id).scalar_subquery(),
            host_group=select(HostGroup.name)
            .where(col(HostGroup.id) == host.host_group_id)
            .scalar_subquery(),
            data=_data(host, build, was),
        )
    )
    await notify(session, CHANNEL_EVENTS)


def _data(host: Host, build: Build | None, was: HostState | None) -> dict[str, Any]:
    data: dict[str, Any] = {"was": was and was.value, "state": host.state.value}
    if build is not None:
        data |= {"build": str(build.id), "generation": build.generation}
        if host.state is HostState.HELD:
            step = build.held_step
            data |= {
                "step": step,
                "step_text": arrow(step).text if step is not None else None,
                "reason": build.held_reason,
                "advice": build.held_advice,
            }
    return data


async def publish(session: AsyncSession, at: datetime) -> int:
    """Give the events that are committed their positions, and owe them to the webhooks.

    Cheap where there is nothing to do; any number may call it at the same time.

    Args:
        session: a transaction of its own: what it holds is waited for by all who read.
        at: the present.

    Returns:
        How many events; at ``MOST_AT_ONCE`` there may be more.
    """
    waiting = select(HostEvent.id).where(col(HostEvent.position).is_(None))
    if (await session.exec(waiting.limit(1))).first() is None:
        return 0
    await session.exec(select(sa.func.pg_advisory_xact_lock(_PUBLISH_LOCK)))
    # Only now: what others have numbered while we waited for them.
    mine = waiting.order_by(col(HostEvent.id)).limit(MOST_AT_ONCE).subquery()
    places = select(mine.c.id, EVENT_POSITION.next_value().label("place")).cte("places")
    numbered = await session.exec(
        sa.update(HostEvent)
        .where(col(HostEvent.id) == places.c.id)
        .values(position=places.c.place)
        .returning(col(HostEvent.id))
        .execution_options(synchronize_session=False)
    )
    ids = list(numbered.scalars())
    await _owe(session, ids, at)
    return len(ids)


async def _owe(session: AsyncSession, ids: Collection[int], at: datetime) -> None:
    def among(limits: Any, value: Any) -> sa.ColumnElement[bool]:
        empty = sa.func.jsonb_array_length(limits) == 0
        return sa.or_(empty, limits.op("?")(sa.func.coalesce(value, "")))

    owed = (
        sa.select(
            col(Webhook.id),
            col(HostEvent.id),
            col(HostEvent.host_id),
            sa.literal(at, sa.DateTime(timezone=True)),
            sa.literal(0),
            sa.literal(at, sa.DateTime(timezone=True)),
            sa.literal(""),
        )
        .select_from(sa.join(HostEvent, Webhook, col(Webhook.enabled)))
        .where(
            col(HostEvent.id).in_(ids),
            among(col(Webhook.kinds), col(HostEvent.kind)),
            among(col(Webhook.sites), col(HostEvent.site)),
            among(col(Webhook.host_groups), col(HostEvent.host_group)),
        )
        .order_by(col(HostEvent.position))
    )
    names = ["webhook_id", "event_id", "host_id", "made_at", "attempts", "next_at", "last_error"]
    await session.exec(insert(Delivery).from_select(names, owed).on_conflict_do_nothing())


async def newest(session: AsyncSession) -> int:
    """The last position that was given; 0: none."""
    found = await session.exec(select(sa.func.max(col(HostEvent.position))))
    return found.one() or 0


async def after(
    session: AsyncSession,
    position: int,
    *,
    limit: int,
    kinds: Sequence[str] = (),
    scope: Scope | None = None,
) -> list[HostEvent]:
    """The events behind a position, in their order; ``publish`` has gone before.

    Args:
        session: only read.
        position: of the last that is known; 0: from the oldest that is kept.
        limit: most that are given.
        kinds: only these; empty: all.
        scope: only what it admits; None: all.
    """
    query = select(HostEvent).where(col(HostEvent.position) > position)
    if kinds:
        query = query.where(col(HostEvent.kind).in_(kinds))
    if scope is not None and scope.sites:
        query = query.where(col(HostEvent.site).in_(scope.sites))
    if scope is not None and scope.host_groups:
        group = col(HostEvent.host_group)
        query = query.where(sa.or_(group.is_(None), group.in_(scope.host_groups)))
    return list(await session.exec(query.order_by(col(HostEvent.position)).limit(limit)))


async def forget(session: AsyncSession, before: datetime) -> int:
    """Delete events that are older, but for those that a webhook is still owed; says how many."""
    old = select(HostEvent.id).where(col(HostEvent.at) < before)
    await session.exec(
        sa.delete(Delivery)
        .where(col(Delivery.next_at).is_(None), col(Delivery.event_id).in_(old))
        .execution_options(synchronize_session=False)
    )
    owed = sa.exists().where(col(Delivery.event_id) == col(HostEvent.id))
    gone = await session.exec(
        sa.delete(HostEvent)
        .where(col(HostEvent.at) < before, col(HostEvent.position).is_not(None), ~owed)
        .execution_options(synchronize_session=False)
    )
    return int(gone.rowcount)
