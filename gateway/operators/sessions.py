"""Who asks: by the cookie of a browser that has signed in, or by a program's token.

A form is believed only with a value that the browser got on a page of ours: it is made of the
cookie's secret, so that nothing has to be kept, and another site cannot know it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.answers import Refusal
from gateway.operators.context import Operators
from inventory import people
from inventory.errors import NotSignedIn
from inventory.rights import Actor

__all__ = [
    "Asking",
    "SignInFirst",
    "Signed",
    "SignedForm",
    "SignedIn",
    "asking",
    "bearer",
    "cookie_name",
    "form_value",
    "keep_cookie",
    "operators_of",
    "require_own_form",
    "signed_in",
    "signed_in_form",
]

bearer = HTTPBearer(auto_error=False, description="A token of `rackrise user token`.")


def operators_of(request: Request) -> Operators:
    """The gateway that a request came to."""
    operators: Operators = request.app.state.operators
    return operators


async def asking(
    request: Request,
    shown: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Actor:
    """In whose name a program asks.

    Raises:
        Refusal: 401, there is no token, or it is not right.
    """
    gateway = operators_of(request)
    if shown is None:
        raise Refusal(401, "say who you are: Authorization: Bearer and a token of `rackrise user`")
    try:
        async with gateway.transaction() as session:
            return await people.by_token(session, shown.credentials, gateway.clock())
    except NotSignedIn as error:
        raise Refusal(401, str(error)) from None


Asking = Annotated[Actor, Depends(asking)]


@dataclass(frozen=True)
class SignedIn:
    """A browser in which somebody has signed in."""

    actor: Actor
    secret: str = field(repr=False)
    """What its cookie holds."""


class SignInFirst(Exception):
    """A page is asked for by a browser in which nobody has signed in.

    Args:
        path: what was asked for, to come back to.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(path)


async def signed_in(request: Request) -> SignedIn:
    """Who has signed in in the browser that asks.

    Raises:
        SignInFirst: nobody.
    """
    gateway = operators_of(request)
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    secret = request.cookies.get(cookie_name(gateway), "")
    if not secret:
        raise SignInFirst(path)
    try:
        async with gateway.transaction() as session:
            actor = await people.by_browser(session, secret, gateway.clock())
    except NotSignedIn:
        raise SignInFirst(path) from None
    who = SignedIn(actor, secret)
    # For the page that says why a request was refused.
    request.state.signed_in = who
    return who


async def signed_in_form(request: Request) -> SignedIn:
    """Who has sent a form of ours.

    Raises:
        SignInFirst: nobody has signed in.
        Refusal: 403, the form is not from a page of ours.
    """
    try:
        who = await signed_in(request)
    except SignInFirst:
        # What was typed cannot be kept; the page that it was typed on can be come back to.
        raise SignInFirst("/") from None
    value = (await request.form()).get("form", "")
    require_own_form(request, who.secret, value if isinstance(value, str) else "")
    return who


Signed = Annotated[SignedIn, Depends(signed_in)]
SignedForm = Annotated[SignedIn, Depends(signed_in_form)]


def cookie_name(gateway: Operators) -> str:
    """With TLS one that no neighbour on the same domain can set."""
    return "__Host-rackrise" if gateway.secure else "rackrise"


def keep_cookie(gateway: Operators, response: Response, secret: str) -> None:
    """Have the browser keep what it is known by; empty: forget it."""
    response.set_cookie(
        cookie_name(gateway),
        secret,
        max_age=int(people.LONGEST.total_seconds()) if secret else 0,
        secure=gateway.secure,
        httponly=True,
        # Not strict: a link from Prefect's console to a host's page must find who is signed in.
        samesite="lax",
        path="/",
    )


def form_value(secret: str) -> str:
    """What the forms on a page hold, so that they are known as ours."""
    return hmac.new(secret.encode(), b"form", hashlib.sha256).hexdigest()


def require_own_form(request: Request, secret: str, value: str) -> None:
    """Refuse a form that did not come from a page of ours.

    Raises:
        Refusal: 403.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    ours = hmac.compare_digest(form_value(secret).encode(), value.encode())
    if not ours or site not in ("same-origin", "none"):
        raise Refusal(403, "this form is out of date: load the page again, and repeat it there")
