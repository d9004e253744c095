"""A reduced set of the hostile requests, and that what must not be would be noticed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.postgres import PostgresUrls
from tests.hostile.making import Draft, Endpoint, Maker, Sender
from tests.hostile.run import attack, targets
from tests.hostile.sending import Outcome, Sent, listening, send
from tests.hostile.target import Knowledge, Target

SEED = 34
REQUESTS = 30
"""To each endpoint; ``python -m tests.hostile`` sends ten thousand."""


async def test_no_endpoint_breaks_tells_of_its_inside_or_changes_anything(
    postgres: PostgresUrls,
) -> None:
    print(f"seed {SEED}")
    async with targets(postgres.rackrise) as found:
        rows = await attack(found, REQUESTS, SEED)
    harms = [str(harm) for row in rows for harm in row.harms]
    assert harms == [], f"seed {SEED}"
    assert {row.endpoint.app for row in rows} == {"gateway", "puppet-tls", "rhsm", "proxy"}
    assert len(rows) >= 100
    assert all(row.requests == REQUESTS for row in rows)
    # Those who are admitted do get in: else nothing behind the doors was tried.
    let_in = {row.endpoint.app for row in rows if row.classes["2xx"] and "{" in row.endpoint.path}
    assert let_in >= {"puppet-tls", "rhsm", "proxy"}


@dataclass
class Broken(Target):
    """An application with every fault that is looked for, each at its own path."""

    name: str = "broken"
    openapi: dict[str, Any] = field(
        default_factory=lambda: {
            "openapi": "3.1.0",
            "info": {"title": "broken", "version": "1"},
            "paths": {
                path: {"get": {"responses": {}}}
                for path in ("/fine", "/error", "/raise", "/log", "/change", "/show", "/silent")
            },
        }
    )
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    at_once: int = 1
    by_contract: frozenset[int] = frozenset()
    state: int = 0

    @property
    def endpoints(self) -> Sequence[Endpoint]:  # type: ignore[override]
        return [Endpoint("broken", "GET", path) for path in self.openapi["paths"]]

    def knowledge(self, endpoint: Endpoint) -> Knowledge:
        return Knowledge()

    def credentials(self, endpoint: Endpoint, sender: Sender, draft: Draft, maker: Maker) -> None:
        draft.cut, draft.method = False, None

    async def send(self, sender: Sender, sent: Sent, maker: Maker) -> Outcome:
        return await send(self.app, sent)

    async def digest(self, sender: Sender) -> dict[str, str]:
        return {"state": str(self.state)}

    async def renew(self) -> None:
        pass

    @property
    def app(self) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            path, status, body = scope["path"], 404, b""
            match path:
                case "/error":
                    status = 503
                case "/raise":
                    raise KeyError("nobody catches this")
                case "/log":
                    try:
                        raise KeyError("logged")
                    except KeyError:
                        logging.getLogger("broken").exception("said")
                case "/change":
                    self.state += 1
                case "/show":
                    body = b"Traceback (most recent call last):"
                case "/silent":
                    return
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": body})

        return answer


async def test_each_fault_that_is_looked_for_is_found() -> None:
    rows = await attack([Broken()], 5, SEED)
    found = {
        row.endpoint.path: (bool(row.errors), bool(row.tracebacks), bool(row.changes))
        for row in rows
    }
    assert found == {
        "/fine": (False, False, False),
        "/error": (True, False, False),
        "/raise": (False, True, False),
        "/log": (False, True, False),
        "/change": (False, False, True),
        "/show": (False, True, False),
        "/silent": (False, True, False),
    }


async def test_an_answer_whose_header_ends_a_line_is_a_fault() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"x-told", b"a\r\nSet-Cookie: b")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    with listening():
        outcome = await send(answer, Sent("GET", b"/"))
    assert "ends a line" in outcome.tracebacks[0]
