"""The RHSM front over real TLS, before a Candlepin whose every exchange is judged."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.rhsm.app import create_rhsm_app
from integrations.candlepin import Candlepin
from inventory import consumers
from inventory.builds import registration_token
from inventory.life import HostState
from inventory.models import Build, Consumer, Host, HostGroup
from lab.authority import Authority
from lab.doubles.candlepin import CandlepinDouble
from serving.listeners import Listener, served, tcp_socket, tls_context, url_of
from tests.gateway.conftest import World, token
from tests.integrations.candlepin.sites import transport_of
from tests.integrations.candlepin.strict import DOCUMENT, Judge
from tests.inventory.world import make_candlepin

OWNER, KEY, ENVIRONMENT = "ACME", "web", "prod"


def name_of(number: int) -> str:
    return f"web{number}.example.org"


def keys_of(number: int) -> str:
    """What the kickstart of the host with a number has as activation keys."""
    return f"{KEY},{registration_token(token(number))}"


@dataclass
class Identity:
    """A host's certificate and key as files, as its client keeps them."""

    uuid: str
    certificate: Path
    key: Path


@dataclass
class Fronted:
    """A front, its hosts, and the Candlepin behind it."""

    world: World
    double: CandlepinDouble
    judge: Judge
    url: str
    ca: Path
    """Of the front's own certificate."""
    directory: Path
    asked: list[httpx.Request] = field(default_factory=list)
    """What Candlepin was asked, as it came there."""
    instead: list[httpx.MockTransport] = field(default_factory=list)
    """Answers in Candlepin's place, if there is one."""

    def context(self, identity: Identity | None = None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=self.ca)
        if identity is not None:
            made.load_cert_chain(identity.certificate, identity.key)
        return made

    async def ask(
        self, method: str, path: str, identity: Identity | None = None, **more: Any
    ) -> httpx.Response:
        """What a host is answered; ``path`` is below ``/rhsm``."""
        async with httpx.AsyncClient(verify=self.context(identity), timeout=30) as http:
            return await http.request(method, f"{self.url}{path}", **more)

    def ask_plainly(
        self, method: str, raw: str, identity: Identity | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """The same with a path and headers that no good client would send."""
        place = urlsplit(self.url)
        connection = http.client.HTTPSConnection(
            place.hostname or "", place.port, context=self.context(identity), timeout=20
        )
        try:
            connection.putrequest(method, raw, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    async def register(
        self,
        number: int,
        *,
        name: str | None = None,
        owner: str = OWNER,
        keys: str | None = None,
        **more: Any,
    ) -> httpx.Response:
        """Register as the real client does, type as a bare word and facts as numbers."""
        called = name or name_of(number)
        body = {
            "type": "system",
            "name": called,
            "facts": {"network.fqdn": called, "cpu.cpu(s)": 2, "virt.is_guest": True, "x": None},
            "installedProducts": [],
            "contentTags": [],
            "role": "",
            "addOns": [],
            "usage": "",
            "serviceLevel": "",
            **more,
        }
        query = {"owner": owner, "activation_keys": keys_of(number) if keys is None else keys}
        return await self.ask("POST", "/consumers", params=query, json=body)

    async def registered(
        self, number: int, state: HostState = HostState.INSTALLING
    ) -> tuple[Identity, Host, Build]:
        """A host that has registered in its installer."""
        host, build = await self.world.host(number, state)
        answer = await self.register(number)
        assert answer.status_code == 200, answer.text
        return self.identity(answer.json()), host, build

    def identity(self, document: Mapping[str, Any]) -> Identity:
        return self.kept(document["uuid"], document["idCert"])

    def kept(self, uuid: str, certificate: Mapping[str, Any]) -> Identity:
        stem = self.directory / uuid
        made = Identity(uuid, stem.with_suffix(".pem"), stem.with_suffix(".key"))
        made.certificate.write_text(certificate["cert"])
        made.key.write_text(certificate["key"])
        return made

    def expired(self, uuid: str) -> Identity:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        issued = self.double.state.ca.identity(uuid, "old", OWNER, until=yesterday)
        return self.kept(uuid, {"cert": issued.certificate, "key": issued.key})

    async def consumer(self, host: Host) -> Consumer | None:
        async with self.world.database.sessions.begin() as session:
            return await consumers.of_host(session, host.id)

    async def errors(self, answer: httpx.Response) -> str:
        """The sentence that the client shows."""
        told = answer.json()
        assert told["errors"] == [told["displayMessage"]]
        return str(told["displayMessage"])


class _Recording(httpx.AsyncBaseTransport):
    def __init__(
        self,
        behind: httpx.AsyncBaseTransport,
        asked: list[httpx.Request],
        instead: list[httpx.MockTransport],
    ) -> None:
        self._behind, self._asked, self._instead = behind, asked, instead

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._asked.append(request)
        way = self._instead[-1] if self._instead else self._behind
        return await way.handle_async_request(request)


@pytest.fixture
def settings() -> dict[str, Any]:
    """What the front's settings are besides; a test may have others."""
    return {}


@pytest.fixture
async def front(world: World, tmp_path: Path, settings: dict[str, Any]) -> AsyncIterator[Fronted]:
    double, judge, asked = CandlepinDouble(), Judge(), list[httpx.Request]()
    instead: list[httpx.MockTransport] = []
    async with world.database.sessions.begin() as session:
        candlepin = await make_candlepin(session, double.url)
        group = await session.get_one(HostGroup, world.group.id)
        for each in (group, world.group):
            each.candlepin_id, each.owner, each.activation_key = candlepin.id, OWNER, KEY
            each.content_environments = [ENVIRONMENT]
    chosen = world.settings.model_copy(update=settings)
    authority = Authority(tmp_path, "front-ca")
    own = authority.sign("rackrise.example.org")
    candlepin_ca = tmp_path / "candlepin-ca.pem"
    candlepin_ca.write_text(double.state.ca.certificate)
    listener = Listener(
        tcp_socket("127.0.0.1", 0), tls_context(own.certificate, own.key, candlepin_ca)
    )

    behind = transport_of(double, judge)
    assert behind is not None
    async with Candlepin(double.settings(), transport=_Recording(behind, asked, instead)) as client:
        await client.create_owner(OWNER)
        await client.create_environment(OWNER, ENVIRONMENT, "Library/prod")
        await client.create_activation_key(OWNER, KEY)
        app = create_rhsm_app(chosen, world.database.sessions, client, world.now)
        async with served(app, [listener]):
            url = f"{url_of(listener)}/rhsm"
            yield Fronted(world, double, judge, url, authority.file, tmp_path, asked, instead)
    assert judge.judged or not DOCUMENT.exists()
    assert judge.violations == [], json.dumps(judge.violations, indent=1)
