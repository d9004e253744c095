"""Webhooks: who outside is told of what happens to hosts."""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from inventory.database import CHANNEL_EVENTS, AsyncSession, notify
from inventory.errors import InventoryError
from inventory.events import KINDS
from inventory.models import Delivery, Webhook
from inventory.sealing import Sealer

__all__ = [
    "MOST",
    "BadWebhook",
    "UnknownWebhook",
    "Wanted",
    "add",
    "change",
    "list_all",
    "named",
    "remove",
]

MOST = 100
"""Webhooks of an installation: each may have some deliveries under way at a time."""
_SECRET_BYTES = range(24, 65)
_PREFIX = "whsec_"


class UnknownWebhook(InventoryError):
    """There is no webhook of this name."""

    def __init__(self, name: str, others: Collection[str]) -> None:
        said = ", ".join(others) or "none"
        super().__init__(f"there is no webhook {name!r}; there are: {said}")


class BadWebhook(InventoryError):
    """A webhook cannot be kept like this."""


@dataclass(frozen=True)
class Wanted:
    """What a webhook is to be."""

    url: str
    """``https://…`` or ``http://…``, without user and password."""
    kinds: tuple[str, ...] = ()
    """Of events; empty: all."""
    sites: tuple[str, ...] = ()
    """Only of hosts there; empty: of all."""
    host_groups: tuple[str, ...] = ()
    """Only of hosts of these; empty: of all."""


def _check(wanted: Wanted) -> None:
    try:
        parts = urlsplit(wanted.url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadWebhook(f"the URL {wanted.url!r} is none: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise BadWebhook(f"the URL {wanted.url!r} must begin with https:// or http://, and a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise BadWebhook("the URL must have no user, password or fragment: deliveries are signed")
    if not wanted.url.isascii() or not wanted.url.isprintable() or " " in wanted.url:
        raise BadWebhook("the URL must be of printable ASCII: write other characters as %XX")
    unknown = sorted(set(wanted.kinds) - set(KINDS))
    if unknown:
        raise BadWebhook(
            f"there is no event {', '.join(unknown)}; there are: {', '.join(sorted(KINDS))}"
        )


def _checked_secret(secret: str | None) -> str:
    if secret is None:
        return _PREFIX + b64encode(secrets.token_bytes(32)).decode()
    try:
        size = len(b64decode(secret.removeprefix(_PREFIX), validate=True))
    except ValueError:
        size = 0
    if not secret.startswith(_PREFIX) or size not in _SECRET_BYTES:
        raise BadWebhook(
            f"the secret must be {_PREFIX} and 24 to 64 bytes in base64; leave it out, and one is "
            "made"
        )
    return secret


async def add(
    session: AsyncSession,
    name: str,
    wanted: Wanted,
    *,
    sealer: Sealer,
    made_by: str,
    at: datetime,
    secret: str | None = None,
) -> tuple[Webhook, str]:
    """Tell somebody of events from now on.

    Args:
        session: in the caller's transaction.
        name: how it is called.
        wanted: what it is to be.
        sealer: keeps the secret.
        made_by: who wants it.
        at: the present.
        secret: ``whsec_…``, which deliveries are signed with; None: one is made.

    Returns:
        The webhook, and its secret, to be shown once.

    Raises:
        BadWebhook: it cannot be kept like this; the transaction goes on.
    """
    if not name.strip():
        raise BadWebhook("a webhook needs a name")
    _check(wanted)
    secret = _checked_secret(secret)
    count = (await session.exec(select(sa.func.count()).select_from(Webhook))).one()
    if count >= MOST:
        raise BadWebhook(f"there are {MOST} webhooks already: remove one")
    webhook = Webhook(
        name=name.strip(),
        sealed_secret=sealer.seal(secret),
        made_by=made_by,
        made_at=at,
        url=wanted.url,
    )
    _take(webhook, wanted)
    try:
        async with session.begin_nested():
            session.add(webhook)
    except IntegrityError:
        raise BadWebhook(f"there is a webhook {name!r} already: change it, or remove it") from None
    return webhook, secret


def _take(webhook: Webhook, wanted: Wanted) -> None:
    webhook.url = wanted.url
    webhook.kinds = list(wanted.kinds)
    webhook.sites = list(wanted.sites)
    webhook.host_groups = list(wanted.host_groups)


async def named(session: AsyncSession, name: str) -> Webhook:
    """The webhook of a name, locked until the end of the transaction.

    Raises:
        UnknownWebhook: there is none; the message names those that are.
    """
    found = await session.exec(
        select(Webhook)
        .where(col(Webhook.name) == name)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    webhook = found.one_or_none()
    if webhook is None:
        raise UnknownWebhook(name, [one.name for one in await list_all(session)])
    return webhook


async def change(
    session: AsyncSession,
    name: str,
    wanted: Wanted | None = None,
    *,
    enabled: bool | None = None,
    why: str = "",
    secret: str | None = None,
    sealer: Sealer | None = None,
) -> Webhook:
    """Change a webhook; what is None stays. What it is owed already it is still owed.

    While it is not enabled nothing is sent, and nothing new is owed.

    Args:
        session: in the caller's transaction.
        name: whose.
        wanted: what it is to be.
        enabled: whether it is told.
        why: it is not.
        secret: another one, ``whsec_…``; comes with ``sealer``.
        sealer: keeps the secret.

    Raises:
        UnknownWebhook: there is none of this name.
        BadWebhook: it cannot be kept like this.
    """
    webhook = await named(session, name)
    if wanted is not None:
        _check(wanted)
        _take(webhook, wanted)
    if secret is not None:
        if sealer is None:
            raise BadWebhook("a secret is kept with RACKRISE_SECRET_KEY: set it")
        webhook.sealed_secret = sealer.seal(_checked_secret(secret))
    if enabled is not None:
        webhook.enabled, webhook.disabled_why = enabled, "" if enabled else why
        await notify(session, CHANNEL_EVENTS)
    await session.flush()
    return webhook


async def remove(session: AsyncSession, name: str) -> None:
    """Forget a webhook, and what it is owed.

    Raises:
        UnknownWebhook: there is none of this name.
    """
    webhook = await named(session, name)
    await session.exec(sa.delete(Delivery).where(col(Delivery.webhook_id) == webhook.id))
    await session.delete(webhook)
    await session.flush()


async def list_all(session: AsyncSession) -> list[Webhook]:
    """All webhooks, by name."""
    return list(await session.exec(select(Webhook).order_by(col(Webhook.name))))
