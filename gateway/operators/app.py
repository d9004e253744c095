"""Puts together what people call: console and API, over the inventory that hosts are known in."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import cast

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from starlette.responses import Response
from starlette.types import ASGIApp

from gateway.answers import Answer, answer_errors
from gateway.live import Hub
from gateway.operators.api.audit import audit_routes
from gateway.operators.api.events import events_routes
from gateway.operators.api.hosts import host_routes
from gateway.operators.api.people import people_routes
from gateway.operators.api.rules import rule_routes
from gateway.operators.api.site import site_routes
from gateway.operators.api.waves import wave_routes
from gateway.operators.api.webhooks import webhook_routes
from gateway.operators.console.app import add_console, answer
from gateway.operators.context import Operators, comes_by_tls
from gateway.operators.document import REFUSALS, Documented, operation_id
from gateway.operators.headers import Guarded
from gateway.operators.oidc import Provider
from gateway.operators.refusals import STATUS
from gateway.operators.sessions import asking, bearer
from gateway.operators.throttle import Throttle
from gateway.operators.transaction import Transactions
from gateway.settings import GatewaySettings
from inventory.database import Sessions, cannot_hold
from inventory.models import now
from inventory.scope import Scope

__all__ = ["api_document", "create_operators_app"]

log = logging.getLogger(__name__)

API = "/api/v1"
_UNHELD = "a text has a character that no text may have, or a number is too big"


def create_operators_app(
    settings: GatewaySettings,
    sessions: Sessions,
    hub: Hub,
    clock: Callable[[], datetime] = now,
) -> ASGIApp:
    """Console and API as an ASGI application.

    Args:
        settings: of the gateway that they are a part of.
        sessions: of the inventory, migrated already.
        hub: tells open pages what changes.
        clock: the present, with its zone.

    Raises:
        OSError: the CA of the OpenID provider cannot be read.
    """
    gateway = _operators(settings, sessions, hub, clock)
    return Guarded(_app(gateway), secure=gateway.secure)


def api_document(settings: GatewaySettings, sessions: Sessions) -> dict[str, object]:
    """The API's OpenAPI document, from which clients are generated."""
    return _app(_operators(settings, sessions, Hub(), now)).openapi()


def _operators(
    settings: GatewaySettings, sessions: Sessions, hub: Hub, clock: Callable[[], datetime]
) -> Operators:
    provider = None
    if settings.oidc_issuer:
        provider = Provider(settings, settings.console_url, clock)
    secret = settings.secret_key.get_secret_value() if settings.secret_key else None
    transactions = Transactions(secret, secure=comes_by_tls(settings))
    return Operators(settings, sessions, clock, Throttle(), hub, provider, transactions)


def _app(gateway: Operators) -> FastAPI:
    app = Documented(
        title="Rackrise",
        version="1",
        summary="Bare-metal provisioning, from power-on to in operation.",
        description=(
            "Say who you are with `Authorization: Bearer` and a token of `rackrise user token`. "
            "What is refused is answered with one sentence as `message`. A POST with an "
            "`Idempotency-Key` does what it does once, however often it is sent."
        ),
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{API}/openapi.json",
        generate_unique_id_function=operation_id,
    )
    app.state.operators = gateway
    answer_errors(app, answer(gateway))
    _answer_refusals(app, answer(gateway))
    for routes in (
        host_routes,
        rule_routes,
        wave_routes,
        site_routes,
        people_routes,
        webhook_routes,
        audit_routes,
    ):
        app.include_router(routes(gateway), prefix=API, responses=REFUSALS)

    # It finds out by itself who asks; that it does is said here.
    told = events_routes(gateway, gateway.hub, _scope_of)
    app.include_router(told, prefix=API, responses=REFUSALS, dependencies=[Depends(bearer)])
    add_console(app, gateway)

    @app.get("/health", include_in_schema=False)
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


async def _scope_of(request: Request) -> Scope:
    return (await asking(request, await bearer(request))).scope


def _refusing(status: int, answer: Answer) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def refuse(request: Request, error: Exception) -> Response:
        return answer(request, status, str(error))

    return refuse


def _answer_refusals(app: FastAPI, answer: Answer) -> None:
    for kind, status in STATUS.items():
        app.exception_handler(kind)(_refusing(status, answer))

    known = app.exception_handlers[DBAPIError]
    elsewhere = cast(Callable[[Request, Exception], Awaitable[Response]], known)

    @app.exception_handler(DBAPIError)
    async def unheld(request: Request, error: DBAPIError) -> Response:
        if not cannot_hold(error):
            return await elsewhere(request, error)
        log.warning("%s %s: %s", request.method, request.url.path, error.orig)
        return answer(request, 422, _UNHELD)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # Never the value: it may be a password.
        said = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors()
        )
        return answer(request, 422, said)
