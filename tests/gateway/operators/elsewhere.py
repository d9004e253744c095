"""A console whose people sign in at a provider's double, and the way there and back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from sqlmodel import select

from gateway.settings import GatewaySettings
from inventory import audit
from inventory.models import AuditEntry, Person
from inventory.scope import Scope
from lab.doubles.oidc import OidcDouble, oidc_double
from tests.gateway.operators.conftest import Office

__all__ = [
    "CLIENT",
    "CONSOLE",
    "RIGHTS",
    "SECRET",
    "Elsewhere",
    "elsewhere",
    "settings_for",
    "told",
]

CONSOLE = "http://console"
CLIENT = "rackrise"
SECRET = "s3cret: with %signs & more"
RIGHTS = [
    {"group": "racks-admins", "role": "admin"},
    {"group": "web-team", "role": "operator", "host_groups": ["web"]},
    {"group": "ghosts", "role": "viewer", "sites": ["atlantis"]},
]


def settings_for(office: Office, issuer: str, **more: object) -> GatewaySettings:
    """Of a gateway that knows the provider."""
    values: dict[str, object] = {
        "database_url": office.database.url,
        "console_url": CONSOLE,
        "secret_key": "k" * 40,
        "oidc_issuer": issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
        "oidc_name": "Racks",
        "oidc_rights": RIGHTS,
        "oidc_seconds": 5,
    }
    return GatewaySettings.model_validate({**values, **more})


@dataclass
class Elsewhere:
    """The office, and the provider that its people sign in at."""

    office: Office
    provider: OidcDouble
    there: httpx.AsyncClient
    """A browser's connection to the provider."""

    def change(self, **more: object) -> None:
        """Other settings, for browsers that come from now on."""
        self.office.settings = settings_for(self.office, self.provider.issuer, **more)

    async def code_for(
        self, browser: httpx.AsyncClient, subject: str = "7f3a", to: str = "/held"
    ) -> str:
        """Leave, sign in there, and be sent back: the address to come back by."""
        left = await browser.get("/sign-in/oidc", params={"to": to})
        assert left.status_code == 303, left.text
        back = await self.there.post(left.headers["location"], data={"sub": subject})
        assert back.status_code == 303, back.text
        address: str = back.headers["location"]
        assert address.startswith(f"{CONSOLE}/sign-in/oidc/return?")
        return address

    async def sign_in(
        self, browser: httpx.AsyncClient, subject: str = "7f3a", to: str = "/held"
    ) -> httpx.Response:
        """All the way."""
        return await browser.get(await self.code_for(browser, subject, to))

    async def people(self) -> dict[str, Person]:
        """Everybody by name."""
        async with self.office.database.sessions() as session:
            return {one.name: one for one in await session.exec(select(Person))}

    async def refusals(self) -> list[AuditEntry]:
        """What the audit log has of sign-ins that were refused."""
        async with self.office.database.sessions() as session:
            found = await audit.entries(session, Scope())
        return [one for one in found if one.action == "refuse sign-in"]


@asynccontextmanager
async def elsewhere(office: Office) -> AsyncIterator[Elsewhere]:
    """A provider with two people, that the office knows."""
    async with oidc_double(office.now) as provider, httpx.AsyncClient(trust_env=False) as there:
        provider.clients[CLIENT] = (SECRET, f"{CONSOLE}/sign-in/oidc/return")
        provider.people |= {
            "7f3a": {"preferred_username": "ada", "groups": ["all", "racks-admins"]},
            "9b1c": {"preferred_username": "eve", "groups": ["all"]},
        }
        made = Elsewhere(office, provider, there)
        made.change()
        yield made


def told(answer: httpx.Response) -> str:
    """What the page says, in plain words."""
    text = re.sub(r"<[^>]+>", " ", answer.text)
    for entity, sign in (("&#39;", "'"), ("&#34;", '"'), ("&amp;", "&"), ("&lt;", "<")):
        text = text.replace(entity, sign)
    return " ".join(text.split())
