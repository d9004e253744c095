"""The console's pages and files, put together."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from gateway.answers import Answer
from gateway.operators.console.audit import audit_pages
from gateway.operators.console.behind import behind_pages
from gateway.operators.console.discovered import discovered_pages
from gateway.operators.console.fleet import fleet_routes
from gateway.operators.console.held import held_routes
from gateway.operators.console.host import host_pages
from gateway.operators.console.host_acts import host_acts_routes
from gateway.operators.console.live import live_routes
from gateway.operators.console.new_wave import new_wave_pages
from gateway.operators.console.pages import STATIC, page, redirect
from gateway.operators.console.people import people_pages
from gateway.operators.console.rules import rule_pages
from gateway.operators.console.signing_in import signing_in_routes
from gateway.operators.console.waves import wave_pages
from gateway.operators.console.webhooks import webhook_pages
from gateway.operators.context import Operators
from gateway.operators.sessions import SignInFirst

__all__ = ["add_console", "answer"]


class _Kept(StaticFiles):
    """Files that browsers keep: their names change with what is in them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def kept(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                MutableHeaders(scope=message)["Cache-Control"] = "public, max-age=31536000"
            await send(message)

        await super().__call__(scope, receive, kept)


_PAGES = (
    signing_in_routes,
    fleet_routes,
    host_pages,
    host_acts_routes,
    behind_pages,
    held_routes,
    live_routes,
    audit_pages,
    people_pages,
    discovered_pages,
    rule_pages,
    webhook_pages,
    new_wave_pages,
    wave_pages,
)


def add_console(app: FastAPI, gateway: Operators) -> None:
    """Add all pages to an application."""
    router = APIRouter(include_in_schema=False)
    for routes in _PAGES:
        router.include_router(routes(gateway))
    app.include_router(router)
    app.mount("/static", _Kept(directory=STATIC))

    @app.exception_handler(SignInFirst)
    async def sign_in_first(_: Request, error: SignInFirst) -> Response:
        to = f"?to={quote(error.path, safe='')}" if error.path != "/" else ""
        return redirect(gateway, f"/sign-in{to}")


def answer(gateway: Operators) -> Answer:
    """How a refusal is answered: as JSON to programs, as a page to people."""

    def made(
        request: Request, status: int, sentence: str, headers: dict[str, str] | None = None
    ) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"message": sentence}, status, headers)
        who = getattr(request.state, "signed_in", None)
        told = page(
            *(gateway, request, "sentence.html.j2", who),
            status=status,
            sentence=sentence,
            missing=status == 404,
        )
        told.headers.update(headers or {})
        return told

    return made
