"""Deliveries: what each webhook is owed, taken to be sent, and settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from inventory import webhooks
from inventory.database import CHANNEL_EVENTS, AsyncSession, notify
from inventory.models import Delivery, HostEvent, Webhook
from inventory.storable import storable_text

__all__ = [
    "GIVEN_UP_AFTER",
    "Due",
    "Result",
    "due",
    "of_webhook",
    "redeliver",
    "settle",
    "waiting",
]

GIVEN_UP_AFTER = timedelta(days=1)
"""So long an event is tried to be delivered."""
_IN_ORDER = 3
"""So many times an event is tried before later ones of its host no longer wait for it."""
_MOST_ERROR = 500


@dataclass(frozen=True)
class Due:
    """One event that is to be sent now."""

    delivery: int
    attempt: int
    """From 1."""
    owed_since: datetime
    webhook: Webhook
    event: HostEvent


@dataclass(frozen=True)
class Result:
    """What became of one attempt."""

    status: int | None = None
    """Of HTTP; None: there was no answer."""
    error: str = ""
    """Why it was not taken; empty: it was."""
    retry_after: timedelta | None = None
    """When the next attempt is; None: never, this was the last."""
    gone: bool = False
    """The receiver wants to be told nothing more."""


async def of_webhook(
    session: AsyncSession, name: str, *, limit: int = 100
) -> list[tuple[Delivery, HostEvent]]:
    """What a webhook was sent and is owed, the newest first.

    Raises:
        UnknownWebhook: there is none of this name.
    """
    webhook = await webhooks.named(session, name)
    found = await session.exec(
        select(Delivery, HostEvent)
        .join(HostEvent, col(HostEvent.id) == col(Delivery.event_id))
        .where(col(Delivery.webhook_id) == webhook.id)
        .order_by(col(Delivery.id).desc())
        .limit(limit)
    )
    return list(found)


async def waiting(session: AsyncSession, at: datetime) -> list[int]:
    """The webhooks that something is to be sent to now."""
    found = await session.exec(
        select(Webhook.id).where(
            col(Webhook.enabled),
            sa.exists().where(
                col(Delivery.webhook_id) == col(Webhook.id), col(Delivery.next_at) <= at
            ),
        )
    )
    return list(found)


async def due(
    session: AsyncSession, webhook_id: int, *, limit: int, lease: timedelta, at: datetime
) -> list[Due]:
    """Take what is to be sent to a webhook now, the oldest first; nobody else gets the same.

    Who takes something and is not heard of again within the lease has died: it is sent once more.
    Of a host the earlier event goes first, unless it has been tried in vain for some time.

    Args:
        session: a transaction that is committed before anything is sent.
        webhook_id: to whom.
        limit: most that are taken.
        lease: how long they are the taker's.
        at: the present.
    """
    earlier = aliased(Delivery)
    first = ~sa.exists().where(
        col(earlier.webhook_id) == col(Delivery.webhook_id),
        col(earlier.host_id) == col(Delivery.host_id),
        col(earlier.id) < col(Delivery.id),
        col(earlier.next_at).is_not(None),
        col(earlier.attempts) < _IN_ORDER,
    )
    found = await session.exec(
        select(Delivery, Webhook, HostEvent)
        .join(Webhook, col(Webhook.id) == col(Delivery.webhook_id))
        .join(HostEvent, col(HostEvent.id) == col(Delivery.event_id))
        .where(
            col(Webhook.enabled),
            Delivery.webhook_id == webhook_id,
            col(Delivery.next_at) <= at,
            first,
        )
        .order_by(col(Delivery.id))
        .limit(limit)
        .with_for_update(of=Delivery, skip_locked=True)
    )
    taken = []
    for delivery, webhook, event in found:
        delivery.attempts += 1
        delivery.next_at = at + lease
        taken.append(Due(delivery.id, delivery.attempts, delivery.made_at, webhook, event))
    await session.flush()
    return taken


async def settle(session: AsyncSession, one: Due, result: Result, at: datetime) -> None:
    """Keep what became of an attempt; what was delivered meanwhile stays so.

    Args:
        session: in the caller's transaction.
        one: what was sent.
        result: what became of it.
        at: the present.
    """
    taken = not result.error
    await session.exec(
        sa.update(Delivery)
        .where(col(Delivery.id) == one.delivery, col(Delivery.delivered_at).is_(None))
        .values(
            delivered_at=at if taken else None,
            next_at=at + result.retry_after if result.retry_after and not taken else None,
            last_status=result.status,
            last_error=storable_text(result.error)[:_MOST_ERROR],
        )
    )
    if result.gone:
        await _disable(session, one.webhook.id, at)


async def _disable(session: AsyncSession, webhook_id: int, at: datetime) -> None:
    why = f"the receiver answered 410 (gone) at {at.isoformat(timespec='seconds')}"
    await session.exec(
        sa.update(Webhook)
        .where(col(Webhook.id) == webhook_id)
        .values(enabled=False, disabled_why=why)
    )
    await session.exec(
        sa.update(Delivery)
        .where(col(Delivery.webhook_id) == webhook_id, col(Delivery.next_at).is_not(None))
        .values(next_at=None, last_error="given up: " + why)
    )


async def redeliver(
    session: AsyncSession, name: str, delivery_ids: Sequence[int] | None = None, *, at: datetime
) -> int:
    """Send again what was given up, or certain deliveries whatever became of them.

    Args:
        session: in the caller's transaction.
        name: of the webhook.
        delivery_ids: which; None: all that were given up.
        at: the present.

    Returns:
        How many are sent again.

    Raises:
        UnknownWebhook: there is none of this name.
    """
    webhook = await webhooks.named(session, name)
    settled = col(Delivery.next_at).is_(None)
    if delivery_ids is None:
        which = sa.and_(settled, col(Delivery.delivered_at).is_(None))
    else:
        which = sa.and_(settled, col(Delivery.id).in_(delivery_ids))
    again = await session.exec(
        sa.update(Delivery)
        .where(col(Delivery.webhook_id) == webhook.id, which)
        .values(next_at=at, attempts=0, made_at=at, delivered_at=None)
        .execution_options(synchronize_session=False)
    )
    await notify(session, CHANNEL_EVENTS)
    return int(again.rowcount)
