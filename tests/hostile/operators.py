"""The console and the API under attack: by nobody, by people without the right, and by an admin.

Whoever has no right may change nothing but what is everybody's own. An admin may change all, so for
them only faults count, and that a form without the value of our pages does nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI

from gateway.live import Hub
from gateway.operators.app import create_operators_app
from gateway.operators.sessions import form_value
from gateway.settings import GatewaySettings
from inventory import events, people, rule_book, webhooks
from inventory.builds import hold
from inventory.database import make_engine, make_sessions
from inventory.models import Role, Site
from inventory.rule_draft import read_draft
from inventory.sealing import Sealer
from tests.conftest import Database
from tests.hostile.garbage import pools
from tests.hostile.inventories import emptied, inventory, tables, watch
from tests.hostile.making import Draft, Endpoint, Maker
from tests.hostile.operators_knowledge import BODIES, FIELDS, NAMES, QUERY, RULE, VALUES
from tests.hostile.run import Row
from tests.hostile.sending import Outcome, Sent, listening, send
from tests.inventory.world import discovered, later, make_group

__all__ = ["attack_operators"]

_BATCH = 120
_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")
_KEY = "k" * 40
_PASSWORD = "correct horse battery"
_OWN = frozenset({"apitoken", "signin", "person", "idempotentanswer", "auditentry", "planrequest"})
"""What everybody may change of their own, and what tells of it."""


class Asks(Enum):
    """Who asks."""

    NOBODY = "nobody"
    VIEWER = "viewer"
    LIMITED = "limited operator"
    ADMIN = "admin"


_SHARES = (Asks.NOBODY,) * 3 + (Asks.VIEWER,) * 3 + (Asks.LIMITED,) * 3
_PEOPLE: Mapping[Asks, tuple[Role, tuple[str, ...]]] = {
    Asks.VIEWER: (Role.VIEWER, ()),
    Asks.LIMITED: (Role.OPERATOR, ("elsewhere",)),
    Asks.ADMIN: (Role.ADMIN, ()),
}


@dataclass
class _Office:
    """The operators' application before an inventory, and the credentials of people."""

    database: Database
    app: Any
    endpoints: list[Endpoint]
    cookies: dict[Asks, str] = field(default_factory=dict)
    tokens: dict[Asks, str] = field(default_factory=dict)

    async def fill(self) -> None:
        """Empty the inventory; make hosts, one of them held, rules, a webhook and people."""
        await emptied(self.database.url)
        sessions = self.database.sessions
        async with sessions.begin() as session:
            await make_group(session)
            session.add(Site(name="elsewhere", gateway_url="http://192.0.2.9:8000"))
        for number in (1, 2, 3):
            _, build = await discovered(sessions, number)
        async with sessions.begin() as session:
            build = await session.merge(build)
            await hold(session, build, step=14, reason="no", advice="see", at=later(1))
        async with sessions.begin() as session:
            await rule_book.create(session, read_draft(RULE))
            await webhooks.add(
                session,
                "pager",
                webhooks.Wanted("https://example.org/hook"),
                sealer=Sealer(_KEY),
                made_by="x",
                at=later(1),
            )
            for who, (role, sites) in _PEOPLE.items():
                name = who.name.lower()
                person = await people.add(session, name, role=role, sites=sites, at=later(1))
                self.cookies[who] = await people.sign_in(session, person, later(1))
                self.tokens[who] = await people.add_token(
                    session, person, "test", role=role, lasts=None, at=later(1)
                )

        async with sessions.begin() as session:
            # Whoever reads events publishes them first; here there are none to publish.
            await events.publish(session, later(1))

    async def state(self) -> dict[str, str]:
        """All that nobody without a right may change."""
        found = await tables(self.database.url)
        kept = {name: digest for name, digest in found.items() if name not in _OWN}
        async with self.database.sessions() as session:
            rows = await session.execute(
                sa.text("SELECT name, role, sites, host_groups, disabled_at FROM person ORDER BY 1")
            )
            return {**kept, "person": repr(rows.all())}


async def attack_operators(
    url: str,
    requests: int,
    seed: int,
    only: str = "",
    tell: Callable[[Row, float], None] = lambda _row, _seconds: None,
) -> list[Row]:
    """Send so many requests to each path of console and API; see ``tests.hostile.run.attack``."""
    thrown = pools(seed, min(requests, 1500))
    rows = []
    with listening() as stray:
        async with _office(url) as office:
            for endpoint in office.endpoints:
                if only not in str(endpoint):
                    continue
                began = time.monotonic()
                maker = Maker(Random(f"{seed} {endpoint}"), thrown, VALUES)
                row = Row(endpoint)
                while row.requests < requests:
                    count = min(_BATCH, requests - row.requests)
                    # A quarter is the admin's; they come last, since they may change anything.
                    await office.fill()
                    before = await office.state()
                    await _batch(office, row, maker, count - count // 4, _SHARES)
                    after = await office.state()
                    if differ := [name for name in before if before[name] != after[name]]:
                        row.add("changes", f"{', '.join(differ)} is another now", "a batch")
                    await _batch(office, row, maker, count // 4, (Asks.ADMIN,))
                for text in stray:
                    row.add("tracebacks", text, "no request")
                stray.clear()
                rows.append(row)
                tell(row, time.monotonic() - began)
    return rows


async def _batch(
    office: _Office, row: Row, maker: Maker, count: int, shares: tuple[Asks, ...]
) -> None:
    for first in range(0, count, 8):
        some = [
            _request(office, row.endpoint, maker, maker.random.choice(shares))
            for _ in range(min(8, count - first))
        ]
        outcomes = await asyncio.gather(*(send(office.app, one.sent) for one in some))
        for made, outcome in zip(some, outcomes, strict=True):
            _judge(row, made, outcome)


@dataclass(frozen=True)
class _Made:
    asks: Asks
    sent: Sent
    ours: bool
    """Whether it comes from a page of ours, or needs not."""


def _request(office: _Office, endpoint: Endpoint, maker: Maker, asks: Asks) -> _Made:
    random = maker.random
    names = _PARAMETER.findall(endpoint.path)
    kind = endpoint.path.removeprefix("/api/v1").split("/")[1]
    known = {**VALUES, "name": NAMES.get(kind, VALUES["name"])}
    draft = Draft(
        {
            name: random.choice(known[name]) if random.random() < 0.7 else maker.text()
            for name in names
        }
    )
    for name, values in QUERY.items():
        if random.random() < 0.2:
            value = random.choice(values) if random.random() < 0.4 else maker.text()
            draft.query.append((name, value))
    api = endpoint.path.startswith("/api/")
    ours = True
    if api:
        _say_token(office, asks, draft, maker)
        if random.random() < 0.3:
            draft.headers.append(("idempotency-key", maker.text()))
        if random.random() < 0.05:
            draft.headers.append(("accept", "text/event-stream"))
        if endpoint.method != "GET":
            draft.kind, draft.body = "application/json", _json(endpoint, maker)
    else:
        ours = _say_cookie(office, asks, endpoint, draft, maker)
    if random.random() < 0.05:
        draft.cut = True
    plain = Endpoint(endpoint.app, endpoint.method, _PARAMETER.sub(r"{\1}", endpoint.path))
    return _Made(asks, maker.finished(plain, draft, noisy=random.random() < 0.7), ours)


def _say_token(office: _Office, asks: Asks, draft: Draft, maker: Maker) -> None:
    if asks is not Asks.NOBODY:
        draft.headers.append(("authorization", f"Bearer {office.tokens[asks]}"))
    elif maker.random.random() < 0.6:
        scheme = maker.random.choice(("Bearer ", "bearer ", "Basic ", "Bearer rr_", ""))
        draft.headers.append(("authorization", scheme + maker.text()))


def _json(endpoint: Endpoint, maker: Maker) -> bytes:
    path = _PARAMETER.sub(r"{\1}", endpoint.path.removeprefix("/api/v1"))
    known = BODIES.get(f"{endpoint.method} {path}", {})
    body = json.dumps(known).encode()
    chance = maker.random.random()
    if chance < 0.3:
        return body
    return maker.mangled(body) if chance < 0.8 else maker.garbage()


def _say_cookie(
    office: _Office, asks: Asks, endpoint: Endpoint, draft: Draft, maker: Maker
) -> bool:
    """Sign in; whether a form also comes from a page of ours."""
    random = maker.random
    secret = maker.text() if asks is Asks.NOBODY else office.cookies[asks]
    draft.headers.append(("cookie", f"rackrise={secret}"))
    if random.random() < 0.1:
        draft.headers.append(("cookie", f"rackrise-said={maker.text()}"))
    if endpoint.method == "GET":
        return True
    if random.random() < 0.1:
        draft.kind, draft.body = None, maker.garbage()
        return False
    form = {
        name: random.choice(values) if random.random() < 0.6 else maker.text()
        for name, values in FIELDS.items()
        if random.random() < 0.7
    }
    ours = asks is not Asks.NOBODY and random.random() < 0.7
    form["form"] = form_value(secret) if ours else maker.text()
    draft.form, draft.kind = form, "application/x-www-form-urlencoded"
    return ours


def _judge(row: Row, made: _Made, outcome: Outcome) -> None:
    row.requests += 1
    status = outcome.status
    row.classes["none" if status is None else f"{status // 100}xx"] += 1
    if status is not None and status >= 500:
        said = bytes(outcome.body[:300])
        row.add("errors", f"{made.asks.value}: {status} {said!r}", made.sent)
    for one in outcome.tracebacks:
        row.add("tracebacks", f"{made.asks.value}: {one}", made.sent)
    if outcome.written and (made.asks is Asks.NOBODY or not made.ours):
        what = f"{made.asks.value}, answered {status}: {outcome.written[:3]}"
        row.add("changes", what, made.sent)


@asynccontextmanager
async def _office(url: str) -> AsyncIterator[_Office]:
    async with inventory(url, "hostile_operators") as own:
        engine = make_engine(own)
        watch(engine.sync_engine)
        settings = GatewaySettings(database_url=own, secret_key=_KEY)
        database = Database(own, make_sessions(engine))
        app: Any = create_operators_app(settings, database.sessions, Hub(50), lambda: later(60))
        yield _Office(database, app, _endpoints(app._app))
        await engine.dispose()


def _endpoints(app: FastAPI) -> list[Endpoint]:
    """Every method of every path, also of pages, which are in no document."""
    found = []
    for included in app.routes:
        inner: Any = getattr(included, "effective_route_contexts", None)
        for route in [included] if inner is None else inner():
            path, methods = getattr(route, "path", None), getattr(route, "methods", None)
            found += [Endpoint("operators", one, path) for one in sorted(methods or ()) if path]
    return found
