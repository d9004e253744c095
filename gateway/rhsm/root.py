"""What there is, and what the front can do beyond Candlepin: asked without a certificate."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from gateway.answers import Refusal
from gateway.rhsm.front import PREFIX, Front
from gateway.rhsm.passing import answer_of, headers_of

__all__ = ["root_routes"]

_RESOURCES = (
    "consumers",
    "content_overrides",
    "deleted_consumers",
    "entitlements",
    "environments",
    "guestids",
    "jobs",
    "owners",
    "packages",
    "pools",
    "status",
    "subscriptions",
)
"""Without ``packages`` no client uploads a profile."""
_COMBINED = "combined_reporting"
_STATUS_BYTES = 64 << 10


def root_routes(front: Front) -> APIRouter:
    """The root, and the status."""
    router = APIRouter()

    @router.get(PREFIX)
    async def root() -> Response:
        return JSONResponse([{"rel": one, "href": f"{PREFIX}/{one}"} for one in _RESOURCES])

    @router.get(f"{PREFIX}/status")
    async def status(request: Request) -> Response:
        """Candlepin's own, and that one profile may hold all: else only packages come."""
        passed = await front.candlepin.pass_on(
            "GET", "/status", query={}, headers=headers_of(request)
        )
        answer = await answer_of(passed, _STATUS_BYTES)
        try:
            told = json.loads(bytes(answer.body))
            told["managerCapabilities"] = [*(told.get("managerCapabilities") or ()), _COMBINED]
        except (ValueError, TypeError, AttributeError):
            raise Refusal(503, "Candlepin's status has another shape than Candlepin's") from None
        return JSONResponse(told, answer.status_code)

    return router
