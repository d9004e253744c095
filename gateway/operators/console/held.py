"""Held hosts, those that stopped alike together: one button lets all of them go on."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from gateway.operators.console.pages import FORM, fragment, page, redirect
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed, SignedForm
from inventory import acts, retries
from inventory.allowed import Act, may_ask
from inventory.arrows import arrow
from inventory.retries import Retried
from inventory.rights import Actor

__all__ = ["held_piece", "held_routes", "told"]

_NAMED = 10


def held_routes(gateway: Operators) -> APIRouter:
    """``/held``."""
    router = APIRouter()

    @router.get("/held")
    async def held(request: Request, who: Signed) -> Response:
        shown = await _shown(gateway, who.actor)
        return page(gateway, request, "held.html.j2", who, **shown)

    @router.post("/held/retry")
    async def retry(who: SignedForm, host: Annotated[list[str] | None, Form()] = None) -> Response:
        async with gateway.transaction() as session:
            result = await acts.retry(session, who.actor, host or [], at=gateway.clock())
        return redirect(gateway, "/held", said=told(result), who=who)

    return router


async def held_piece(gateway: Operators, actor: Actor) -> str:
    """The groups as open pages get them, with ``FORM`` in their forms."""
    return fragment("held_groups.html.j2", form=FORM, **await _shown(gateway, actor))


async def _shown(gateway: Operators, actor: Actor) -> dict[str, Any]:
    async with gateway.transaction() as session:
        groups = await retries.held(session, actor.scope)
    labels = {one.step: arrow(one.step).label for one in groups if one.step is not None}
    return {"groups": groups, "labels": labels, "may": may_ask(actor, Act.RETRY)}


def told(result: Retried) -> str:
    """What became of hosts that were to go on, in sentences."""
    lines = []
    if result.goes:
        names = sorted(result.goes)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        listed = ", ".join(names[:_NAMED]) + more
        lines.append(f"{listed} {'goes' if len(names) == 1 else 'go'} on")
    waits = [one for one, phase in result.goes.items() if phase is None]
    if waits:
        lines.append(f"{len(waits)} of them wait for the host: start it again if it stands still")
    lines += list(result.refused.values())[:_NAMED]
    return "\n".join(lines) or "no host was chosen"
