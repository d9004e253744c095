"""What admins do to webhooks, through whichever door: by right, and on record without secrets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from inventory import audit, deliveries, rights, webhooks
from inventory.database import AsyncSession
from inventory.models import Role, Webhook
from inventory.rights import Actor
from inventory.sealing import Sealer
from inventory.webhooks import BadWebhook, Wanted

__all__ = ["add", "redeliver", "remove", "require_admin", "set_enabled"]

_SHORTEST_KEY = 32


def require_admin(actor: Actor) -> None:
    """Refuse whoever may not see webhooks: they tell of all hosts, and where to.

    Raises:
        Forbidden: says which role it takes.
    """
    rights.require(actor, Role.ADMIN, everywhere=True)


def _values(webhook: Webhook) -> dict[str, Any]:
    # Some receivers are let in by a word in the path: the log gets the address only.
    parts = urlsplit(webhook.url)
    return {
        "receiver": f"{parts.scheme}://{parts.netloc}",
        "kinds": list(webhook.kinds),
        "sites": list(webhook.sites),
        "host_groups": list(webhook.host_groups),
        "enabled": webhook.enabled,
    }


async def add(
    session: AsyncSession, actor: Actor, name: str, wanted: Wanted, *, key: str, at: datetime
) -> tuple[Webhook, str]:
    """Tell somebody of events from now on.

    Args:
        session: in the caller's transaction.
        actor: who asks; an admin.
        name: how it is called.
        wanted: what it is to be.
        key: ``RACKRISE_SECRET_KEY``; empty where there is none.
        at: the present.

    Returns:
        The webhook, and its secret, to be shown once.

    Raises:
        InventoryError: the actor is no admin, there is no key, or it cannot be kept like this.
    """
    require_admin(actor)
    if len(key) < _SHORTEST_KEY:
        raise BadWebhook(
            "a webhook's secret is kept sealed, and there is no key to seal it with: start this "
            f"program with RACKRISE_SECRET_KEY, {_SHORTEST_KEY} characters or more, as the workers "
            "have it"
        )
    made, secret = await webhooks.add(
        session, name, wanted, sealer=Sealer(key), made_by=actor.name, at=at
    )
    about = f"webhook {made.name}"
    await audit.record(session, actor, "add", about, after=_values(made), at=at)
    return made, secret


async def set_enabled(
    session: AsyncSession, actor: Actor, name: str, enabled: bool, *, at: datetime
) -> Webhook:
    """Tell a webhook again, or nothing more for now.

    Raises:
        InventoryError: the actor is no admin, or there is none of this name.
    """
    require_admin(actor)
    before = _values(await webhooks.named(session, name))
    why = f"{actor.title} has disabled it"
    changed = await webhooks.change(session, name, enabled=enabled, why=why)
    about = f"webhook {name}"
    await audit.record(
        session, actor, "change", about, before=before, after=_values(changed), at=at
    )
    return changed


async def remove(session: AsyncSession, actor: Actor, name: str, *, at: datetime) -> None:
    """Forget a webhook, and what it is owed.

    Raises:
        InventoryError: the actor is no admin, or there is none of this name.
    """
    require_admin(actor)
    before = _values(await webhooks.named(session, name))
    await webhooks.remove(session, name)
    await audit.record(session, actor, "remove", f"webhook {name}", before=before, at=at)


async def redeliver(
    session: AsyncSession,
    actor: Actor,
    name: str,
    delivery_ids: Sequence[int] | None = None,
    *,
    at: datetime,
) -> int:
    """Send again what was given up, or certain deliveries; says how many.

    Raises:
        InventoryError: the actor is no admin, or there is none of this name.
    """
    require_admin(actor)
    count = await deliveries.redeliver(session, name, delivery_ids, at=at)
    after = {"deliveries": count}
    await audit.record(session, actor, "redeliver", f"webhook {name}", after=after, at=at)
    return count
