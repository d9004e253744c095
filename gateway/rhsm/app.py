"""Puts the front together: which path is answered here, and which is passed on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.context import Gateway
from gateway.rhsm.answers import PlainPaths, answer_front_errors
from gateway.rhsm.front import PREFIX, Front
from gateway.rhsm.passing import pass_request
from gateway.rhsm.profiles import profile_routes
from gateway.rhsm.registration import registration_routes
from gateway.rhsm.root import root_routes
from gateway.settings import GatewaySettings
from integrations.candlepin import Candlepin
from inventory.database import Sessions
from inventory.models import now

__all__ = ["create_rhsm_app"]


def create_rhsm_app(
    settings: GatewaySettings,
    sessions: Sessions,
    candlepin: Candlepin,
    clock: Callable[[], datetime] = now,
) -> PlainPaths:
    """The front as an ASGI application, for a listener that believes Candlepin's CA.

    Args:
        settings: how much it takes.
        sessions: of the inventory, migrated already.
        candlepin: the one behind it, with an OAuth login.
        clock: the present, with its zone.
    """
    front = Front(
        gateway=Gateway(settings=settings, sessions=sessions, clock=clock),
        candlepin=candlepin,
        registrations=asyncio.Semaphore(settings.registrations_at_once),
        uploads=asyncio.Semaphore(settings.profiles_at_once),
    )
    app = FastAPI(
        title="Rackrise RHSM front",
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    answer_front_errors(app)
    app.include_router(root_routes(front))
    app.include_router(registration_routes(front))
    app.include_router(profile_routes(front))

    @app.api_route(PREFIX + "/{rest:path}", methods=["GET", "HEAD", "POST", "PUT", "DELETE"])
    async def everything_else(request: Request) -> Response:
        return await pass_request(front, request)

    return PlainPaths(app)
