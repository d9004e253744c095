"""The audit log as a page."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.operators.console.pages import page
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed
from inventory import audit
from inventory.models import AuditEntry

__all__ = ["audit_pages", "how_it_changed"]

_A_PAGE = 100


def audit_pages(gateway: Operators) -> APIRouter:
    """``/audit``."""
    router = APIRouter()

    @router.get("/audit")
    async def log(
        request: Request, who: Signed, about: str = "", by: str = "", before: int | None = None
    ) -> Response:
        async with gateway.transaction() as session:
            found = await audit.entries(
                session,
                who.actor.scope,
                about=about,
                who=by,
                before_id=before,
                limit=_A_PAGE,
            )
        return page(
            gateway,
            request,
            "audit.html.j2",
            who,
            entries=[(one, how_it_changed(one)) for one in found],
            about=about,
            by=by,
            more=found[-1].id if len(found) == _A_PAGE else None,
        )

    return router


def how_it_changed(entry: AuditEntry) -> list[tuple[str, str, str]]:
    """What is another after than before: key, before, after."""
    before, after = entry.before or {}, entry.after or {}
    keys = dict.fromkeys([*before, *after])
    return [
        (one, _text(before.get(one)), _text(after.get(one)))
        for one in keys
        if before.get(one) != after.get(one)
    ]


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return "" if value is None else str(value)
