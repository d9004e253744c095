"""What a host hears when it is not served: a status and one sentence, never a traceback."""

from __future__ import annotations

import logging
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]
from fastapi import FastAPI, Request
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response

from inventory.errors import InventoryError, UnknownSite

__all__ = ["Refusal", "answer_errors", "faults_of", "is_passing"]

log = logging.getLogger(__name__)

_TRY_AGAIN = {"Retry-After": "10"}
_COLLISIONS = frozenset({"40001", "40P01"})
"""PostgreSQL's codes for a serialization failure and a deadlock."""


class Refusal(Exception):
    """A request is not served.

    Args:
        status: of HTTP.
        sentence: what is wrong with which value, and what to do.
    """

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        self.sentence = sentence
        super().__init__(sentence)


def faults_of(error: ValidationError) -> str:
    """Where and why a value is not right, and never the value: it may be a secret."""
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'body'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    )


def _answer(
    request: Request, status: int, sentence: str, headers: dict[str, str] | None = None
) -> Response:
    # Foreman's API answers errors as JSON, its templates as text; clients print either.
    if request.url.path.startswith("/unattended"):
        return PlainTextResponse(sentence + "\n", status, headers)
    return JSONResponse({"message": sentence}, status, headers)


async def _refused(request: Request, error: Refusal) -> Response:
    log.info("%s %s: %s %s", request.method, request.url.path, error.status, error)
    return _answer(request, error.status, error.sentence)


async def _inventory_refused(request: Request, error: InventoryError) -> Response:
    log.warning("%s %s: %s", request.method, request.url.path, error)
    return _answer(request, 422 if isinstance(error, UnknownSite) else 409, str(error))


async def _http(request: Request, error: HTTPException) -> Response:
    sentence = f"{request.method} {request.url.path}: {error.detail}"
    return _answer(request, error.status_code, sentence)


async def _gone(request: Request, _: Exception) -> Response:
    return _answer(request, 400, "the connection ended before the body was complete")


async def _unavailable(request: Request, error: Exception) -> Response:
    log.error("%s %s: the database is not available: %r", request.method, request.url.path, error)
    return _answer(request, 503, "the database is not available; try again", _TRY_AGAIN)


def is_passing(error: DBAPIError) -> bool:
    """Whether a database's refusal is worth another try: it is away, or two have collided."""
    collided = getattr(error.orig, "sqlstate", None) in _COLLISIONS
    lost = isinstance(error, OperationalError | InterfaceError)
    return collided or lost or error.connection_invalidated


async def _database(request: Request, error: DBAPIError) -> Response:
    if is_passing(error):
        return await _unavailable(request, error)
    return await _broken(request, error)


async def _broken(request: Request, error: Exception) -> Response:
    number = uuid4().hex[:12]
    log.error("%s %s: error %s", request.method, request.url.path, number, exc_info=error)
    return _answer(
        request, 500, f"this is a fault of the gateway; its log says more under {number}"
    )


def answer_errors(app: FastAPI) -> None:
    """Turn whatever a handler raises into an answer."""
    app.exception_handler(Refusal)(_refused)
    app.exception_handler(InventoryError)(_inventory_refused)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(ClientDisconnect)(_gone)
    app.exception_handler(DBAPIError)(_database)
    # A connection that cannot be made is not wrapped by SQLAlchemy.
    for kind in (OSError, TimeoutError, PoolTimeout, asyncpg.PostgresError):
        app.exception_handler(kind)(_unavailable)
    app.exception_handler(Exception)(_broken)
