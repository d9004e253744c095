"""What a host hears when it is not served, and which paths are heard at all."""

from __future__ import annotations

import logging
import re
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]
from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.answers import Refusal, is_passing
from integrations.errors import OutsideError
from inventory.errors import InventoryError, NotAdmitted

__all__ = ["PlainPaths", "answer_errors", "refused"]

log = logging.getLogger(__name__)

_PLAIN = re.compile(rb"(/[A-Za-z0-9_~:@+,-][A-Za-z0-9._~:@+,-]*)*/?")


class PlainPaths:
    """Lets through only paths that Candlepin and we cannot read in two ways.

    Nothing is percent-encoded, no segment begins with a dot, none is empty. A slash at the end
    counts for nothing: clients send it at ``/status/``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http":
            raw = scope.get("raw_path") or scope["path"].encode()
            if not _PLAIN.fullmatch(raw):
                answer = refused(400, "the path has characters that no path of this service has")
                await answer(scope, receive, send)
                return
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await self._app(scope, receive, send)


def refused(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer whose sentence the client shows.

    Never 410: a host that hears it, with its own UUID in it, wipes its identity. Only Candlepin
    says so.
    """
    return JSONResponse({"displayMessage": sentence, "errors": [sentence]}, status, headers)


_LATER = {"Retry-After": "10"}


async def _refusal(request: Request, error: Refusal) -> JSONResponse:
    log.info("%s %s: %s %s", request.method, request.url.path, error.status, error)
    return refused(error.status, error.sentence)


async def _not_admitted(request: Request, error: NotAdmitted) -> JSONResponse:
    log.warning("%s %s: %s", request.method, request.url.path, error)
    return refused(403, str(error))


async def _inventory(request: Request, error: InventoryError) -> JSONResponse:
    log.warning("%s %s: %s", request.method, request.url.path, error)
    return refused(409, str(error))


async def _outside(request: Request, error: OutsideError) -> JSONResponse:
    log.error("%s %s: %s", request.method, request.url.path, error)
    if error.retriable:
        return refused(503, "Candlepin does not answer as it should; try again", _LATER)
    return refused(502, f"Candlepin does not do it: {error.said}")


async def _http(request: Request, error: HTTPException) -> JSONResponse:
    return refused(error.status_code, f"{request.method} {request.url.path}: {error.detail}")


async def _gone(request: Request, _: Exception) -> JSONResponse:
    return refused(400, "the connection ended before the body was complete")


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s: the database is not available: %r", request.method, request.url.path, error)
    return refused(503, "the database is not available; try again", _LATER)


async def _database(request: Request, error: DBAPIError) -> JSONResponse:
    if is_passing(error):
        return await _unavailable(request, error)
    return await _broken(request, error)


async def _broken(request: Request, error: Exception) -> JSONResponse:
    number = uuid4().hex[:12]
    log.error("%s %s: error %s", request.method, request.url.path, number, exc_info=error)
    return refused(500, f"this is a fault of the gateway; its log says more under {number}")


def answer_errors(app: FastAPI) -> None:
    """Turn whatever a handler raises into an answer."""
    app.exception_handler(Refusal)(_refusal)
    app.exception_handler(NotAdmitted)(_not_admitted)
    app.exception_handler(InventoryError)(_inventory)
    app.exception_handler(OutsideError)(_outside)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(ClientDisconnect)(_gone)
    app.exception_handler(DBAPIError)(_database)
    for kind in (OSError, TimeoutError, PoolTimeout, asyncpg.PostgresError):
        app.exception_handler(kind)(_unavailable)
    app.exception_handler(Exception)(_broken)
