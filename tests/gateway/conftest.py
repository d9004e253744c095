"""A gateway over an empty inventory with one site, and hosts at any point of their lives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_network

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AttributeOID, NameOID
from sqlmodel import col, select
from starlette.types import ASGIApp

from gateway.app import create_app
from gateway.settings import GatewaySettings
from inventory import steps
from inventory.builds import hold, keep_token, keep_tree, set_group
from inventory.hosts import move, take_name
from inventory.life import HostState
from inventory.models import Build, Callback, Host, HostGroup, Puppet, Step
from serving.arrival import Arrival, Marked
from tests.conftest import Database
from tests.inventory.world import WAY, discovered, later, make_group, make_puppet

HOST = "192.0.2.77"
NAME = "web1.example.org"
"""The host with number 1."""
PROXY = "192.0.2.9"


def token(number: int) -> str:
    """The build token of the test's host with a number."""
    return f"token-of-host-{number}"


@dataclass
class World:
    """One gateway and its inventory."""

    database: Database
    group: HostGroup
    settings: GatewaySettings
    seconds: float = 100
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def now(self) -> datetime:
        """A clock that goes on by a second each time it is read."""
        self.seconds += 1
        return later(self.seconds)

    def client(self, address: str = HOST, arrival: Arrival | None = None) -> httpx.AsyncClient:
        """Calls the gateway from an address, over plain HTTP unless it is said otherwise."""
        app: ASGIApp = create_app(self.settings, self.database.sessions, self.now)
        if arrival is not None:
            app = Marked(app, arrival)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 1))
        made = httpx.AsyncClient(transport=transport, base_url="http://gateway")
        self.clients.append(made)
        return made

    async def host(self, number: int, state: HostState) -> tuple[Host, Build]:
        """A host with a token, at a point of its life."""
        host, build = await discovered(self.database.sessions, number)
        async with self.database.sessions.begin() as session:
            host = await session.get_one(Host, host.id)
            await take_name(session, host, f"web{number}.example.org")
            await set_group(session, build, self.group, "test")
            await keep_token(session, build, token(number))
            await keep_tree(session, build, "http://192.0.2.1/tree/")
            for event, target in WAY:
                if host.state is state:
                    break
                await move(session, host, event, later(target is HostState.INSTALLING))
        assert (await self.state(host.id)) is state
        return host, build

    async def hold(self, build: Build, reason: str) -> None:
        async with self.database.sessions.begin() as session:
            await hold(session, build, step=22, reason=reason, advice="", at=later(50))

    async def state(self, host_id: int) -> HostState:
        async with self.database.sessions.begin() as session:
            return (await session.get_one(Host, host_id)).state

    async def build(self, build: Build) -> Build:
        async with self.database.sessions.begin() as session:
            return await session.get_one(Build, build.id)

    async def steps(self, build: Build) -> dict[int, Step]:
        async with self.database.sessions.begin() as session:
            return (await steps.states(session, [build.id]))[build.id]

    async def callbacks(self) -> list[Callback]:
        async with self.database.sessions.begin() as session:
            return list(await session.exec(select(Callback).order_by(col(Callback.id))))


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with database.sessions.begin() as session:
        group = await make_group(session, packages=["@core"], kernel_options="console=ttyS0")
    settings = GatewaySettings(
        database_url=database.url,
        trusted_proxies=(ip_network(PROXY),),
        kickstart_limit=3,
    )
    made = World(database, group, settings)
    yield made
    for client in made.clients:
        await client.aclose()


@pytest.fixture
def client(world: World) -> httpx.AsyncClient:
    """A host's curl."""
    return world.client()


@pytest.fixture
async def puppet(world: World) -> Puppet:
    """The Puppet of the world's host group."""
    async with world.database.sessions.begin() as session:
        puppet = await make_puppet(session)
        group = await session.get_one(HostGroup, world.group.id)
        group.puppet_id = world.group.puppet_id = puppet.id
        group.classes = {"ntp": {"servers": ["192.0.2.1"]}, "base": {}}
        group.parameters = {"role": "web"}
        return puppet


def request_of(
    name: str = NAME, secret: str | None = None, key: ec.EllipticCurvePrivateKey | None = None
) -> bytes:
    """A certificate request as an agent makes it."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if secret is not None:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, secret.encode())
    signed = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)
