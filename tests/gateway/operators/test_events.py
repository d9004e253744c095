"""Events for programs, over real sockets: pages, and streams that go on where they were."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request

from gateway import sse as streams
from gateway.answers import Refusal, answer_errors
from gateway.context import Gateway
from gateway.live import Hub, hearing
from gateway.operators.api import events as module
from gateway.operators.api.events import events_routes
from gateway.settings import GatewaySettings
from inventory.hosts import move
from inventory.models import Host
from inventory.scope import Scope
from serving.listeners import Listener, served, tcp_socket, url_of
from tests.conftest import Database
from tests.inventory.world import WAY, discovered, later, make_group

STREAM = {"Accept": "text/event-stream"}


@dataclass
class World:
    database: Database
    hub: Hub
    client: httpx.AsyncClient
    scope: Scope | None = field(default_factory=Scope)

    async def discover(self, *numbers: int) -> None:
        for number in numbers:
            await discovered(self.database.sessions, number)

    async def go(self, host: int, count: int) -> None:
        for event, _ in WAY[:count]:
            async with self.database.sessions.begin() as session:
                await move(session, await session.get_one(Host, host), event, later(1))

    async def page(self, **query: Any) -> dict[str, Any]:
        answer = await self.client.get("/api/v1/events", params=query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@asynccontextmanager
async def serving(database: Database, most: int = 500) -> AsyncIterator[World]:
    settings = GatewaySettings(database_url=database.url)
    listener = Listener(tcp_socket("127.0.0.1", 0))
    app = FastAPI(redirect_slashes=False)
    answer_errors(app)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(served(app, [listener]))
        hub = await stack.enter_async_context(hearing(Hub(most), database.url))
        client = httpx.AsyncClient(
            base_url=url_of(listener), timeout=10, limits=httpx.Limits(max_connections=None)
        )
        world = World(database, hub, client)

        async def visible(request: Request) -> Scope:
            if world.scope is None:
                raise Refusal(403, "nothing")
            return world.scope

        app.include_router(
            events_routes(Gateway(settings, database.sessions, lambda: later(0)), hub, visible),
            prefix="/api/v1",
        )
        yield world
    await client.aclose()


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with database.sessions.begin() as session:
        await make_group(session)
    async with serving(database) as made:
        yield made


class Reader:
    """Reads a stream as a browser does."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()
        self.comments: list[str] = []

    async def event(self, timeout: float = 5) -> dict[str, str]:
        """The next one; the fields of an event without data are read over."""
        event: dict[str, str] = {}
        async with asyncio.timeout(timeout):
            async for line in self._lines:
                if not line and "data" in event:
                    return event
                name, _, value = line.partition(": ")
                if name:
                    event[name] = value
                elif value:
                    self.comments.append(value)
        raise EOFError

    async def end(self, timeout: float) -> None:
        with pytest.raises((EOFError, httpx.RemoteProtocolError)):
            await self.event(timeout)


@asynccontextmanager
async def reading(world: World, last: str | None = None, **query: Any) -> AsyncIterator[Reader]:
    headers = STREAM if last is None else {**STREAM, "Last-Event-ID": last}
    async with world.client.stream(
        "GET", "/api/v1/events", params=query, headers=headers
    ) as response:
        assert response.status_code == 200
        yield Reader(response)


async def test_pages_go_from_the_oldest_event_to_the_newest(world: World) -> None:
    await world.discover(1, 2)
    await world.go(1, 2)
    first = await world.page(limit=3)
    assert [one["kind"] for one in first["events"]] == [
        "host.discovered",
        "host.discovered",
        "host.selected",
    ]
    second = await world.page(limit=3, after=first["next"])
    assert [one["kind"] for one in second["events"]] == ["host.preparing"]
    assert second["events"][0]["data"]["was"] == "selected"
    assert await world.page(after=second["next"]) == {"events": [], "next": second["next"]}
    some = await world.page(kind=["host.selected", "host.held"])
    assert [one["kind"] for one in some["events"]] == ["host.selected"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"kind": "host.eaten"}, "host.eaten"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"after": -1}, "after"),
        ({"after": 2**70}, "after"),
        ({"after": "x"}, "after"),
    ],
)
async def test_what_is_asked_wrongly_is_refused(
    world: World, query: dict[str, Any], said: str
) -> None:
    answer = await world.client.get("/api/v1/events", params=query)
    assert answer.status_code == 422
    assert said in answer.text


async def test_everybody_sees_only_what_may_be_seen(world: World) -> None:
    await world.discover(1)
    world.scope = Scope(sites=frozenset({"elsewhere"}))
    assert (await world.page())["events"] == []
    async with reading(world, "0") as reader:
        with pytest.raises(TimeoutError):
            await reader.event(0.5)
    world.scope = None
    assert (await world.client.get("/api/v1/events")).status_code == 403
    assert (await world.client.get("/api/v1/events", headers=STREAM)).status_code == 403


async def test_a_stream_tells_of_an_event_within_a_second(world: World) -> None:
    await world.discover(1)
    async with reading(world) as reader:
        await asyncio.sleep(0.5)
        await world.go(1, 1)
        event = await reader.event(1)
        assert (event["event"], event["id"]) == ("host.selected", "2")
        assert json.loads(event["data"])["host"] == "mac525400000001"
        headers = reader.response.headers
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"
    assert event["retry"] == "2000"


async def test_a_reader_that_comes_again_goes_on_where_it_was(world: World) -> None:
    await world.discover(1)
    async with reading(world, "0") as reader:
        assert (await reader.event())["event"] == "host.discovered"
        await world.go(1, 1)
        last = (await reader.event())["id"]
    # While it is away.
    await world.go(1, 0)
    await world.discover(2, 3)
    async with reading(world, last) as reader:
        told = [json.loads((await reader.event())["data"]) for _ in range(2)]
        assert [one["host_id"] for one in told] == [2, 3]
        await world.go(2, 1)
        assert (await reader.event())["event"] == "host.selected"
    async with reading(world, "0", kind="host.selected") as reader:
        told = [json.loads((await reader.event())["data"]) for _ in range(2)]
        assert [one["host_id"] for one in told] == [1, 2]


async def test_many_events_reach_a_reader_from_the_beginning(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT", 7)
    async with reading(world) as now:
        await asyncio.sleep(0.3)
        await world.discover(*range(1, 31))
        async with reading(world, "0") as old:
            for reader in (now, old):
                ids = [int((await reader.event())["id"]) for _ in range(30)]
                assert ids == list(range(1, 31))


async def test_who_is_ahead_of_a_database_that_was_put_back_hears_what_is_new(
    world: World,
) -> None:
    await world.discover(1)
    async with reading(world, "5000") as reader:
        await asyncio.sleep(0.3)
        await world.go(1, 1)
        assert (await reader.event())["event"] == "host.selected"


async def test_a_bad_last_id_is_refused(world: World) -> None:
    for bad in ("x", "-1", "9" * 30):
        headers = {**STREAM, "Last-Event-ID": bad}
        answer = await world.client.get("/api/v1/events", headers=headers)
        assert answer.status_code == 422


async def test_silence_is_filled_and_readers_that_go_are_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.05)
    async with reading(world) as reader:
        with pytest.raises(TimeoutError):
            await reader.event(0.3)
        assert "still here" in reader.comments
        assert world.hub.streams == 1
    async with asyncio.timeout(5):
        while world.hub.streams:  # noqa: ASYNC110 nobody tells
            await asyncio.sleep(0.01)


async def test_more_streams_than_there_may_be_are_asked_to_come_again(database: Database) -> None:
    async with serving(database, most=2) as world, reading(world), reading(world):
        answer = await world.client.get("/api/v1/events", headers=STREAM)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "10"
        assert "RACKRISE_GATEWAY_STREAMS" in answer.text
        assert (await world.client.get("/api/v1/events")).status_code == 200


async def test_rights_that_are_lost_end_a_stream(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(module, "READ_SECONDS", 0.1)
    async with reading(world) as reader:
        world.scope = None
        await reader.end(5)


async def test_open_streams_do_not_hold_up_the_end_of_the_gateway(database: Database) -> None:
    clock = asyncio.get_running_loop().time
    limits = httpx.Limits(max_connections=None)
    async with AsyncExitStack() as readers:
        client = await readers.enter_async_context(httpx.AsyncClient(limits=limits))
        async with serving(database) as world:
            client.base_url = world.client.base_url
            await world.client.aclose()
            world.client = client
            opened = [await readers.enter_async_context(reading(world)) for _ in range(20)]
            await asyncio.sleep(0.3)
            begun = clock()
        assert clock() - begun < 2
        for one in opened:
            await one.end(1)


async def test_two_hundred_streams_read_the_database_as_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    real = Gateway.transaction

    def counted(gateway: Gateway) -> Any:
        nonlocal count
        count += 1
        return real(gateway)

    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(reading(world)) for _ in range(200)]
        await asyncio.sleep(0.5)
        monkeypatch.setattr(Gateway, "transaction", counted)
        await world.discover(1)
        told = await asyncio.gather(*(one.event(2) for one in opened))
        assert {one["id"] for one in told} == {"1"}
        assert count < 10
