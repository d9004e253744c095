"""Makes pages: one set of templates, which escape whatever machines and people have said."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from fastapi import Request
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from gateway.operators.console.forms import NOT_REFUSED, Refused
from gateway.operators.context import Operators
from gateway.operators.sessions import SignedIn, form_value
from inventory.life import HostState
from inventory.models import Role

__all__ = ["FORM", "STATIC", "fragment", "moment", "page", "path_of", "redirect", "since", "span"]

STATIC = Path(__file__).parent / "static"
FORM = secrets.token_hex(32)
"""Stands in pieces that many pages share for the value that makes a form one browser's own."""
_SAID = "rackrise-said"
_WORKING = frozenset(
    {
        HostState.SELECTED,
        HostState.PREPARING,
        HostState.INSTALLED,
        HostState.CANCELLING,
        HostState.DECOMMISSIONING,
    }
)
_HOSTS_TURN = frozenset({HostState.REBOOTING, HostState.INSTALLING, HostState.FIRST_BOOT})


@cache
def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("gateway.operators.console", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "moment": moment,
        "span": span,
        "path": path_of,
        "tone": tone,
        "words": lambda text: str(text).replace("_", " "),
    }
    made.globals |= {
        "static": _static,
        "Role": Role,
        "HostState": HostState,
        "refused": NOT_REFUSED,
    }
    return made


@cache
def _static(name: str) -> str:
    """Where a file of ours is, under a name that changes with it, so that browsers may keep it."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?{digest}"


def moment(at: datetime | None) -> Markup:
    """A time in UTC, which the browser puts into words of its own."""
    if at is None:
        return Markup("")
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M:%S}"
    )


def span(seconds: float | None) -> str:
    """How long something took, in two units at most."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, below, small in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {name}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def since(at: datetime, now: datetime) -> str:
    """How long ago."""
    return span(max((now - at).total_seconds(), 0))


def path_of(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


def tone(state: HostState) -> str:
    """Which colour a state has: who has to do something."""
    if state is HostState.HELD:
        return "person"
    if state in _WORKING:
        return "working"
    if state in _HOSTS_TURN:
        return "host"
    if state is HostState.IN_OPERATION:
        return "good"
    return "rest"


def fragment(template: str, /, **values: Any) -> str:
    """A piece of a page by itself, as open pages get it when something changes."""
    return _templates().get_template(template).render(values)


def page(
    gateway: Operators,
    request: Request,
    template: str,
    who: SignedIn | None,
    /,
    *,
    status: int = 200,
    refused: Refused = NOT_REFUSED,
    **values: Any,
) -> HTMLResponse:
    """A whole page.

    Args:
        gateway: whose settings links are made with.
        request: what is asked for; its path says where in the console we are.
        template: its name.
        who: looks; None: nobody has signed in.
        status: of HTTP.
        refused: the form of this page that was refused; its status is the page's.
        values: for the template.
    """
    said = _said(request, who)
    text = (
        _templates()
        .get_template(template)
        .render(
            here=request.url.path,
            actor=who.actor if who else None,
            form=form_value(who.secret) if who else "",
            prefect_url=gateway.settings.prefect_url.rstrip("/"),
            now=gateway.clock(),
            said=said,
            refused=refused,
            **values,
        )
    )
    made = HTMLResponse(text, refused.status if refused.form else status)
    if said:
        made.delete_cookie(_SAID)
    return made


def redirect(
    gateway: Operators, path: str, *, said: str = "", who: SignedIn | None = None
) -> Response:
    """Go to a page of ours after a form, and be told there once what came of it."""
    made = RedirectResponse(path, 303)
    if said and who is not None:
        text = base64.urlsafe_b64encode(said[:1500].encode()).decode()
        made.set_cookie(
            _SAID,
            f"{text}.{_sign(who.secret, text)}",
            max_age=60,
            secure=gateway.secure,
            httponly=True,
            samesite="lax",
        )
    return made


def _said(request: Request, who: SignedIn | None) -> str:
    text, _, signature = request.cookies.get(_SAID, "").partition(".")
    if who is None or not hmac.compare_digest(signature.encode(), _sign(who.secret, text).encode()):
        return ""
    return base64.urlsafe_b64decode(text).decode(errors="replace")


def _sign(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), b"said " + text.encode(), hashlib.sha256).hexdigest()
