"""What a host hears when it is not served: a status and one sentence, never a traceback."""

from __future__ import annotations

import logging
from typing import Protocol
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]
from fastapi import FastAPI, Request
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response

from inventory.database import is_passing
from inventory.errors import InventoryError, UnknownSite

__all__ = ["TRY_AGAIN", "Answer", "Refusal", "answer_errors", "faults_of"]

log = logging.getLogger(__name__)

TRY_AGAIN = {"Retry-After": "10"}


class Refusal(Exception):
    """A request is not served.

    Args:
        status: of HTTP.
        sentence: what is wrong with which value, and what to do.
        headers: of the answer, such as ``TRY_AGAIN``.
    """

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.sentence = sentence
        self.headers = headers
        super().__init__(sentence)


def faults_of(error: ValidationError) -> str:
    """Where and why a value is not right, and never the value: it may be a secret."""
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'body'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    )


class Answer(Protocol):
    """Makes an answer of a status and a sentence."""

    def __call__(
        self, request: Request, status: int, sentence: str, headers: dict[str, str] | None = None
    ) -> Response:
        """Make it."""
        ...


def _answer(
    request: Request, status: int, sentence: str, headers: dict[str, str] | None = None
) -> Response:
    # Foreman's API answers errors as JSON, its templates as text; clients print either.
    if request.url.path.startswith("/unattended"):
        return PlainTextResponse(sentence + "\n", status, headers)
    return JSONResponse({"message": sentence}, status, headers)


def answer_errors(app: FastAPI, answer: Answer = _answer) -> None:
    """Turn whatever a handler raises into an answer.

    Args:
        app: of which handlers.
        answer: makes it in the form that the application's clients understand.
    """

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        log.info("%s %s: %s %s", request.method, request.url.path, error.status, error)
        return answer(request, error.status, error.sentence, error.headers)

    @app.exception_handler(InventoryError)
    async def inventory_refused(request: Request, error: InventoryError) -> Response:
        log.warning("%s %s: %s", request.method, request.url.path, error)
        return answer(request, 422 if isinstance(error, UnknownSite) else 409, str(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        sentence = f"{request.method} {request.url.path}: {error.detail}"
        return answer(request, error.status_code, sentence)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, _: Exception) -> Response:
        return answer(request, 400, "the connection ended before the body was complete")

    async def unavailable(request: Request, error: Exception) -> Response:
        where = f"{request.method} {request.url.path}"
        log.error("%s: the database is not available: %r", where, error)
        return answer(request, 503, "the database is not available; try again", TRY_AGAIN)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        number = uuid4().hex[:12]
        log.error("%s %s: error %s", request.method, request.url.path, number, exc_info=error)
        said = f"this is a fault of the gateway; its log says more under {number}"
        return answer(request, 500, said)

    @app.exception_handler(DBAPIError)
    async def database(request: Request, error: DBAPIError) -> Response:
        return await (unavailable if is_passing(error) else broken)(request, error)

    # A connection that cannot be made is not wrapped by SQLAlchemy.
    for kind in (OSError, TimeoutError, PoolTimeout, asyncpg.PostgresError):
        app.exception_handler(kind)(unavailable)
