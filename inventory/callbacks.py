"""Callbacks: what hosts and servers told us, kept before it is answered, worked off once."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from inventory.database import CHANNEL_CALLBACKS, AsyncSession, notify
from inventory.models import Callback, CallbackKind
from inventory.storable import storable_text

__all__ = ["keep", "latest"]


async def keep(
    session: AsyncSession,
    *,
    kind: CallbackKind,
    key: str,
    host_id: int,
    build_id: UUID | None,
    remote: str,
    body: str,
    at: datetime,
    handled: bool = False,
) -> int | None:
    """Keep one telling, and wake the dispatcher when the transaction is committed.

    Args:
        session: in the same transaction as whatever the telling changes.
        kind: what was told.
        key: the same telling told again has the same key.
        host_id: who spoke, or of whom.
        build_id: of which build; None where it is of none.
        remote: address that spoke.
        body: as received.
        at: when it was received.
        handled: nobody waits for it, and nobody is woken.

    Returns:
        The kept callback's ``id``; None if it was known, and then nothing has been changed.
    """
    kept = await session.exec(
        insert(Callback)
        .values(
            kind=kind,
            key=key,
            host_id=host_id,
            build_id=build_id,
            received_at=at,
            remote=remote,
            body=storable_text(body),
            handled_at=at if handled else None,
        )
        .on_conflict_do_nothing(index_elements=["key"])
        .returning(col(Callback.id))
    )
    callback_id: int | None = kept.scalar_one_or_none()
    if callback_id is not None and not handled:
        await notify(session, CHANNEL_CALLBACKS)
    return callback_id


async def latest(session: AsyncSession, build_id: UUID, kind: CallbackKind) -> Callback | None:
    """The newest telling of a kind about a build."""
    found = await session.exec(
        select(Callback)
        .where(col(Callback.build_id) == build_id, col(Callback.kind) == kind)
        .order_by(col(Callback.id).desc())
        .limit(1)
    )
    return found.one_or_none()
