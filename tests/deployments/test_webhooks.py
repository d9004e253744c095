"""What receivers of webhooks are really sent, over real sockets, whatever they do."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import random
import signal
import sys
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from sqlmodel import col, select

from deployments import webhooks as module
from deployments.webhooks import Webhooks, delay, tell_webhooks
from integrations import webhook as sending
from integrations.webhook import Rules
from inventory import deliveries, events, webhooks
from inventory.hosts import move
from inventory.models import Delivery, Host, Webhook
from inventory.sealing import Sealer
from inventory.webhooks import BadWebhook, UnknownWebhook, Wanted
from tests.conftest import Database
from tests.inventory.world import WAY, discovered, later, make_group

KEY = "k" * 40
LOOPBACK = Rules(loopback=True)


@dataclass
class Got:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, object]:
        return dict(json.loads(self.body))


@dataclass
class Receiver:
    """An HTTP server that does what a test wants."""

    status: int = 204
    headers: str = ""
    hangs: bool = False
    got: list[Got] = field(default_factory=list)
    port: int = 0
    on_request: Callable[[], Awaitable[None]] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?a=b"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                path = line.decode().split()[1]
                headers = {}
                while (line := await reader.readline()).strip():
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.got.append(Got(path, headers, body))
                if self.on_request is not None:
                    await self.on_request()
                if self.hangs:
                    await asyncio.sleep(3600)
                writer.write(
                    f"HTTP/1.1 {self.status} x\r\n{self.headers}Content-Length: 0\r\n\r\n".encode()
                )
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving(**how: object) -> AsyncIterator[Receiver]:
    receiver = Receiver(**how)  # type: ignore[arg-type]
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(receiver.serve(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks)


class World:
    """An inventory, a sender with its clock, and what is owed."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.sessions = database.sessions
        self.sealer = Sealer(KEY)
        self.seconds = 0.0
        self.sender = self.another()

    def another(self, rules: Rules = LOOPBACK) -> Webhooks:
        return Webhooks(self.sessions, self.sealer, rules, self.now, random.Random(1))

    def now(self) -> datetime:
        return later(self.seconds)

    async def hook(self, url: str, name: str = "hook", **more: tuple[str, ...]) -> str:
        async with self.sessions.begin() as session:
            _, secret = await webhooks.add(
                session,
                name,
                Wanted(url, **more),
                sealer=self.sealer,
                made_by="test",
                at=self.now(),
            )
            return secret

    async def round(self, sender: Webhooks | None = None) -> None:
        sender = sender or self.sender
        await sender.round()
        async with asyncio.timeout(30):
            await sender.idle()

    async def owed(self, name: str = "hook") -> list[Delivery]:
        async with self.sessions() as session:
            found = await webhooks.named(session, name)
            rows = await session.exec(
                select(Delivery).where(Delivery.webhook_id == found.id).order_by(col(Delivery.id))
            )
            return list(rows)

    async def discover(self, *numbers: int) -> None:
        for number in numbers:
            await discovered(self.sessions, number)

    async def go(self, host: int, count: int) -> None:
        for event, _ in WAY[:count]:
            async with self.sessions.begin() as session:
                await move(session, await session.get_one(Host, host), event, self.now())


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with database.sessions.begin() as session:
        await make_group(session)
    made = World(database)
    yield made
    await made.sender.stop()


def verify(secret: str, got: Got) -> bool:
    """As a receiver does it by the words of Standard Webhooks, with nothing of ours."""
    signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    key = b64decode(secret.split("_", 1)[1])
    right = b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(
        hmac.compare_digest(one.split(",", 1)[1], right)
        for one in got.headers["webhook-signature"].split()
        if one.startswith("v1,")
    )


async def test_an_event_is_delivered_as_a_signed_cloud_event(world: World) -> None:
    async with receiving() as receiver:
        secret = await world.hook(receiver.url)
        await world.discover(1)
        await world.round()
    (got,) = receiver.got
    assert got.path == "/hook?a=b"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["content-type"] == "application/cloudevents+json"
    assert verify(secret, got)
    assert not verify(secret, Got(got.path, got.headers, got.body + b" "))
    said = got.event
    assert said["id"] == got.headers["webhook-id"]
    assert {name: said[name] for name in ("specversion", "source", "type", "subject", "time")} == {
        "specversion": "1.0",
        "source": "/rackrise/sites/lab",
        "type": "dev.rackrise.host.discovered",
        "subject": "mac525400000001",
        "time": "2026-01-02T03:04:05+00:00",
    }
    (row,) = await world.owed()
    assert (row.delivered_at, row.next_at, row.last_status) == (world.now(), None, 204)
    await world.round()
    assert len(receiver.got) == 1


async def test_a_webhook_hears_what_it_asked_for_from_the_time_it_was_made(world: World) -> None:
    await world.discover(1)
    await world.round()
    async with receiving() as receiver:
        await world.hook(receiver.url, "all")
        await world.hook(receiver.url, "kinds", kinds=("host.selected",))
        await world.hook(receiver.url, "elsewhere", sites=("berlin",))
        await world.hook(receiver.url, "group", host_groups=("web",))
        await world.hook(receiver.url, "off")
        async with world.sessions.begin() as session:
            await webhooks.change(session, "off", enabled=False, why="test")
        await world.discover(2)
        await world.go(1, 1)
        await world.round()
    counts = {name: len(await world.owed(name)) for name in ("all", "kinds", "elsewhere", "group")}
    assert counts == {"all": 2, "kinds": 1, "elsewhere": 0, "group": 0}
    assert await world.owed("off") == []
    assert len(receiver.got) == 3


async def test_what_is_refused_comes_again_later_and_later_until_it_is_taken(
    world: World,
) -> None:
    async with receiving(status=500) as receiver:
        await world.hook(receiver.url)
        await world.discover(1)
        await world.round()
        (row,) = await world.owed()
        assert (row.attempts, row.last_status, row.delivered_at) == (1, 500, None)
        assert row.last_error == "the receiver answered 500"
        await world.round()
        assert len(receiver.got) == 1, "it is not due yet"
        world.seconds = 10
        await world.round()
        receiver.status = 200
        world.seconds = 60
        await world.round()
    assert len({one.headers["webhook-id"] for one in receiver.got}) == 1
    assert len({one.headers["webhook-timestamp"] for one in receiver.got}) == 3
    (row,) = await world.owed()
    assert (row.attempts, row.last_error, row.next_at) == (3, "", None)


async def test_after_a_day_it_is_given_up_and_can_be_sent_again_by_hand(world: World) -> None:
    async with receiving(status=503, headers="Retry-After: 120\r\n") as receiver:
        await world.hook(receiver.url)
        await world.discover(1)
        await world.round()
        (row,) = await world.owed()
        assert row.next_at == later(120), "as long as the receiver wants"
        while row.next_at is not None:
            world.seconds = (row.next_at - later(0)).total_seconds()
            await world.round()
            (row,) = await world.owed()
        assert timedelta(hours=18) < timedelta(seconds=world.seconds) <= timedelta(days=1)
        assert 10 < row.attempts < 20
        assert row.last_error.startswith(f"given up after {row.attempts} attempts; the receiver")
        async with world.sessions.begin() as session:
            assert await events.forget(session, later(world.seconds)) == 1
        await world.discover(2)
        receiver.status = 410
        await world.round()
        (row,) = await world.owed()
        async with world.sessions.begin() as session:
            hook = await webhooks.change(session, "hook", enabled=True)
            assert hook.disabled_why == ""
            assert await webhooks.list_all(session) == [hook]
            assert await deliveries.redeliver(session, "hook", at=world.now()) == 1
        receiver.status = 204
        await world.round()
    (row,) = await world.owed()
    assert (row.attempts, row.delivered_at) == (1, world.now())


async def test_a_receiver_that_is_gone_is_told_nothing_more(world: World) -> None:
    async with receiving(status=410) as receiver:
        await world.hook(receiver.url)
        await world.discover(1)
        await world.round()
        await world.discover(2)
        await world.round()
    assert len(receiver.got) == 1
    async with world.sessions() as session:
        hook = await webhooks.named(session, "hook")
    assert not hook.enabled
    assert "410" in hook.disabled_why
    (row,) = await world.owed()
    assert (row.next_at, row.delivered_at) == (None, None)
    assert "given up" in row.last_error


async def test_a_redirect_is_not_followed(world: World) -> None:
    async with receiving() as elsewhere:
        headers = f"Location: {elsewhere.url}\r\nSet-Cookie: a=b\r\n"
        async with receiving(status=307, headers=headers) as receiver:
            await world.hook(receiver.url)
            await world.discover(1)
            await world.round()
            (row,) = await world.owed()
            assert "redirect" in row.last_error
            world.seconds = 60
            await world.round()
    assert elsewhere.got == []
    assert "cookie" not in receiver.got[1].headers


async def test_a_receiver_that_hangs_keeps_no_other_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SEND_SECONDS", 3.0)
    async with receiving(hangs=True) as slow, receiving() as quick:
        await world.hook(slow.url, "slow")
        await world.hook(quick.url, "quick")
        await world.discover(*range(1, 21))
        await world.sender.round()
        async with asyncio.timeout(2.5):
            while len(quick.got) < 20:  # noqa: ASYNC110 nobody tells
                await asyncio.sleep(0.02)
        assert len(slow.got) == module.AT_ONCE
        # New ones are sent though the other still hangs.
        await world.discover(21)
        await world.sender.round()
        async with asyncio.timeout(2.5):
            while len(quick.got) < 21:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await world.sender.stop()


async def test_no_answer_in_time_and_no_receiver_are_told_as_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SEND_SECONDS", 0.2)
    async with receiving(hangs=True) as receiver:
        await world.hook(receiver.url)
        await world.discover(1)
        await world.round()
        assert (await world.owed())[0].last_error == "no answer within 0.2 s"
    world.seconds = 60
    await world.round()
    (row,) = await world.owed()
    assert (row.attempts, row.last_status) == (2, None)
    assert row.last_error.startswith("no answer: ")
    assert row.next_at is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/",
        "http://[fe80::1]/",
        "http://127.0.0.1:1/",
        "http://2130706433/",
        "http://0.0.0.0:1/",
        "http://[::1]:1/",
        "http://localhost:1/",
        "http://[64:ff9b::a9fe:a9fe]/",
    ],
)
async def test_nothing_is_sent_where_it_may_not_go(world: World, url: str) -> None:
    await world.hook(url)
    await world.discover(1)
    await world.round(world.another(Rules()))
    (row,) = await world.owed()
    assert "its network is denied" in row.last_error


async def test_a_site_may_deny_more(world: World) -> None:
    from ipaddress import ip_network

    async with receiving() as receiver:
        await world.hook(receiver.url.replace("127.0.0.1", "localhost"))
        await world.discover(1)
        await world.round(world.another(Rules((ip_network("192.0.2.0/24"),), loopback=True)))
        assert len(receiver.got) == 1
        assert receiver.got[0].headers["host"] == f"localhost:{receiver.port}"
    assert Rules((ip_network("192.0.2.0/24"),)).refuses("192.0.2.7")
    assert not Rules().refuses("192.0.2.7")


async def test_events_of_one_host_come_in_their_order(world: World) -> None:
    async with receiving() as receiver:
        await world.hook(receiver.url)
        await world.discover(1, 2, 3)
        await asyncio.gather(*(world.go(host, 7) for host in (1, 2, 3)))
        others = [world.another() for _ in range(3)]
        await asyncio.gather(*(world.round(one) for one in others))
    # Several senders may come to the same host one after the other.
    assert len(receiver.got) == len({one.headers["webhook-id"] for one in receiver.got}) == 24
    for host in (1, 2, 3):
        name = f"mac52540000000{host}"
        kinds = [str(one.event["type"]) for one in receiver.got if one.event["subject"] == name]
        way = ["dev.rackrise.host.discovered", *(f"dev.rackrise.host.{one}" for _, one in WAY)]
        assert kinds == way


async def test_an_event_that_is_never_taken_does_not_stop_its_host_for_long(world: World) -> None:
    async with receiving(status=400) as receiver:
        await world.hook(receiver.url)
        await world.discover(1)
        await world.go(1, 1)
        for seconds in (0, 10, 100):
            world.seconds = seconds
            await world.round()
        kinds = [str(one.event["type"]).rpartition(".")[2] for one in receiver.got]
    assert kinds == ["discovered", "discovered", "discovered", "selected"]


DIES = """
import asyncio, os, sys
from deployments.webhooks import Webhooks
from integrations.webhook import Rules
from inventory.database import make_engine, make_sessions
from inventory.sealing import Sealer
from tests.inventory.world import later

async def main():
    sessions = make_sessions(make_engine(sys.argv[1]))
    sender = Webhooks(sessions, Sealer("k" * 40), Rules(loopback=True), lambda: later(0))
    await sender.round()
    await sender.idle()

asyncio.run(main())
"""


async def test_a_sender_that_is_killed_after_it_has_sent_loses_nothing(world: World) -> None:
    killed = asyncio.Event()
    async with receiving() as receiver:
        await world.hook(receiver.url)
        await world.discover(1, 2)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", DIES, world.database.url
        )

        async def kill() -> None:
            if not killed.is_set():
                killed.set()
                os.kill(process.pid, signal.SIGKILL)
                await process.wait()

        receiver.on_request = kill
        async with asyncio.timeout(60):
            await process.wait()
        assert killed.is_set()
        first = {one.headers["webhook-id"] for one in receiver.got}
        assert 1 <= len(first) <= 2
        rows = await world.owed()
        assert [one.delivered_at for one in rows] == [None, None], "it died before it could say so"
        await world.round()
        assert len(receiver.got) == len(first), "they are the dead one's for a minute"
        world.seconds = module.LEASE.total_seconds() + 1
        await world.round()
    rows = await world.owed()
    assert all(one.delivered_at is not None for one in rows)
    assert len({one.headers["webhook-id"] for one in receiver.got}) == 2


async def test_what_is_owed_is_not_forgotten(world: World) -> None:
    async with receiving(status=500) as receiver:
        await world.hook(receiver.url)
        await world.discover(1)
        await world.round()
        async with world.sessions.begin() as session:
            assert await events.forget(session, later(90 * 86400)) == 0
        receiver.status = 200
        world.seconds = 60
        await world.round()
    async with world.sessions.begin() as session:
        assert await events.forget(session, later(90 * 86400)) == 1


async def test_it_hears_of_events_and_sends_until_it_is_cancelled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_SECONDS", 60.0)
    async with receiving() as receiver:
        await world.hook(receiver.url)
        telling = tell_webhooks(world.database.url, world.sessions, world.sealer, LOOPBACK)
        running = asyncio.create_task(telling)
        await asyncio.sleep(0.5)
        await world.discover(1)
        async with asyncio.timeout(1):
            while not receiver.got:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_secret_is_sealed_and_another_key_is_told(world: World) -> None:
    async with receiving() as receiver:
        secret = await world.hook(receiver.url)
        async with world.sessions() as session:
            (row,) = await session.exec(select(Webhook))
        assert secret[6:20] not in row.sealed_secret
        await world.discover(1)
        stranger = Webhooks(world.sessions, Sealer("x" * 40), LOOPBACK, world.now)
        await world.round(stranger)
        assert "another RACKRISE_SECRET_KEY" in (await world.owed())[0].last_error
        world.seconds = 60
        await world.round()
    assert verify(secret, receiver.got[0])


@pytest.mark.parametrize(
    ("url", "kinds", "secret", "said"),
    [
        ("ftp://example.org", (), None, "must begin with https"),
        ("https://user:pass@example.org/", (), None, "must have no user"),
        ("https://exa mple.org/", (), None, "printable ASCII"),
        ("https://example.org:99999/", (), None, "is none"),
        ("https:///path", (), None, "and a host"),
        ("https://example.org/", ("host.eaten",), None, "there is no event host.eaten"),
        ("https://example.org/", (), "secret", "24 to 64 bytes"),
        ("https://example.org/", (), "whsec_c2hvcnQ=", "24 to 64 bytes"),
    ],
)
async def test_a_webhook_that_cannot_be_is_refused_with_why(
    world: World, url: str, kinds: tuple[str, ...], secret: str | None, said: str
) -> None:
    async with world.sessions.begin() as session:
        with pytest.raises(BadWebhook, match=said):
            await webhooks.add(
                session,
                "hook",
                Wanted(url, kinds),
                sealer=world.sealer,
                made_by="test",
                at=world.now(),
                secret=secret,
            )
        assert await webhooks.list_all(session) == []


async def test_webhooks_are_changed_and_removed_by_name(world: World) -> None:
    async with receiving() as receiver:
        await world.hook("http://192.0.2.1/")
        with pytest.raises(BadWebhook, match="already"):
            await world.hook(receiver.url)
        secret = "whsec_" + b64encode(b"x" * 32).decode()
        async with world.sessions.begin() as session:
            await webhooks.change(
                session, "hook", Wanted(receiver.url), secret=secret, sealer=world.sealer
            )
        await world.discover(1)
        await world.round()
        assert verify(secret, receiver.got[0])
    async with world.sessions.begin() as session:
        rows = await deliveries.of_webhook(session, "hook")
        assert [event.kind for _, event in rows] == ["host.discovered"]
        await webhooks.remove(session, "hook")
        with pytest.raises(UnknownWebhook, match="there are: none"):
            await webhooks.named(session, "hook")


def test_delays_grow_to_hours_and_are_spread() -> None:
    rng = random.Random(7)
    delays = [delay(attempt, rng) for attempt in range(1, 30)]
    assert timedelta(seconds=3) < delays[0] < timedelta(seconds=7)
    assert max(delays) < timedelta(hours=5)
    assert timedelta(hours=3) <= min(delays[10:])
    assert len({delay(5, rng) for _ in range(9)}) == 9
