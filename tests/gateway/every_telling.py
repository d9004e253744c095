"""All that hosts and Puppet tell a gateway, each as one call that can be made again and again."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import httpx
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from sqlalchemy.engine import Connection
from sqlmodel import col, select

from gateway.app import create_app
from gateway.rhsm.app import create_rhsm_app
from integrations.candlepin import Candlepin
from inventory.builds import close_build, hold, latest_build, registration_token
from inventory.hosts import host_by_mac, lock_host, move
from inventory.life import Event, HostState
from inventory.models import (
    Build,
    BuildOutcome,
    Callback,
    CallbackKind,
    Consumer,
    Facts,
    Host,
    Profile,
)
from inventory.steps import states
from lab.doubles.candlepin import CandlepinDouble
from serving.arrival import Arrival, Kind, Marked
from tests.gateway.conftest import World, token
from tests.inventory.world import later, mac

__all__ = ["KEY", "OWNER", "TELLINGS", "Around", "Killed", "Knife", "Telling"]

OWNER, KEY = "ACME", "web"
_KEY_PAIR = ec.generate_private_key(ec.SECP256R1())


class Killed(BaseException):
    """The gateway is killed here; whoever waits for its answer hears nothing."""


@dataclass
class Knife:
    """Counts the points at which a handler can be killed, and kills it at one of them."""

    at: int | None = None
    reached: list[str] = field(default_factory=list)
    active: bool = False

    def point(self, what: str) -> None:
        """A handler has come here."""
        if self.active:
            self.reached.append(what)
            if len(self.reached) == self.at:
                raise Killed(what)

    @contextmanager
    def armed(self, at: int | None) -> Iterator[None]:
        """Kill at the point with a number; None only counts."""
        self.at, self.reached, self.active = at, [], True
        try:
            yield
        finally:
            self.active = False

    @contextmanager
    def held_to(self, world: World) -> Iterator[None]:
        """Points before and after each statement and each commit of the world's inventory."""
        engine = world.database.sessions.kw["bind"].sync_engine

        def before(_: Connection, __: object, statement: str, *___: object) -> None:
            self.point(f"before {statement.split(None, 1)[0]}")

        def after(_: Connection, __: object, statement: str, *___: object) -> None:
            self.point(f"after {statement.split(None, 1)[0]}")

        def commit(connection: object) -> None:
            self.point("before COMMIT")
            commits(connection)
            self.point("after COMMIT")

        listeners = (
            (engine, "before_cursor_execute", before),
            (engine, "after_cursor_execute", after),
        )
        commits = engine.dialect.do_commit
        for listener in listeners:
            sa.event.listen(*listener)
        engine.dialect.do_commit = commit
        try:
            yield
        finally:
            engine.dialect.do_commit = commits
            for listener in listeners:
                sa.event.remove(*listener)


class _Cut(httpx.AsyncBaseTransport):
    """The way to Candlepin, with a point on each side of it."""

    def __init__(self, behind: httpx.AsyncBaseTransport, knife: Knife) -> None:
        self._behind, self._knife = behind, knife

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._knife.point(f"before {request.method} to Candlepin")
        answer = await self._behind.handle_async_request(request)
        self._knife.point(f"after {request.method} to Candlepin")
        return answer


@dataclass
class Around:
    """A gateway with a Puppet server and a Candlepin, and hosts by number."""

    world: World
    certname: str
    candlepin_id: int
    double: CandlepinDouble
    candlepin: Candlepin
    knife: Knife
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @staticmethod
    def way_to(double: CandlepinDouble, knife: Knife) -> httpx.AsyncBaseTransport:
        """To Candlepin."""
        return _Cut(httpx.ASGITransport(double.app), knife)

    async def ask(
        self, method: str, url: str, arrival: Arrival | None = None, **more: Any
    ) -> httpx.Response:
        """One request, to the gateway or to its RHSM front."""
        world = self.world
        app: Any = create_app(world.settings, world.database.sessions, world.now)
        if url.startswith("/rhsm"):
            app = create_rhsm_app(
                world.settings, world.database.sessions, self.candlepin, world.now
            )
        if arrival is not None:
            app = Marked(app, arrival)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("192.0.2.77", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, url, **more)

    async def unattended(self, what: str, number: int, body: object) -> httpx.Response:
        """What a host says with its build's token."""
        path = f"/unattended/{what}?token={token(number)}"
        return await self.ask("POST", path, content=body if isinstance(body, str) else _j(body))

    async def puppet(self, path: str, body: object) -> httpx.Response:
        """What the Puppet server says."""
        arrival = Arrival(Kind.HTTPS, self.certname)
        return await self.ask("POST", path, arrival, content=_j(body))

    async def host(self, number: int, state: HostState) -> None:
        """A host anywhere in its life; a build that is over is closed."""
        after = {HostState.CANCELLED: Event.CANCEL, HostState.RETIRED: Event.DECOMMISSION}
        ends = {
            HostState.IN_OPERATION: BuildOutcome.IN_OPERATION,
            HostState.CANCELLED: BuildOutcome.CANCELLED,
            HostState.RETIRED: BuildOutcome.RETIRED,
        }
        begun = HostState.INSTALLING if state in after else state
        host, build = await self.world.host(number, begun)
        async with self.world.database.sessions.begin() as session:
            host = await lock_host(session, host.id)
            if state in after:
                await move(session, host, after[state], later(60))
                await move(session, host, Event.RECORDS_GONE, later(61))
            if state in ends:
                await close_build(session, build, ends[state], later(62))
            session.add(
                Consumer(
                    host_id=host.id,
                    candlepin_id=self.candlepin_id,
                    owner=OWNER,
                    uuid=_uuid(number),
                    build_id=build.id,
                )
            )

    async def hold(self, number: int) -> None:
        """Hold a host where it is."""
        async with self.world.database.sessions.begin() as session:
            host = await host_by_mac(session, mac(number))
            build = await latest_build(session, host.id) if host else None
            assert build is not None
            await hold(session, build, step=None, reason="test", advice="", at=later(70))

    async def seen(self, number: int) -> dict[str, object] | None:
        """All that was made of what a host told, without times and what is its own."""
        async with self.world.database.sessions() as session:
            host = await host_by_mac(session, mac(number))
            if host is None:
                return None
            build = await latest_build(session, host.id)
            assert build is not None
            arrows = (await states(session, [build.id]))[build.id]
            told = await session.exec(select(Callback).where(col(Callback.host_id) == host.id))
            kinds = sorted((one.kind, one.handled_at is None) for one in told)
            calls = sum(kind is CallbackKind.KICKSTART for kind, _ in kinds)
            assert calls == build.kickstarts, "a fetch that was not counted, or was not kept"
            return {
                "state": host.state,
                "build": _plainly(build),
                "steps": {n: (one.state, one.evidence) for n, one in arrows.items()},
                # A kickstart may be fetched more than once; anything else is told once.
                "told": [one for one in kinds if one[0] is not CallbackKind.KICKSTART],
                "fetched": calls > 0,
                "facts": await _kinds_of(session, Facts.source, col(Facts.host_id) == host.id),
                "profile": await _kinds_of(
                    session, Profile.content_type, col(Profile.host_id) == host.id
                ),
                "consumer": await self._consumers(session, host, number),
            }

    async def _consumers(self, session: Any, host: Host, number: int) -> tuple[object, ...]:
        known = await session.get(Consumer, host.id)
        name = f"web{number}.example.org"
        there = [one for one in self.double.state.consumers.values() if one["name"] == name]
        registered = known is not None and known.registered_at is not None
        return registered, len(there), not there or known.uuid == there[0]["uuid"]

    async def state(self, number: int) -> HostState | None:
        """Where a host is."""
        async with self.world.database.sessions() as session:
            host = await host_by_mac(session, mac(number))
            return host.state if host else None


async def _kinds_of(session: Any, column: Any, of: Any) -> list[str]:
    return sorted(await session.exec(select(column).where(of)))


def _plainly(build: Build) -> tuple[object, ...]:
    times = (build.token_spent_at, build.deadline, build.closed_at)
    held = (build.held_from, build.held_step, build.held_reason)
    return (build.generation, *(one is not None for one in times), *held)


def _j(body: object) -> str:
    return json.dumps(body)


def _uuid(number: int) -> str:
    return str(uuid5(NAMESPACE_DNS, f"host {number}"))


def _identity(number: int) -> Arrival:
    """An identity certificate, as the listener has verified it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _uuid(number))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    valid = builder.not_valid_before(later(0)).not_valid_after(later(0) + timedelta(days=1))
    made = valid.public_key(_KEY_PAIR.public_key()).sign(_KEY_PAIR, hashes.SHA256())
    return Arrival(Kind.HTTPS, _uuid(number), made.public_bytes(Encoding.DER))


async def _facts(around: Around, number: int) -> httpx.Response:
    told = {
        "discovery_bootif": mac(number),
        "interfaces": "eth0",
        "macaddress_eth0": mac(number),
        "ipaddress_eth0": f"192.0.2.{number % 50 + 200}",
    }
    return await around.ask("POST", "/api/v2/discovered_hosts/facts", json={"facts": told})


async def _kickstart(around: Around, number: int) -> httpx.Response:
    return await around.ask("GET", f"/unattended/provision?token={token(number)}")


async def _progress(around: Around, number: int) -> httpx.Response:
    told = {"stage": "packages installed", "detail": "5 packages"}
    return await around.unattended("progress", number, told)


async def _built(around: Around, number: int) -> httpx.Response:
    return await around.unattended("built", number, {})


async def _failed(around: Around, number: int) -> httpx.Response:
    return await around.unattended("failed", number, "disk full")


async def _report(around: Around, number: int) -> httpx.Response:
    told = {"hostname": f"web{number}.example.org", "uptime_seconds": 10}
    return await around.unattended("report", number, told)


async def _puppet_facts(around: Around, number: int) -> httpx.Response:
    name = f"web{number}.example.org"
    told = {"name": name, "values": {"os": "labos"}, "timestamp": "2026-01-02T03:04:06Z"}
    return await around.puppet(f"/puppet/facts/{name}", told)


async def _puppet_report(around: Around, number: int) -> httpx.Response:
    told = {"host": f"web{number}.example.org", "reported_at": "2026-01-02 03:04:05 UTC"}
    return await around.puppet("/api/config_reports", {"config_report": told})


async def _register(around: Around, number: int) -> httpx.Response:
    told = {"type": "system", "name": f"web{number}.example.org", "facts": {"cpu.cpu(s)": 2}}
    query = {"owner": OWNER, "activation_keys": f"{KEY},{registration_token(token(number))}"}
    return await around.ask("POST", "/rhsm/consumers", params=query, json=told)


async def _profile(around: Around, number: int) -> httpx.Response:
    told = [
        {"content_type": "rpm", "profile": [{"name": "bash", "version": "5"}]},
        {"content_type": "enabled_repos", "profile": [{"repositoryid": "base", "baseurl": "u"}]},
    ]
    path = f"/rhsm/consumers/{_uuid(number)}/profiles"
    return await around.ask("PUT", path, _identity(number), json=told)


@dataclass(frozen=True)
class Telling:
    """One kind of telling."""

    name: str
    tell: Callable[[Around, int], Awaitable[httpx.Response]]
    when: HostState | None
    """Where a host is that tells it; None: nobody has heard of the host yet."""
    moves: dict[HostState, HostState] = field(default_factory=dict)
    """The states that it ends, and what it moves a host to."""
    kept: str = "told"
    """Under which name in ``Around.seen`` it is found once it was accepted."""
    in_one: bool = True
    """Kept in one transaction."""

    def __str__(self) -> str:
        return self.name


_S = HostState
_ENDS = {_S.REBOOTING: _S.INSTALLED, _S.INSTALLING: _S.INSTALLED}
_FAILS = {_S.REBOOTING: _S.HELD, _S.INSTALLING: _S.HELD}
_ANEW = {_S.CANCELLED: _S.DISCOVERED, _S.RETIRED: _S.DISCOVERED}
TELLINGS = (
    Telling("facts of a new machine", _facts, None, _ANEW),
    Telling("facts of a known machine", _facts, _S.DISCOVERED, _ANEW),
    Telling("kickstart", _kickstart, _S.REBOOTING, {_S.REBOOTING: _S.INSTALLING}, "fetched"),
    Telling("progress", _progress, _S.INSTALLING),
    Telling("built", _built, _S.INSTALLING, _ENDS),
    Telling("failed", _failed, _S.INSTALLING, _FAILS),
    Telling("report", _report, _S.INSTALLED, _ENDS),
    Telling("report where built was lost", _report, _S.INSTALLING, _ENDS),
    Telling("Puppet's facts", _puppet_facts, _S.FIRST_BOOT, kept="facts"),
    Telling("Puppet's report", _puppet_report, _S.FIRST_BOOT),
    Telling("registration", _register, _S.INSTALLING, kept="consumer", in_one=False),
    Telling("profile", _profile, _S.INSTALLING, kept="profile"),
)
