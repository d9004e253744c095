"""An office in which there is some of everything, its pages, and a browser before them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from gateway.live import Hub, hearing
from gateway.operators.app import create_operators_app
from gateway.settings import GatewaySettings
from inventory import acts, acts_on_waves, events, rule_book, wave_advance, webhooks
from inventory.models import Door, Host, Role
from inventory.orders import group_named
from inventory.rights import Actor
from inventory.rule_draft import read_draft
from inventory.sealing import Sealer
from inventory.wave_draft import Draft
from serving.listeners import Listener, served, tcp_socket, url_of
from tests.gateway.operators.browser import Window, chromium
from tests.gateway.operators.conftest import PASSWORD, Office
from tests.inventory.test_waves import fail, under_way
from tests.inventory.world import discovered, make_rule

__all__ = ["ADA", "PAGES", "advance", "opened", "some_hosts", "some_rules_and_a_webhook"]

ADA = Actor("ada", Door.CONSOLE, Role.OPERATOR)
PAGES = (
    *("/", "/?state=held", "/held", "/audit", "/people", "/account", "/nowhere"),
    *("/hosts/mac525400000001", "/hosts/web7.example.org", "/hosts/web7.example.org/facts"),
    *("/hosts/web7.example.org/arrows/6", "/hosts/mac525400000001/arrows/14"),
    "/hosts/web7.example.org?generation=9",
    *("/discovered", "/rules", "/rules/new", "/rules/file", "/rules/hand", "/webhooks"),
    "/webhooks?deliveries_of=pager",
    *("/waves", "/waves/new", "/waves/spring"),
)
"""All kinds of pages of ``some_rules_and_a_webhook``, and one that is not there."""


@asynccontextmanager
async def opened(
    office: Office,
    browser: Callable[..., AbstractAsyncContextManager[Window]] = chromium,
    **options: object,
) -> AsyncIterator[tuple[Window, str]]:
    """A window in which an admin has signed in, and the console's address."""
    await office.person("ada", Role.ADMIN)
    listener = Listener(tcp_socket("127.0.0.1", 0))
    hub = Hub(10)
    app = create_operators_app(office.settings, office.database.sessions, hub, office.now)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(served(app, [listener]))
        await stack.enter_async_context(hearing(hub, office.database.url))
        window = await stack.enter_async_context(browser(**options))
        url = url_of(listener)
        await window.page.goto(f"{url}/held")
        await window.page.get_by_label("Name").fill("ada")
        await window.page.get_by_label("Password").fill(PASSWORD)
        await window.page.keyboard.press("Enter")
        await window.page.wait_for_url(f"{url}/held")
        yield window, url


async def some_hosts(office: Office) -> list[Host]:
    """One that is held, three that are discovered, and three on their way as web."""
    sessions = office.database.sessions
    await office.held(1, 14, "DNS 192.0.2.1: the name server refuses the update")
    hosts = []
    for number in range(2, 8):
        host, _ = await discovered(sessions, number)
        if number > 4:
            async with sessions.begin() as session:
                name = f"web{number}"
                await acts.provision(session, ADA, host.name, "web", as_name=name, at=office.now())
        hosts.append(host)
    return hosts


async def advance(office: Office) -> None:
    """Have waves go on as the dispatcher does."""
    async with office.database.sessions.begin() as session:
        await wave_advance.advance(session, office.now())


async def _a_wave(office: Office, hosts: list[Host]) -> None:
    """One whose canary, two hosts, is under way."""
    draft = Draft("spring", "web", tuple(one.name for one in hosts), canary=2, failure_share=0)
    async with office.database.sessions.begin() as session:
        await acts_on_waves.start(session, ADA, draft, at=office.now())
    await advance(office)


async def some_rules_and_a_webhook(office: Office) -> None:
    """These, and a wave of which one host has failed."""
    key = "k" * 40
    office.settings = GatewaySettings(database_url=office.database.url, secret_key=key)
    hand = {"name": "hand", "condition": "cpus > 1", "host_group": "web", "host_name": "x"}
    async with office.database.sessions.begin() as session:
        await make_rule(session, await group_named(session, "web"), name="file")
        await rule_book.create(session, read_draft(hand))
        wanted = webhooks.Wanted("https://example.org/hook")
        sealer = Sealer(key)
        await webhooks.add(session, "pager", wanted, sealer=sealer, made_by="x", at=office.now())
    hosts = await some_hosts(office)
    await _a_wave(office, hosts[:3])
    first, *_ = await under_way(office.database)
    assert first.startswith(hosts[0].name)
    await fail(office.database, first)
    await advance(office)
    async with office.database.sessions.begin() as session:
        await events.publish(session, office.now())
