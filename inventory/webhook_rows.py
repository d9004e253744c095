"""Webhooks and their deliveries as they are shown, through whichever door."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from inventory.models import Delivery, HostEvent, Webhook

__all__ = ["DeliveryRow", "WebhookRow", "delivery_row", "webhook_row"]


@dataclass(frozen=True)
class WebhookRow:
    """Somebody who is told; never with the secret."""

    name: str
    url: str
    kinds: list[str]
    sites: list[str]
    host_groups: list[str]
    enabled: bool
    disabled_why: str
    made_by: str
    made_at: datetime


@dataclass(frozen=True)
class DeliveryRow:
    """One event that a webhook is owed, or was."""

    id: int
    kind: str
    host: str
    at: datetime
    attempts: int
    delivered_at: datetime | None
    next_at: datetime | None
    """Null, and not delivered: it was given up."""
    last_status: int | None
    last_error: str


def webhook_row(one: Webhook) -> WebhookRow:
    """A webhook without its secret."""
    return WebhookRow(
        name=one.name,
        url=one.url,
        kinds=one.kinds,
        sites=one.sites,
        host_groups=one.host_groups,
        enabled=one.enabled,
        disabled_why=one.disabled_why,
        made_by=one.made_by,
        made_at=one.made_at,
    )


def delivery_row(one: Delivery, event: HostEvent) -> DeliveryRow:
    """A delivery with what it tells of."""
    return DeliveryRow(
        id=one.id,
        kind=event.kind,
        host=event.host,
        at=event.at,
        attempts=one.attempts,
        delivered_at=one.delivered_at,
        next_at=one.next_at,
        last_status=one.last_status,
        last_error=one.last_error,
    )
