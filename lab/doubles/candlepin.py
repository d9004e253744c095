"""Candlepin's double: what Rackrise and hosts ask of it, as a state machine in this process.

It passes the contract tests that a real one would (``tests/integrations/candlepin``), where each
request and each answer is judged by Candlepin's own OpenAPI document. No real one was at hand: what
it says is what the contract has recorded or read, and where that is silent it says "assumed".
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from integrations.candlepin import CandlepinSettings, OAuthLogin
from lab.authority import LOOPBACK, Authority
from lab.doubles import candlepin_consumers, candlepin_organizations
from lab.doubles.candlepin_auth import Logins, Principal, Unauthorized
from lab.doubles.candlepin_state import Call, Faults, Object, Refusal, Routes, State, gone, stamp
from serving.listeners import Listener, served, tcp_socket, tls_context, url_of

__all__ = ["CandlepinDouble", "candlepin_double"]

_PREFIX = "/candlepin"
_METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"]
_ROOT = ("activation_keys", "consumers", "environments", "guestids", "jobs", "owners", "status")
_ROUTES: Routes = {**candlepin_organizations.ROUTES, **candlepin_consumers.ROUTES}


@dataclass
class CandlepinDouble:
    """State and handlers; ``app`` is an ASGI app.

    Args:
        seed: of the delays.
        latency: shortest and longest time in seconds that it takes for an answer.
    """

    seed: int = 0
    latency: tuple[float, float] = (0, 0)
    state: State = field(default_factory=State)
    logins: Logins = field(default_factory=Logins)
    url: str = f"https://candlepin.example.test:8443{_PREFIX}"
    certificate: str | None = None
    """CA of the certificate that it is served with, as PEM."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each request, in order."""

    def __post_init__(self) -> None:
        self._random = random.Random(f"Candlepin {self.seed}")
        route = Route(_PREFIX + "{path:path}", self._answer, methods=_METHODS)
        self.app = Starlette(routes=[route])

    @property
    def faults(self) -> Faults:
        """What goes wrong."""
        return self.state.faults

    def settings(self, **changes: object) -> CandlepinSettings:
        """How Rackrise reaches it."""
        key, secret = next(iter(self.logins.secrets.items()))
        login = OAuthLogin.model_validate({"key": key, "secret": secret})
        known = {"url": self.url, "login": login, "ca": self.certificate}
        return CandlepinSettings.model_validate({**known, **changes})

    def writes(self) -> list[tuple[str, str]]:
        """Calls that may have changed something."""
        return [one for one in self.calls if one[0] not in ("GET", "HEAD")]

    async def _answer(self, request: Request) -> Response:
        path = request.path_params["path"].rstrip("/") or "/"
        self.calls.append((request.method, path))
        await asyncio.sleep(self._random.uniform(*self.latency))
        if self.faults.undeployed:
            return PlainTextResponse("Not Found", 404)
        try:
            answer = await self._handled(request, path)
        except Unauthorized as error:
            answer = _error(401, str(error))
        except Refusal as refusal:
            answer = _error(refusal.status, refusal.words, **refusal.more)
        answer.headers["X-Version"] = "4.7.4-1"
        answer.headers["X-Candlepin-Request-Uuid"] = str(uuid4())
        return answer

    async def _handled(self, request: Request, path: str) -> Response:
        if self.faults.down:
            raise Refusal(503, "Service Unavailable")
        if path == "/status":
            return JSONResponse(_status(suspended=self.faults.suspended))
        if path == "/":
            return JSONResponse([{"rel": one, "href": f"/{one}"} for one in _ROOT])
        if self.faults.suspended:
            raise Refusal(503, "Candlepin is in Suspend Mode")  # assumed
        parts = tuple(path.strip("/").split("/"))
        found = _route(request.method, parts)
        if found is None:
            raise Refusal(404, f"Could not find resource for full path: {path}")
        handler, arguments = found
        who = self.logins.principal(request)
        self._authorize(request, who, parts)
        body = await request.body()
        call = Call(request.query_params, json.loads(body) if body else None, who)
        answer = await handler(self.state, call, *arguments)
        if request.method == "POST" and parts[-1] == "consumers" and self.faults.lost_answers:
            self.faults.lost_answers -= 1
            raise Refusal(502, "Proxy Error")
        return answer

    def _authorize(self, request: Request, who: Principal | None, parts: tuple[str, ...]) -> None:
        if who is None or (who.user is None and who.consumer is None):
            with_key = parts[-1] == "consumers" and "activation_keys" in request.query_params
            if request.method == "POST" and with_key:
                return
            raise Unauthorized("Invalid Credentials")
        if who.consumer is None:
            return
        if who.consumer in self.state.deleted:
            raise gone(who.consumer)
        consumer = self.state.consumers.get(who.consumer)
        if consumer is None:
            raise Unauthorized("Invalid Credentials")
        its_own = (("consumers", who.consumer), ("owners", consumer["owner"]["key"]))
        if parts[:2] not in its_own:
            raise Refusal(403, "Insufficient permissions")


@asynccontextmanager
async def candlepin_double(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    seed: int = 0,
    latency: tuple[float, float] = (0, 0),
    around: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> AsyncIterator[CandlepinDouble]:
    """Serve a double over TLS while the block lasts.

    Args:
        host: an address of this machine.
        port: 0 for any that is free.
        seed: of the delays.
        latency: shortest and longest time in seconds that it takes for an answer.
        around: put before it, to see what comes and goes.
    """
    with TemporaryDirectory(prefix="candlepin-") as directory:
        address = LOOPBACK if host == "127.0.0.1" else type(LOOPBACK)(host)
        authority = Authority(Path(directory), "candlepin-tls", address)
        pair = authority.sign("candlepin")
        tls = tls_context(pair.certificate, pair.key, authority.file)
        listener = Listener(tcp_socket(host, port), tls)
        double = CandlepinDouble(
            seed=seed,
            latency=latency,
            url=url_of(listener) + _PREFIX,
            certificate=authority.file.read_text(),
        )
        async with served(around(double.app), [listener], stop_seconds=1):
            yield double


def _status(*, suspended: bool) -> Object:
    return {
        "mode": "SUSPEND" if suspended else "NORMAL",
        "modeReason": "QPID_DOWN" if suspended else None,
        "modeChangeTime": None,
        "result": True,
        "version": "4.7.4",
        "release": "1",
        "standalone": True,
        "timeUTC": stamp(datetime.now(UTC)),
        "rulesSource": "default",
        "rulesVersion": "5.44",
        "managerCapabilities": ["cores", "instance_multiplier", "org_level_content_access"],
    }


def _route(
    method: str, parts: tuple[str, ...]
) -> tuple[Callable[..., Awaitable[Response]], tuple[str, ...]] | None:
    for (known, pattern), handler in _ROUTES.items():
        wanted = pattern.split("/")
        if known == method and len(wanted) == len(parts):
            pairs = list(zip(wanted, parts, strict=True))
            if all(one in ("*", part) for one, part in pairs):
                return handler, tuple(part for one, part in pairs if one == "*")
    return None


def _error(status: int, words: str, **more: object) -> JSONResponse:
    return JSONResponse({"displayMessage": words, "requestUuid": str(uuid4()), **more}, status)
