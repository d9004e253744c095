"""How a request reached us: told by what accepted the connection, and never by a header.

Without that mark a request counts as plain HTTP, so a forgotten wrapper denies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Arrival", "Kind", "Marked", "arrival_of"]

_SCOPE_KEY = "rackrise.arrival"


class Kind(Enum):
    """How a request reached us."""

    HTTP = "http"
    HTTPS = "https"
    IN_PROCESS = "in-process"


@dataclass(frozen=True)
class Arrival:
    """What the listener knows of a request's sender."""

    kind: Kind
    common_name: str | None = None
    """CN of the verified client certificate."""
    certificate: bytes | None = field(default=None, repr=False)
    """The whole of it, in DER."""


class Marked:
    """An ASGI app whose requests carry how they arrived."""

    def __init__(self, app: ASGIApp, arrival: Arrival) -> None:
        self._app = app
        self._arrival = arrival

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        await self._app({**scope, _SCOPE_KEY: self._arrival}, receive, send)


def arrival_of(request: HTTPConnection) -> Arrival:
    """How a request arrived; over plain HTTP where nobody has said."""
    arrival: Arrival = request.scope.get(_SCOPE_KEY, Arrival(Kind.HTTP))
    return arrival
