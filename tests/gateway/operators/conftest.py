"""Console and API over an inventory with hosts, and people of each role."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime

import httpx
import pytest

from gateway.live import Hub
from gateway.operators.app import create_operators_app
from gateway.settings import GatewaySettings
from inventory import builds, people
from inventory.models import Build, Host, Role
from tests.conftest import Database
from tests.inventory.world import discovered, later, make_group

PASSWORD = "correct horse battery"


@dataclass
class Office:
    """The gateway as people reach it."""

    database: Database
    settings: GatewaySettings
    hub: Hub = field(default_factory=Hub)
    seconds: float = 1000
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def now(self) -> datetime:
        return later(self.seconds)

    def browser(self, **headers: str) -> httpx.AsyncClient:
        """One that has not signed in."""
        app = create_operators_app(self.settings, self.database.sessions, self.hub, self.now)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("192.0.2.99", 1))
        made = httpx.AsyncClient(
            transport=transport, base_url="http://console", headers=headers, timeout=10
        )
        self.clients.append(made)
        return made

    async def person(
        self, name: str, role: Role, *, sites: tuple[str, ...] = (), groups: tuple[str, ...] = ()
    ) -> None:
        async with self.database.sessions.begin() as session:
            await people.add(
                session,
                name,
                role=role,
                password=PASSWORD,
                sites=sites,
                host_groups=groups,
                at=self.now(),
            )

    async def api(
        self,
        name: str,
        role: Role = Role.OPERATOR,
        *,
        sites: tuple[str, ...] = (),
        groups: tuple[str, ...] = (),
    ) -> httpx.AsyncClient:
        """A program that speaks in the name of a new person."""
        await self.person(name, role, sites=sites, groups=groups)
        async with self.database.sessions.begin() as session:
            person = await people.named(session, name)
            token = await people.add_token(
                session, person, "test", role=role, lasts=None, at=self.now()
            )
        return self.browser(Authorization=f"Bearer {token}")

    async def held(self, number: int, step: int, reason: str) -> tuple[Host, Build]:
        host, build = await discovered(self.database.sessions, number)
        async with self.database.sessions.begin() as session:
            build = await session.get_one(Build, build.id)
            await builds.hold(
                session, build, step=step, reason=reason, advice="See to it.", at=self.now()
            )
        return host, build


@pytest.fixture
async def office(database: Database) -> AsyncIterator[Office]:
    async with database.sessions.begin() as session:
        await make_group(session)
    settings = GatewaySettings(database_url=database.url)
    made = Office(database, settings)
    yield made
    for one in made.clients:
        await one.aclose()
