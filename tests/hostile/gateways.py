"""A gateway with hosts at every point of their lives: its three listeners, each a target."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.app import create_app
from gateway.rhsm.app import create_rhsm_app
from gateway.settings import GatewaySettings
from integrations.candlepin import Candlepin
from inventory import steps
from inventory.arrows import Evidence
from inventory.builds import registration_token
from inventory.database import make_engine, make_sessions
from inventory.life import HostState
from inventory.models import Build, HostGroup
from lab.doubles.candlepin import CandlepinDouble
from serving.arrival import Arrival, Kind, Marked
from tests.conftest import Database
from tests.gateway.conftest import World, token
from tests.hostile.gateway_knowledge import (
    BODY_IS_FREE,
    FRONT,
    HOSTS,
    KEY,
    MAIN,
    OWNER,
    PUPPET,
    VALUES,
    name_of,
    no_token,
)
from tests.hostile.inventories import emptied, inventory, tables, watch
from tests.hostile.making import Draft, Endpoint, Maker, Sender
from tests.hostile.sending import Outcome, Sent, send
from tests.hostile.target import Knowledge, Target, document_of, endpoints_of
from tests.inventory.world import later, make_candlepin, make_group, make_puppet

__all__ = ["Gateways", "gateways"]

_CERTNAME = "main.puppet.example.org"
_LIMIT = 10**9

_NO_GROUP = HostGroup(
    name="",
    operating_system_id=0,
    install_tree_id=0,
    subnet_id=0,
    domain_id=0,
    root_password_hash="!",
)
"""Until the site is filled."""


@dataclass
class _Site:
    """One inventory, with the gateway and the front before it."""

    world: World
    app: FastAPI
    double: CandlepinDouble
    candlepin: Candlepin
    front: ASGIApp
    front_app: FastAPI
    identities: list[Arrival] = field(default_factory=list)

    async def fill(self) -> None:
        """Empty the inventory and make the hosts."""
        await emptied(self.world.database.url)
        self.double.state.__init__()  # type: ignore[misc]
        async with self.world.database.sessions.begin() as session:
            group = await make_group(session, packages=["@core"])
            puppet = await make_puppet(session)
            candlepin = await make_candlepin(session, self.double.url)
            group.puppet_id, group.candlepin_id = puppet.id, candlepin.id
            group.owner, group.activation_key = OWNER, KEY
            group.classes = {"ntp": {"servers": ["192.0.2.1"]}}
            await session.flush()
            self.world.group = await session.get_one(HostGroup, group.id)
        for number, state in HOSTS.items():
            _, build = await self.world.host(number, state)
            if state is HostState.IN_OPERATION:
                await self._ended(build)
        await self.candlepin.create_owner(OWNER)
        await self.candlepin.create_activation_key(OWNER, KEY)
        self.identities = [await self._registered(1), await self._registered(4)]

    async def _ended(self, build: Build) -> None:
        async with self.world.database.sessions.begin() as session:
            for step in (27, 29):
                done = Evidence.OBSERVED
                await steps.finish(session, build.id, step, evidence=done, seen="", at=later(60))

    async def _registered(self, number: int) -> Arrival:
        transport = httpx.ASGITransport(self.front)
        async with httpx.AsyncClient(transport=transport, base_url="http://front") as http:
            answer = await http.post(
                "/rhsm/consumers", params=_keys(number), json={"name": name_of(number), "facts": {}}
            )
        assert answer.status_code == 200, answer.text
        told = answer.json()
        certificate = x509.load_pem_x509_certificate(told["idCert"]["cert"].encode())
        return Arrival(Kind.HTTPS, told["uuid"], certificate.public_bytes(Encoding.DER))

    async def digest(self) -> dict[str, str]:
        found = await tables(self.world.database.url)
        state = self.double.state
        for name in ("owners", "environments", "keys", "consumers", "deleted", "jobs", "contents"):
            found[f"candlepin {name}"] = repr(getattr(state, name))
        return found


def _keys(number: int) -> dict[str, str]:
    keys = f"{KEY},{registration_token(token(number))}"
    return {"owner": OWNER, "activation_keys": keys}


@dataclass
class _Listener(Target):
    """One listener of the gateway: the strict site, and that of those who are admitted."""

    name: str
    strict: _Site
    loose: _Site
    openapi: dict[str, Any]
    endpoints: Sequence[Endpoint]
    known: Mapping[str, Knowledge]
    values: Mapping[str, Sequence[str]]
    at_once: int = 8
    by_contract: frozenset[int] = frozenset()

    def site(self, sender: Sender) -> _Site:
        return self.loose if sender is Sender.ADMITTED else self.strict

    def knowledge(self, endpoint: Endpoint) -> Knowledge:
        return self.known.get(f"{endpoint.method} {endpoint.path}") or self.known.get(
            endpoint.path, Knowledge()
        )

    async def digest(self, sender: Sender) -> dict[str, str]:
        return await self.site(sender).digest()

    async def renew(self) -> None:
        await self.loose.fill()

    def credentials(self, endpoint: Endpoint, sender: Sender, draft: Draft, maker: Maker) -> None:
        """None are in the request."""

    async def send(self, sender: Sender, sent: Sent, maker: Maker) -> Outcome:
        raise NotImplementedError


class _Main(_Listener):
    """Plain HTTP: hosts with their tokens."""

    def credentials(self, endpoint: Endpoint, sender: Sender, draft: Draft, maker: Maker) -> None:
        if any(name == "token" for name, _ in draft.query):
            return
        if sender is Sender.STRANGER:
            if maker.random.random() < 0.8:
                draft.query.append(("token", maker.text(no_token)))
            return
        number = maker.random.choice(list(HOSTS))
        if sender is Sender.INSIDER and endpoint.path in BODY_IS_FREE:
            # All that a host in its installer says there is meant to be taken.
            number = 2
        draft.query.append(("token", token(number)))

    async def send(self, sender: Sender, sent: Sent, maker: Maker) -> Outcome:
        return await send(self.site(sender).app, sent)


class _Puppet(_Listener):
    """TLS: Puppet servers with their certificates."""

    async def send(self, sender: Sender, sent: Sent, maker: Maker) -> Outcome:
        names: Sequence[str | None] = (_CERTNAME,)
        if sender is Sender.STRANGER:
            names = (None, "other.example.org", "", "\0", "' OR 1=1 --", "ö" * 300, "\ud800")
        arrival = Arrival(Kind.HTTPS, maker.random.choice(names), b"")
        return await send(Marked(self.site(sender).app, arrival), sent)


class _Front(_Listener):
    """TLS: hosts with their identities."""

    def credentials(self, endpoint: Endpoint, sender: Sender, draft: Draft, maker: Maker) -> None:
        if endpoint.path == "/rhsm/consumers":
            self._keys(sender, draft, maker)
        if sender is not Sender.STRANGER:
            own = self.site(sender).identities[0].common_name or ""
            for name, value in draft.params.items():
                if value.strip() == "own" or name == "rest":
                    draft.params[name] = value.replace("own", own, 1)

    def _keys(self, sender: Sender, draft: Draft, maker: Maker) -> None:
        if sender is Sender.STRANGER:
            draft.query += [("owner", OWNER), ("activation_keys", maker.text(no_token))]
        elif not draft.query:
            draft.query += _keys(maker.random.choice((1, 3, 4))).items()

    async def send(self, sender: Sender, sent: Sent, maker: Maker) -> Outcome:
        site = self.site(sender)
        arrivals: Sequence[Arrival] = site.identities[:1]
        if sender is Sender.STRANGER:
            arrivals = (Arrival(Kind.HTTPS), Arrival(Kind.HTTP), Arrival(Kind.HTTPS, "x", None))
        return await send(Marked(site.front, maker.random.choice(arrivals)), sent)


@dataclass
class Gateways:
    """The listeners of one gateway, and its application, for a proxy to relay to."""

    targets: list[Target]
    app: FastAPI
    sites: tuple[_Site, _Site]


@asynccontextmanager
async def gateways(url: str) -> AsyncIterator[Gateways]:
    """Make the sites in two databases of their own.

    Args:
        url: of a database of the same server.
    """
    async with _site(url, "hostile_strict") as strict, _site(url, "hostile_loose") as loose:
        await strict.fill()
        await loose.fill()
        app = strict.app

        def listener(kind: type[_Listener], name: str, served: FastAPI, known: Any) -> _Listener:
            document = document_of(served)
            all_of_it = name != "puppet-tls"
            endpoints = endpoints_of(document, name, lambda path: all_of_it or path in known)
            return kind(name, strict, loose, document, endpoints, known, VALUES)

        targets: list[Target] = [
            listener(_Main, "gateway", app, MAIN),
            listener(_Puppet, "puppet-tls", app, PUPPET),
            listener(_Front, "rhsm", strict.front_app, FRONT),
        ]
        yield Gateways(targets, app, (strict, loose))


@asynccontextmanager
async def _site(url: str, name: str) -> AsyncIterator[_Site]:
    async with inventory(url, name) as own:
        engine = make_engine(own)
        watch(engine.sync_engine)
        settings = GatewaySettings(database_url=own, kickstart_limit=_LIMIT)
        world = World(Database(own, make_sessions(engine)), _NO_GROUP, settings)
        double = CandlepinDouble()
        transport = httpx.ASGITransport(_Refusing(double.app))
        async with Candlepin(double.settings(), transport=transport) as candlepin:
            app = create_app(settings, world.database.sessions, world.now)
            front = create_rhsm_app(settings, world.database.sessions, candlepin, world.now)
            inner = front._app
            assert isinstance(inner, FastAPI)
            yield _Site(world, app, double, candlepin, front, inner)
        await engine.dispose()


class _Refusing:
    """Candlepin's double, where what it cannot read is refused: it is not what is attacked."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        said: list[Message] = []

        async def keep(message: Message) -> None:
            said.append(message)

        try:
            await self._app(scope, receive, keep)
            for message in said:
                await send(message)
        except Exception as error:
            refusal = JSONResponse({"displayMessage": repr(error)[:200]}, 400)
            await refusal(scope, receive, send)
