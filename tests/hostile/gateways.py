"""A gateway with hosts at every point of their lives: its three listeners, each a target."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI
from sqlmodel import SQLModel
from starlette.types import ASGIApp

import httpx
from gateway.app import create_app
from gateway.rhsm.app import create_rhsm_app
from gateway.settings import GatewaySettings
from integrations.candlepin import Candlepin
from inventory.builds import registration_token
from inventory.database import make_engine, make_sessions, migrate
from inventory.life import HostState
from inventory.models import HostGroup
from lab.doubles.candlepin import CandlepinDouble
from serving.arrival import Arrival, Kind, Marked
from tests.conftest import Database
from tests.gateway.conftest import World, request_of, token
from tests.hostile.making import Break, Draft, Endpoint, Maker, Sender
from tests.hostile.sending import Outcome, Sent, current, send
from tests.hostile.target import Knowledge, Target, endpoints_of
from tests.inventory.world import make_candlepin, make_group, make_puppet

__all__ = ["Gateways", "gateways"]

_HOSTS = {
    1: HostState.INSTALLING,
    2: HostState.PREPARING,
    3: HostState.IN_OPERATION,
    4: HostState.REBOOTING,
    5: HostState.DISCOVERED,
}
_OWNER, _KEY = "ACME", "web"
_JSON = "application/json"
_CERTNAME = "main.puppet.example.org"
_LIMIT = 10**9
_WRITES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "SELECT PG_NOTIFY", "ALTER", "DROP")


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
        await _empty(self.world.database.url)
        self.double.state.__init__()  # type: ignore[misc]
        async with self.world.database.sessions.begin() as session:
            group = await make_group(session, packages=["@core"])
            puppet = await make_puppet(session)
            candlepin = await make_candlepin(session, self.double.url)
            group.puppet_id, group.candlepin_id = puppet.id, candlepin.id
            group.owner, group.activation_key = _OWNER, _KEY
            group.classes = {"ntp": {"servers": ["192.0.2.1"]}}
            await session.flush()
            self.world.group = await session.get_one(HostGroup, group.id)
        for number, state in _HOSTS.items():
            await self.world.host(number, state)
        await self.candlepin.create_owner(_OWNER)
        await self.candlepin.create_activation_key(_OWNER, _KEY)
        self.identities = [await self._registered(1), await self._registered(4)]

    async def _registered(self, number: int) -> Arrival:
        transport = httpx.ASGITransport(self.front)
        async with httpx.AsyncClient(transport=transport, base_url="http://front") as http:
            answer = await http.post(
                "/rhsm/consumers", params=_keys(number), json={"name": _name(number), "facts": {}}
            )
        assert answer.status_code == 200, answer.text
        told = answer.json()
        certificate = x509.load_pem_x509_certificate(told["idCert"]["cert"].encode())
        return Arrival(Kind.HTTPS, told["uuid"], certificate.public_bytes(Encoding.DER))

    async def digest(self) -> dict[str, str]:
        found = await _tables(self.world.database.url)
        state = self.double.state
        for name in ("owners", "environments", "keys", "consumers", "deleted", "jobs", "contents"):
            found[f"candlepin {name}"] = repr(getattr(state, name))
        return found


def _name(number: int) -> str:
    return f"web{number}.example.org"


def _keys(number: int) -> dict[str, str]:
    keys = f"{_KEY},{registration_token(token(number))}"
    return {"owner": _OWNER, "activation_keys": keys}


async def _empty(url: str) -> None:
    tables = [f'"{table.name}"' for table in reversed(SQLModel.metadata.sorted_tables)]
    connection = await asyncpg.connect(url)
    await connection.execute("; ".join(f"DELETE FROM {table}" for table in tables))
    await connection.execute(
        "SELECT setval(oid, 1, false) FROM pg_class "
        "WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"
    )
    await connection.close()


_connections: dict[str, Any] = {}


async def _tables(url: str) -> dict[str, str]:
    """A digest of each table, in one question."""
    connection = _connections.get(url)
    if connection is None or connection.is_closed():
        connection = _connections[url] = await asyncpg.connect(url)
    parts = [
        f"SELECT '{name}', md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), ''))"  # noqa: S608
        f' FROM "{name}" t'
        for name in SQLModel.metadata.tables
    ]
    return dict(await connection.fetch(" UNION ALL ".join(parts)))


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
                draft.query.append(("token", maker.text(_no_token)))
            return
        number = maker.random.choice(list(_HOSTS))
        if sender is Sender.INSIDER and endpoint.path in ("/unattended/built", "/unattended/failed"):
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
        if sender is not Sender.STRANGER and draft.params.get("uuid") == "own":
            draft.params["uuid"] = self.site(sender).identities[0].common_name or ""

    def _keys(self, sender: Sender, draft: Draft, maker: Maker) -> None:
        if sender is Sender.STRANGER:
            draft.query += [("owner", _OWNER), ("activation_keys", maker.text(_no_token))]
        elif not draft.query:
            draft.query += _keys(maker.random.choice((1, 3, 4))).items()

    async def send(self, sender: Sender, sent: Sent, maker: Maker) -> Outcome:
        site = self.site(sender)
        arrivals: Sequence[Arrival] = site.identities[:1]
        if sender is Sender.STRANGER:
            arrivals = (Arrival(Kind.HTTPS), Arrival(Kind.HTTP), Arrival(Kind.HTTPS, "x", None))
        return await send(Marked(site.front, maker.random.choice(arrivals)), sent)


def _no_token(text: str) -> bool:
    return "token-of-host" not in text


def _body(wrong: Any = None) -> Break:
    """Another body than the endpoint knows."""

    def apply(draft: Draft, maker: Maker) -> None:
        while True:
            draft.body = maker.garbage()
            if wrong is None or wrong(draft.body):
                return

    return apply


def _told(wrong: Any) -> Break:
    """JSON that is something else; ``wrong`` makes the test of it."""

    def is_wrong(body: bytes) -> bool:
        try:
            return bool(wrong(json.loads(body)))
        except (ValueError, RecursionError):
            return True

    return _body(is_wrong)


def _field(valid: Mapping[str, Any], name: str, *values: Any) -> Break:
    """A valid document with one wrong value."""

    def apply(draft: Draft, maker: Maker) -> None:
        body = dict(valid)
        body[name] = maker.random.choice(values)
        draft.kind, draft.body = _JSON, json.dumps(body).encode()

    return apply


def _query(**values: Sequence[str]) -> Break:
    def apply(draft: Draft, maker: Maker) -> None:
        draft.query += [(name, maker.random.choice(some)) for name, some in values.items()]

    return apply


def _two_tokens(draft: Draft, maker: Maker) -> None:
    draft.query += [("token", token(1)), ("token", maker.text(lambda text: text != token(1)))]


def _path(name: str, *valid: str) -> Break:
    """A path that names nothing of ours."""

    def apply(draft: Draft, maker: Maker) -> None:
        draft.params[name] = maker.text(lambda text: text.strip().rstrip(".").lower() not in valid)

    return apply


def _cut(draft: Draft, maker: Maker) -> None:
    draft.cut = True


def _no_object(value: Any) -> bool:
    return not isinstance(value, dict)


_FACTS = {
    "discovery_bootif": "52:54:00:00:00:05",
    "interfaces": "eth0,lo",
    "macaddress_eth0": "52:54:00:00:00:05",
    "ipaddress_eth0": "192.0.2.105",
}
_NO_MAC = ("", None, 7, [], {}, "zz", "52:54", "\0", "52:54:00:00:00:0g", "5" * 9000, "\ud800")


def _broken_facts(draft: Draft, maker: Maker) -> None:
    """Facts of nobody: the image's own are meant to be taken."""
    facts: dict[str, Any] = dict(_FACTS)
    match maker.random.randrange(4):
        case 0:
            facts["discovery_bootif"] = maker.random.choice(_NO_MAC)
        case 1:
            facts["macaddress_eth0"] = maker.random.choice(_NO_MAC)
        case 2:
            facts["ipaddress_eth0"] = maker.random.choice(("", None, 5, "fe80::1", "::", "x", "\0"))
        case _:
            facts["interfaces"] = maker.random.choice(("", "lo", 7, {}, ["lo"], "\0", "eth1"))
    facts[maker.text()] = maker.text()
    draft.body = json.dumps({"facts": facts}).encode()


_PROGRESS = {"stage": "packages installed", "detail": "300 of 300"}
_REPORT = {"hostname": _name(1), "addresses": ["192.0.2.101"], "root_device": "/dev/sda1"}
_CSR = request_of(secret="x")
_PUPPET_FACTS = {"name": _name(1), "values": {"os": {"name": "labos"}}, "timestamp": "2026-01-02"}
_FOREMAN_FACTS = {"name": _name(1), "certname": _name(1), "facts": {"os": {"name": "labos"}}}
_FOREMAN_REPORT = {"config_report": {"host": _name(1), "reported_at": "2026-01-02 03:04:05 UTC"}}
_PUPPET_REPORT = (
    b"--- !ruby/object:Puppet::Transaction::Report\nhost: web1.example.org\n"
    b"time: '2026-01-02T03:04:05.123456789+00:00'\nstatus: changed\nmetrics: {}\nlogs: []\n"
    b"resource_statuses: {}\n"
)


def _json(value: Any) -> tuple[str, bytes]:
    return _JSON, json.dumps(value).encode()


_ANONYMOUS = Knowledge(
    bodies=[_json({"facts": _FACTS})],
    breaks=[_broken_facts, _told(lambda told: "discovery_bootif" not in str(told)), _cut],
    anonymous=[_broken_facts, _told(lambda told: "discovery_bootif" not in str(told)), _cut],
)
_TOLD_BY_PUPPET = {
    "/puppet/autosign/{name}": Knowledge(bodies=[(None, _CSR)], breaks=[_body(), _cut]),
    "/puppet/enc/{name}": Knowledge(breaks=[_path("name", *(_name(one) for one in _HOSTS))]),
    "/node/{name}": Knowledge(
        breaks=[
            _path("name", *(_name(one) for one in _HOSTS)),
            _query(format=["json", "", "\0", "YML", "../yml"]),
        ],
        query={"format": ["yml"]},
    ),
    "/puppet/facts/{name}": Knowledge(
        bodies=[_json(_PUPPET_FACTS)],
        breaks=[_body(), _cut, _field(_PUPPET_FACTS, "values", None, 7, "x", []),
                _field(_PUPPET_FACTS, "name", None, 7, "", "no.example.org", "\0")],
    ),
    "/api/hosts/facts": Knowledge(
        bodies=[_json(_FOREMAN_FACTS)],
        breaks=[_body(), _cut, _field(_FOREMAN_FACTS, "facts", None, 7, "x", [])],
    ),
    "/puppet/reports": Knowledge(
        bodies=[("application/yaml", _PUPPET_REPORT), _json(_FOREMAN_REPORT)], breaks=[_body(), _cut]
    ),
    "/api/config_reports": Knowledge(
        bodies=[_json(_FOREMAN_REPORT), ("application/yaml", _PUPPET_REPORT)], breaks=[_body(), _cut]
    ),
}  # fmt: skip
_MAIN: dict[str, Knowledge] = {
    **dict.fromkeys(
        ("/api/v2/discovered_hosts/facts", "/api/discovered_hosts/facts", "/discovery/create"),
        _ANONYMOUS,
    ),
    "/unattended/provision": Knowledge(
        breaks=[_two_tokens, _query(mac=["52:54:00:00:00:99", "zz", "\0", "\ud800", "5" * 999])],
        query={"mac": ["52:54:00:00:00:01"]},
    ),
    "/unattended/progress": Knowledge(
        bodies=[_json(_PROGRESS)],
        breaks=[
            _told(lambda told: not isinstance(told, dict) or "stage" not in told),
            _field(_PROGRESS, "stage", None, 7, "", [], {}, "x" * 101),
            _field(_PROGRESS, "detail", None, 7, [], {}, "x" * 2001),
            _two_tokens,
            _cut,
        ],
    ),
    "/unattended/report": Knowledge(
        bodies=[_json(_REPORT)],
        breaks=[
            _told(lambda told: not isinstance(told, dict) or "hostname" not in told),
            _field(_REPORT, "hostname", None, 7, "", [], {}, "x" * 254),
            _field(_REPORT, "addresses", None, "192.0.2.1", ["x"], [None], {"a": 1}, ["::%\0"]),
            _field(_REPORT, "uptime_seconds", -1, 1e999, float("nan"), "x", None, 10**400),
            _field(_REPORT, "repositories", None, [7], [{"id": ""}], [{}] * 201),
            _two_tokens,
            _cut,
        ],
    ),
    # Nothing is malformed for them but the request itself: any body is a telling.
    "/unattended/built": Knowledge(bodies=[(None, b"done")]),
    "/unattended/failed": Knowledge(bodies=[("text/plain", b"anaconda gave up\n" * 50)]),
    **_TOLD_BY_PUPPET,
}
_CONSUMER = {"name": _name(1), "facts": {"cpu": 2}, "type": "system", "installedProducts": []}
_PROFILE = [
    {"content_type": "rpm", "profile": [{"name": "bash", "version": "5"}]},
    {"content_type": "enabled_repos", "profile": [{"repositoryid": "r", "baseurl": ["http://x"]}]},
]
_OTHERS = _path("uuid", "own")
_LIST = _told(lambda told: not isinstance(told, list | dict))
_FRONT: dict[str, Knowledge] = {
    "/rhsm/consumers": Knowledge(
        bodies=[_json(_CONSUMER)],
        breaks=[
            _told(_no_object),
            _field(_CONSUMER, "name", None, 7, "", "-x", "a b", "\0", "x" * 300, "\ud800", "wéb"),
            _field(_CONSUMER, "facts", 7, "x", [], [[]]),
            _query(owner=[_OWNER, "\0", "ö"], activation_keys=["", ",", "\0", "a b", "x" * 999]),
            _cut,
        ],
    ),
    "PUT /rhsm/consumers/{uuid}": Knowledge(
        bodies=[_json({"facts": {"a": "b"}})],
        breaks=[
            _OTHERS,
            _told(_no_object),
            _field({}, "owner", {"key": "x"}, 7, "\0"),
            _field({}, "environments", [], [7], "x"),
            _field({}, "name", "no.example.org", 7, [], "\0", "\ud800"),
            _cut,
        ],
    ),
    "DELETE /rhsm/consumers/{uuid}": Knowledge(breaks=[_OTHERS]),
    "/rhsm/consumers/{uuid}/certificates/serials": Knowledge(breaks=[_OTHERS]),
    "/rhsm/consumers/{uuid}/checkin": Knowledge(breaks=[_OTHERS]),
    "/rhsm/consumers/{uuid}/profiles": Knowledge(
        bodies=[_json(_PROFILE)], breaks=[_OTHERS, _LIST, _cut]
    ),
    "/rhsm/consumers/{uuid}/packages": Knowledge(
        bodies=[_json(_PROFILE[0]["profile"])], breaks=[_OTHERS, _LIST, _cut]
    ),
    "/rhsm/consumers/{uuid}/profile": Knowledge(
        bodies=[_json(_PROFILE[0]["profile"])], breaks=[_OTHERS, _LIST, _cut]
    ),
    "/rhsm/systems/{uuid}/enabled_repos": Knowledge(
        bodies=[_json({"enabled_repos": {"repos": _PROFILE[1]["profile"]}})],
        breaks=[_OTHERS, _told(lambda told: _no_object(told) or not told), _cut],
    ),
    "/rhsm/consumers/{uuid}/tracer": Knowledge(
        bodies=[_json({"traces": {"bash": {"type": "daemon"}}})],
        breaks=[_OTHERS, _told(lambda told: _no_object(told) or "traces" not in told), _cut],
    ),
    "/rhsm/{rest}": Knowledge(bodies=[_json({"a": 1})], breaks=[_path("rest")]),
}
_VALUES: dict[str, Sequence[str]] = {
    "name": [*(_name(one) for one in _HOSTS), "nobody.example.org"],
    "kind": ["script", "finish", "user_data"],
    "uuid": ["own", "own", "own", "7f1c1b9e-0000-4000-8000-000000000000"],
    "rest": [
        *("owners/ACME", "consumers/own/certificates", "consumers/x/entitlements", "pools"),
        *("status/x", "jobs/1", "environments/prod", "deleted_consumers", "admin/init"),
    ],
}


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
            document = served.openapi()
            all_of_it = name != "puppet-tls"
            endpoints = endpoints_of(document, name, lambda path: all_of_it or path in known)
            return kind(name, strict, loose, document, endpoints, known, _VALUES)

        targets: list[Target] = [
            listener(_Main, "gateway", app, _MAIN),
            listener(_Puppet, "puppet-tls", app, _TOLD_BY_PUPPET),
            listener(_Front, "rhsm", strict.front_app, _FRONT),
        ]
        yield Gateways(targets, app, (strict, loose))
        for connection in _connections.values():
            await connection.close()
        _connections.clear()


@asynccontextmanager
async def _site(url: str, name: str) -> AsyncIterator[_Site]:
    connection = await asyncpg.connect(url)
    await connection.execute(f"DROP DATABASE IF EXISTS {name}")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    own = sa.make_url(url).set(database=name).render_as_string(hide_password=False)
    await migrate(own)
    engine = make_engine(own)
    _watch(engine.sync_engine)
    settings = GatewaySettings(database_url=own, kickstart_limit=_LIMIT)  # type: ignore[arg-type]
    world = World(Database(own, make_sessions(engine)), HostGroup(), settings)
    double = CandlepinDouble()
    transport = httpx.ASGITransport(double.app)
    async with Candlepin(double.settings(), transport=transport) as candlepin:
        app = create_app(settings, world.database.sessions, world.now)
        front = create_rhsm_app(settings, world.database.sessions, candlepin, world.now)
        inner = front._app
        assert isinstance(inner, FastAPI)
        yield _Site(world, app, double, candlepin, front, inner)
    await engine.dispose()


def _watch(engine: sa.Engine) -> None:
    """Note for each request what it wrote for good."""

    @sa.event.listens_for(engine, "after_cursor_execute")
    def executed(_c: Any, _r: Any, statement: str, *_: Any) -> None:
        outcome = current.get()
        if outcome is not None and statement.lstrip().upper().startswith(_WRITES):
            outcome.pending.append(statement[:200])

    @sa.event.listens_for(engine, "commit")
    def committed(_: Any) -> None:
        outcome = current.get()
        if outcome is not None:
            outcome.written += outcome.pending
            outcome.pending.clear()

    @sa.event.listens_for(engine, "rollback")
    def undone(_: Any) -> None:
        outcome = current.get()
        if outcome is not None:
            outcome.pending.clear()
