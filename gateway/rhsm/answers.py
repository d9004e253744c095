"""What a host hears when it is not served, and which paths are heard at all."""

from __future__ import annotations

import logging
import re

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.answers import TRY_AGAIN, answer_errors
from integrations.errors import OutsideError
from inventory.errors import NotAdmitted

__all__ = ["PlainPaths", "answer_front_errors"]

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
                said = "the path has characters that no path of this service has"
                answer = refused(Request(scope), 400, said)
                await answer(scope, receive, send)
                return
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await self._app(scope, receive, send)


def refused(
    request: Request, status: int, sentence: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An answer whose sentence the client shows.

    Never 410: a host that hears it, with its own UUID in it, wipes its identity. Only Candlepin
    says so.
    """
    return JSONResponse({"displayMessage": sentence, "errors": [sentence]}, status, headers)


def answer_front_errors(app: FastAPI) -> None:
    """Turn whatever a handler raises into an answer, what Candlepin does wrong included."""
    answer_errors(app, refused)

    @app.exception_handler(NotAdmitted)
    async def not_admitted(request: Request, error: NotAdmitted) -> Response:
        log.warning("%s %s: %s", request.method, request.url.path, error)
        return refused(request, 403, str(error))

    @app.exception_handler(OutsideError)
    async def outside(request: Request, error: OutsideError) -> Response:
        log.error("%s %s: %s", request.method, request.url.path, error)
        if error.retriable:
            said = "Candlepin does not answer as it should; try again"
            return refused(request, 503, said, TRY_AGAIN)
        return refused(request, 502, f"Candlepin does not do it: {error.said}")
