"""Puts the gateway together: one FastAPI application over one inventory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from fastapi import FastAPI
from sqlmodel import select

from gateway.answers import answer_errors
from gateway.context import Gateway
from gateway.discovery import discovery_routes
from gateway.puppet import puppet_routes
from gateway.settings import GatewaySettings
from gateway.unattended import unattended_routes
from inventory.database import Sessions
from inventory.models import now

__all__ = ["create_app"]


def create_app(
    settings: GatewaySettings, sessions: Sessions, clock: Callable[[], datetime] = now
) -> FastAPI:
    """The gateway as an ASGI application.

        app = create_app(settings, make_sessions(make_engine(url)))

    Args:
        settings: whom it believes and how much it takes.
        sessions: of the inventory, migrated already.
        clock: the present, with its zone.
    """
    gateway = Gateway(settings=settings, sessions=sessions, clock=clock)
    # An installer takes a redirect for success and does not follow it.
    app = FastAPI(
        title="Rackrise gateway",
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    answer_errors(app)
    app.include_router(discovery_routes(gateway))
    app.include_router(unattended_routes(gateway))
    app.include_router(puppet_routes(gateway))

    @app.get("/health")
    async def health() -> dict[str, str]:
        async with gateway.transaction() as session:
            await session.exec(select(1))
        return {"status": "ok"}

    return app
