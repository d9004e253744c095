"""What stands behind a host's page: one arrow with all that it exchanged, and the host's facts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.answers import Refusal
from gateway.operators.console.diagram import compares, stands
from gateway.operators.console.pages import page
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed
from inventory import builds, rights
from inventory.allowed import Act, offered
from inventory.arrow_views import Standing
from inventory.arrows import ARROWS, Arrow
from inventory.host_view import Record, arrow_detail, facts_of

__all__ = ["behind_pages"]


@dataclass(frozen=True)
class _ShownRecord:
    """A change outside with its values as text."""

    record: Record
    before: str
    after: str


def behind_pages(gateway: Operators) -> APIRouter:
    """``/hosts/…/arrows/…`` and ``/hosts/…/facts``."""
    router = APIRouter()

    @router.get("/hosts/{name}/arrows/{number}")
    async def one_arrow(
        request: Request, name: str, number: int, who: Signed, generation: int | None = None
    ) -> Response:
        async with gateway.transaction() as session:
            host = await rights.own_host(session, who.actor, name)
            build = await builds.of_generation(session, host.id, generation)
            if build is None or not 1 <= number <= len(ARROWS):
                raise Refusal(404, f"{name} has no such build, or there is no arrow {number}")
            detail = await arrow_detail(session, build, number)
            may = offered(who.actor, host, await builds.current_build(session, host.id))
        held = detail.arrow.standing is Standing.HELD
        return page(
            *(gateway, request, "arrow.html.j2", who),
            name=host.name,
            build=build,
            detail=detail,
            held=held,
            may_retry=held and Act.RETRY in may,
            stands=stands(detail.arrow),
            compared=compares(detail.arrow),
            records=[_shown(one) for one in detail.records],
            before=_at(number - 1),
            after=_at(number + 1),
            query=f"?generation={generation}" if generation is not None else "",
        )

    @router.get("/hosts/{name}/facts")
    async def facts(request: Request, name: str, who: Signed) -> Response:
        async with gateway.transaction() as session:
            host = await rights.own_host(session, who.actor, name)
            found = await facts_of(session, host.id)
        told_facts = [
            {"source": one.source, "received_at": one.received_at, "text": _text(one.values)}
            for one in found
        ]
        return page(gateway, request, "facts.html.j2", who, name=host.name, facts=told_facts)

    return router


def _at(number: int) -> Arrow | None:
    return next((one for one in ARROWS if one.number == number), None)


def _shown(record: Record) -> _ShownRecord:
    return _ShownRecord(record, _text(record.before), _text(record.after))


def _text(values: Mapping[str, Any] | None) -> str:
    """A record as people read it: files as they are, the rest as JSON."""
    if values is None:
        return "(nothing)"
    if set(values) >= {"text"}:
        rest = {name: value for name, value in values.items() if name != "text"}
        return f"{json.dumps(rest, indent=2, ensure_ascii=False)}\n\n{values['text']}"
    return json.dumps(values, indent=2, ensure_ascii=False)
