"""A client that is generated from the API's own document does all that a program wants of it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from docs.generate.client import generate_client
from docs.generate.http import operators_document
from gateway.live import Hub
from gateway.operators.app import create_operators_app
from inventory.life import HostState
from inventory.models import Host, Role
from serving.listeners import Listener, served, tcp_socket, url_of
from tests.gateway.operators.conftest import Office
from tests.inventory.world import discovered


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("client") / "project"
    assert "warning" not in generate_client(directory).lower()
    sys.path.insert(0, str(directory))
    yield directory
    sys.path.remove(str(directory))
    for name in [one for one in sys.modules if one.partition(".")[0] == "rackrise_client"]:
        del sys.modules[name]


def part(name: str) -> Any:
    """A module of the client, which no type checker has seen."""
    return importlib.import_module(f"rackrise_client.{name}")


@asynccontextmanager
async def client(office: Office, role: Role = Role.OPERATOR) -> AsyncIterator[Any]:
    api = await office.api("robot", role)
    token = api.headers["Authorization"].removeprefix("Bearer ")
    app = create_operators_app(office.settings, office.database.sessions, Hub(), office.now)
    listener = Listener(tcp_socket("127.0.0.1", 0))
    async with served(app, [listener]):
        made = part("client").AuthenticatedClient(base_url=url_of(listener), token=token)
        async with made as client:
            yield client


def test_every_operation_is_a_function_with_a_name_of_its_own(generated: Path) -> None:
    operations = [
        (operation["tags"][0], operation["operationId"])
        for item in operators_document()["paths"].values()
        for operation in item.values()
    ]
    assert len({name for _, name in operations}) == len(operations) > 30
    for tag, name in operations:
        module = part(f"api.{tag}.{name}")
        assert callable(module.sync)
        assert callable(module.asyncio)


async def test_hosts_are_listed_page_by_page(generated: Path, office: Office) -> None:
    for number in range(1, 6):
        await discovered(office.database.sessions, number)
    names, after = [], ""
    async with client(office) as api:
        while after is not None:
            page = await part("api.hosts.list_hosts").asyncio(client=api, after=after, limit=2)
            assert len(page.hosts) <= 2
            names += [one.name for one in page.hosts]
            after = page.next_
        counts = await part("api.hosts.get_counts").asyncio(client=api)
    assert names == [f"mac52540000000{number}" for number in range(1, 6)]
    assert counts.by_state.to_dict() == {"discovered": 5}


async def test_a_host_is_provisioned_once_however_often_it_is_asked(
    generated: Path, office: Office
) -> None:
    host, _ = await discovered(office.database.sessions)
    async with client(office) as api:

        async def provision(group: str, key: str) -> Any:
            return await part("api.hosts.provision_host").asyncio(
                host.name,
                client=api,
                body=part("models").Provision(host_group=group, name="web1"),
                idempotency_key=key,
            )

        refused = await provision("none", "first")
        first, again = await provision("web", "second"), await provision("web", "second")
        other = await provision("other", "second")
        seen = await part("api.hosts.get_host").asyncio(first.name, client=api)
    assert isinstance(refused, part("models").Refused)
    assert "none" in refused.message
    assert (first.name, first.state) == ("web1.example.org", HostState.SELECTED)
    assert again == first
    assert isinstance(other, part("models").Refused)
    assert seen.row.state == "selected"
    async with office.database.sessions() as session:
        assert [one.name for one in await session.exec(select(Host))] == ["web1.example.org"]


async def test_what_is_refused_says_why_and_with_which_status(
    generated: Path, office: Office
) -> None:
    host, _ = await discovered(office.database.sessions)
    async with client(office, Role.VIEWER) as api:
        answer = await part("api.hosts.decommission_host").asyncio_detailed(host.name, client=api)
        unknown = await part("api.hosts.get_host").asyncio_detailed("nobody", client=api)
        stranger = part("client").AuthenticatedClient(base_url=api._base_url, token="rr_wrong")
        unsigned = await part("api.hosts.list_hosts").asyncio_detailed(client=stranger)
    assert answer.status_code == 403
    assert "it takes the role operator" in answer.parsed.message
    assert unknown.status_code == 404
    assert "nobody" in unknown.parsed.message
    assert unsigned.status_code == 401
