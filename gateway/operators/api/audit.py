"""The audit log over the API."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from gateway.operators.context import Operators
from gateway.operators.sessions import Asking
from inventory import audit
from inventory.models import AuditEntry

__all__ = ["audit_routes"]


def audit_routes(gateway: Operators) -> APIRouter:
    """``/audit``."""
    router = APIRouter(tags=["audit"])

    @router.get("/audit")
    async def list_audit(
        actor: Asking,
        about: str = "",
        who: str = "",
        before: Annotated[int | None, Query(description="Only entries older than this id.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[AuditEntry]:
        """Who did what, the newest first."""
        async with gateway.transaction() as session:
            return await audit.entries(
                session, actor.scope, about=about, who=who, before_id=before, limit=limit
            )

    return router
