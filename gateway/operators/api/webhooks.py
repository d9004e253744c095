"""Webhooks over the API, for admins: who outside is told, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from gateway.operators.context import Operators
from gateway.operators.once import IdempotencyKey, once
from gateway.operators.sessions import Asking
from inventory import acts_on_webhooks, deliveries, webhooks
from inventory.database import AsyncSession
from inventory.webhook_rows import DeliveryRow, WebhookRow, delivery_row, webhook_row
from inventory.webhooks import Wanted

__all__ = ["webhook_routes"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewWebhook(_Body):
    """Somebody who is to be told."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    url: Annotated[str, Field(max_length=2000)]
    kinds: Annotated[list[str], Field(description="Of events; empty: all.")] = []
    sites: Annotated[list[str], Field(description="Only of hosts there; empty: of all.")] = []
    host_groups: Annotated[list[str], Field(description="Only of these; empty: of all.")] = []


class WebhookChange(_Body):
    """Whether a webhook is told."""

    enabled: bool


class Again(_Body):
    """What is sent once more."""

    deliveries: Annotated[
        list[int] | None, Field(max_length=1000, description="Null: all that were given up.")
    ] = None


@dataclass(frozen=True)
class WebhookMade:
    """A new webhook, and what its deliveries are signed with, shown this once."""

    webhook: WebhookRow
    secret: str


@dataclass(frozen=True)
class SentAgain:
    """How many deliveries are tried once more."""

    deliveries: int


def webhook_routes(gateway: Operators) -> APIRouter:
    """``/webhooks``; names may have slashes."""
    router = APIRouter(tags=["webhooks"])

    @router.get("/webhooks")
    async def list_webhooks(actor: Asking) -> list[WebhookRow]:
        """All webhooks, by name."""
        acts_on_webhooks.require_admin(actor)
        async with gateway.transaction() as session:
            return [webhook_row(one) for one in await webhooks.list_all(session)]

    @router.post("/webhooks", status_code=201)
    async def add_webhook(wish: NewWebhook, actor: Asking) -> WebhookMade:
        """Tell somebody of events from now on. The answer's secret is never shown again.

        An `Idempotency-Key` is of no use here, for a secret is not kept to be answered again.
        """
        key = gateway.settings.secret_key
        wanted = Wanted(wish.url, tuple(wish.kinds), tuple(wish.sites), tuple(wish.host_groups))
        async with gateway.transaction() as session:
            made, secret = await acts_on_webhooks.add(
                session,
                actor,
                wish.name,
                wanted,
                key=key.get_secret_value() if key else "",
                at=gateway.clock(),
            )
            return WebhookMade(webhook_row(made), secret)

    @router.get("/webhooks/{name:path}/deliveries")
    async def list_deliveries(
        name: str, actor: Asking, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> list[DeliveryRow]:
        """What a webhook was sent and is owed, the newest first."""
        acts_on_webhooks.require_admin(actor)
        async with gateway.transaction() as session:
            found = await deliveries.of_webhook(session, name, limit=limit)
            return [delivery_row(one, event) for one, event in found]

    @router.post("/webhooks/{name:path}/redeliver", status_code=202, response_model=SentAgain)
    async def redeliver(
        name: str, wish: Again, request: Request, actor: Asking, key: IdempotencyKey = None
    ) -> Response:
        """Send once more what was given up, or certain deliveries whatever became of them."""

        async def work(session: AsyncSession) -> SentAgain:
            count = await acts_on_webhooks.redeliver(
                session, actor, name, wish.deliveries, at=gateway.clock()
            )
            return SentAgain(count)

        return await once(gateway, request, actor, key, work, 202)

    @router.patch("/webhooks/{name:path}")
    async def change_webhook(name: str, wish: WebhookChange, actor: Asking) -> WebhookRow:
        """Tell a webhook again, or nothing more for now."""
        async with gateway.transaction() as session:
            changed = await acts_on_webhooks.set_enabled(
                session, actor, name, wish.enabled, at=gateway.clock()
            )
            return webhook_row(changed)

    @router.delete("/webhooks/{name:path}", status_code=204)
    async def remove_webhook(name: str, actor: Asking) -> None:
        """Forget a webhook, and what it is owed."""
        async with gateway.transaction() as session:
            await acts_on_webhooks.remove(session, actor, name, at=gateway.clock())

    return router
