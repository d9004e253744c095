"""Signing in and out of the console."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from gateway.answers import Refusal
from gateway.operators.console.pages import page, redirect
from gateway.operators.context import Operators
from gateway.operators.sessions import SignedForm, cookie_name, keep_cookie
from gateway.requests import client_address
from inventory import people
from inventory.errors import NotSignedIn

__all__ = ["own_path", "signing_in_routes"]


def own_path(text: str) -> str:
    """A path of ours to go to, whatever a link said: never another site's."""
    plain = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if plain and text.isprintable() else "/"


def signing_in_routes(gateway: Operators) -> APIRouter:
    """``/sign-in`` and ``/sign-out``."""
    router = APIRouter()

    @router.get("/sign-in")
    async def form(request: Request, to: str = "/") -> Response:
        return _form(gateway, request, to)

    @router.post("/sign-in")
    async def sign_in(
        request: Request,
        name: Annotated[str, Form(max_length=100)] = "",
        password: Annotated[str, Form(max_length=1024)] = "",
        to: Annotated[str, Form()] = "/",
    ) -> Response:
        # Another site could sign a browser in under its own name, and watch what is done there.
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refusal(403, "sign in on the page itself")
        address = client_address(request, gateway.settings.trusted_proxies)
        at = gateway.clock()
        gateway.throttle.require_patience(name, address, at)
        try:
            person = await people.by_password(gateway.sessions, name, password)
        except NotSignedIn as error:
            gateway.throttle.failed(name, address, at)
            return _form(gateway, request, to, name=name, wrong=f"{error}")
        gateway.throttle.succeeded(name, address)
        async with gateway.transaction() as session:
            secret = await people.sign_in(session, person, at)
        answer = redirect(gateway, own_path(to))
        keep_cookie(gateway, answer, secret)
        return answer

    @router.post("/sign-out")
    async def sign_out(who: SignedForm) -> Response:
        async with gateway.transaction() as session:
            await people.sign_out(session, who.secret)
        answer = redirect(gateway, "/sign-in")
        answer.delete_cookie(cookie_name(gateway), path="/", secure=gateway.secure, httponly=True)
        return answer

    return router


def _form(
    gateway: Operators, request: Request, to: str, *, name: str = "", wrong: str = ""
) -> Response:
    return page(
        gateway,
        request,
        "sign_in.html.j2",
        None,
        status=401 if wrong else 200,
        to=own_path(to),
        wrong=wrong,
        name=name,
        provider=gateway.provider.name if gateway.provider else "",
    )
