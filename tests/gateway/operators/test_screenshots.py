"""The documentation's pictures of the console, taken of a site that stands still.

``pytest tests/gateway/operators/test_screenshots.py --screenshots`` puts them into
``docs/screenshots``; without it they are taken as well, and thrown away.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlmodel import col, select

from inventory import acts, acts_on_waves, builds, rule_book, steps, wave_advance
from inventory.arrows import Evidence
from inventory.hosts import discover, move
from inventory.life import HostState
from inventory.models import Build, Door, Host, Role
from inventory.rights import Actor
from inventory.rule_draft import read_draft
from inventory.wave_draft import Draft
from tests.gateway.operators.browser import Window
from tests.gateway.operators.conftest import Office
from tests.gateway.operators.office_at_work import opened
from tests.inventory.test_waves import arrive
from tests.inventory.world import WAY, later, seen

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

KEPT = Path(__file__).parents[3] / "docs" / "screenshots"
MOST_BYTES = 150_000
ADA = Actor("ada", Door.CONSOLE, Role.ADMIN)
DONE = (5, 6, 11, 17, 21, 27, 29, 34)
"""Up to which arrow a host has come with so many transitions since its discovery."""
WAYS = (7, 7, 7, 4, 2, 7, 3, 5, 4, 7, 6, 2, 4)
"""How many transitions hosts have behind them."""
MIDWAY = "web04.example.org"
REASONS = {
    5: (14, "DNS 192.0.2.1: web05.example.org: the name server refuses the update (NOTAUTH)"),
    12: (14, "DNS 192.0.2.1: web12.example.org: the name server refuses the update (NOTAUTH)"),
    8: (12, "DHCP 192.0.2.1: 192.0.2.27 is reserved for 52:54:00:aa:00:01 already"),
}
"""Which are held, at which arrow, and why."""
PICTURES = {
    "fleet": ("/", "light", (1280, 800)),
    "fleet-dark": ("/", "dark", (1280, 800)),
    "host": (f"/hosts/{MIDWAY}", "light", (1280, 1250)),
    "held": ("/held", "light", (1280, 640)),
    "discovered": ("/discovered", "light", (1280, 640)),
    "rules": ("/rules", "light", (1280, 640)),
    "wave": ("/waves/spring", "light", (1280, 800)),
}


async def site(office: Office) -> None:
    """Thirteen hosts on their way, three held, four that wait, and rules for them."""
    for number in range(1, len(WAYS) + 5):
        async with office.database.sessions.begin() as session:
            facts = {"memorysize_mb": str(4096 * (1 + number % 4) * 4), "processorcount": "16"}
            host, _, _ = await discover(session, seen(number, **facts), site_id=None, at=later(0))
        if number <= len(WAYS):
            await _travel(office, host.name, number)
    async with office.database.sessions.begin() as session:
        for name, condition in (("large", "memory >= 60 GiB"), ("small", "memory < 60 GiB")):
            values = {
                "name": name,
                "condition": condition,
                "host_group": "web",
                "host_name": "web{{ number }}",
                "provision": "when_asked",
            }
            await rule_book.create(session, read_draft(values))


async def _travel(office: Office, found_as: str, number: int) -> None:
    sessions, count = office.database.sessions, WAYS[number - 1]
    at = later(60.0 * number)
    async with sessions.begin() as session:
        name = f"web{number:02}"
        host = await acts.provision(session, ADA, found_as, "web", as_name=name, at=at)
        build = await builds.current_build(session, host.id)
        assert build is not None
        for event, _ in WAY[1:count]:
            await move(session, host, event, at)
        reached = DONE[count]
        if number in REASONS:
            reached = REASONS[number][0] - 1
        asked = range(1, reached + 1)
        await steps.finish(
            session, build.id, asked, evidence=Evidence.OBSERVED, seen="as it should be", at=at
        )
        if number not in REASONS and reached < 34:
            await steps.begin(session, [build.id], reached + 1, None, at)
    if number in REASONS:
        step, reason = REASONS[number]
        async with sessions.begin() as session:
            build = await session.get_one(Build, build.id)
            advice = "See that the server takes it from the proxy; then retry."
            await builds.hold(session, build, step=step, reason=reason, advice=advice, at=at)


async def _wave(office: Office) -> None:
    """The hosts that wait come into a wave: the canary has arrived, the next batch is under way."""
    database = office.database
    async with database.sessions.begin() as session:
        found = await session.exec(
            select(Host.name).where(col(Host.state) == HostState.DISCOVERED).order_by(col(Host.id))
        )
        hosts = tuple(found)
        draft = Draft("spring", "web", hosts, canary=1, growth=2)
        await acts_on_waves.start(session, ADA, draft, at=later(1000))
    for minutes in (0, 1):
        async with database.sessions.begin() as session:
            await wave_advance.advance(session, later(1000 + minutes))
        if not minutes:
            await arrive(database, f"{hosts[0]}.example.org")


async def _take(window: Window, url: str, name: str, to: Path) -> None:
    path, scheme, (width, height) = PICTURES[name]
    await window.page.set_viewport_size({"width": width, "height": height})
    await window.page.emulate_media(
        color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
    )
    await window.page.goto(f"{url}{path}")
    await window.page.get_by_role("heading", level=1).wait_for()
    await window.page.screenshot(path=to / f"{name}.png")
    size = (to / f"{name}.png").stat().st_size
    assert 5_000 < size < MOST_BYTES, name


async def test_pictures_of_the_console(
    office: Office, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await site(office)
    to = KEPT if request.config.getoption("--screenshots") else tmp_path
    async with opened(office, timezone_id="UTC", locale="en-GB") as (window, url):
        await window.page.clock.set_fixed_time(office.now())
        for name in PICTURES:
            if name == "wave":
                await _wave(office)
            await _take(window, url, name, to)
        assert window.complaints == []
    async with office.database.sessions() as session:
        assert (await session.get_one(Host, 4)).name == MIDWAY
