"""A POST that is sent again does nothing more: its first answer is kept under the sender's key."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Header, Request
from pydantic import TypeAdapter
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from starlette.responses import Response

from gateway.answers import Refusal
from gateway.operators.context import Operators
from inventory.database import AsyncSession
from inventory.models import IdempotentAnswer
from inventory.rights import Actor

__all__ = ["IdempotencyKey", "once"]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Any text that is new for each thing that is wanted: sent again it does no "
        "more, and is answered the same. Kept for a day.",
    ),
]
_json = TypeAdapter(Any)


async def once(
    gateway: Operators,
    request: Request,
    actor: Actor,
    key: str | None,
    work: Callable[[AsyncSession], Awaitable[object]],
    status: int = 200,
) -> Response:
    """Do work in one transaction and answer with what it returns, or as it was answered before.

    What is refused is not kept: the same key may be sent again when the cause is gone.

    Args:
        gateway: where.
        request: whose body is compared.
        actor: whose keys they are.
        key: None: it is done each time that it is asked for.
        work: gets the transaction.
        status: of an answer that succeeds.

    Raises:
        Refusal: 422, the key was sent with something else before.
    """
    digest = hashlib.sha256(
        f"{request.method} {request.url.path}\n".encode() + await request.body()
    ).hexdigest()
    async with gateway.transaction() as session:
        if key is not None and actor.person_id is not None:
            before = await _claim(session, actor.person_id, key, digest, gateway)
            if before is not None:
                return _answer(before.body, before.status)
        body = _json.dump_json(await work(session)).decode()
        if key is not None and actor.person_id is not None:
            kept = await session.get_one(IdempotentAnswer, (actor.person_id, key))
            kept.status, kept.body = status, body
    return _answer(body, status)


async def _claim(
    session: AsyncSession, person: int, key: str, digest: str, gateway: Operators
) -> IdempotentAnswer | None:
    # Whoever sends the same key at this moment waits here for the first one's end.
    claimed = await session.exec(
        insert(IdempotentAnswer)
        .values(person_id=person, key=key, request=digest, status=0, body="", at=gateway.clock())
        .on_conflict_do_nothing()
        .returning(col(IdempotentAnswer.key))
    )
    if claimed.scalar_one_or_none() is not None:
        return None
    before = await session.get_one(IdempotentAnswer, (person, key))
    if before.request != digest:
        raise Refusal(422, "this Idempotency-Key was sent with another request; take a new one")
    return before


def _answer(body: str, status: int) -> Response:
    return Response(body, status, media_type="application/json")
