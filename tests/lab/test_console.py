"""An operator's morning in a real browser: click, watch, break, mend, retry."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from playwright.async_api import Page, expect

from deployments.up import up
from inventory.database import make_engine
from lab.demo import data_directory
from lab.doubles.dns import DnsFault
from lab.simulated.host import Pace
from lab.simulated.site import simulated_site
from tests.gateway.operators.browser import chromium

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

PACE = Pace(firmware=(0.5, 1), discovery=(0, 0.2), install=(0.5, 1), boot=(0, 0.2))
MINUTE = 60_000


async def sign_in(page: Page, url: str, password: str) -> None:
    await page.goto(url)
    await page.get_by_label("Name").fill("admin")
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("heading", name="Fleet").wait_for()


async def test_a_host_is_provisioned_by_clicking_and_goes_on_when_dns_is_mended() -> None:
    async with AsyncExitStack() as stack:
        data = stack.enter_context(data_directory())
        site = await stack.enter_async_context(simulated_site(1, seed=5, pace=PACE))
        here = await stack.enter_async_context(up(site.place(data)))
        assert here.first_password is not None
        engine = make_engine(here.environment["RACKRISE_DATABASE_URL"], pool_size=1)
        stack.push_async_callback(engine.dispose)
        async with engine.begin() as connection:
            # A person is to choose here, not a rule.
            await connection.execute(sa.text("UPDATE discoveryrule SET enabled = false"))
        window = await stack.enter_async_context(chromium(viewport={"width": 1300, "height": 900}))
        page = window.page
        await sign_in(page, here.console_url, here.first_password)
        await site.hosts[0].power_on()

        # It appears by itself where an operator looks next.
        console = page.get_by_role("navigation", name="Console")
        await console.get_by_role("link", name="Discovered").click()
        chosen = page.get_by_role("checkbox", name=re.compile("Choose mac"))
        await chosen.wait_for(timeout=MINUTE)
        site.dns.fault = DnsFault.REFUSED
        await chosen.check()
        # As it boots.
        await page.get_by_label("The ticked hosts become").select_option("PXELinux")
        await page.screenshot(path=data / "discovered.png", full_page=True)
        page.on("dialog", lambda asks: asks.accept())
        await page.get_by_role("button", name="Provision").click()
        await page.get_by_role("status").get_by_text("becomes PXELinux").wait_for()

        # The name server refuses: the host is held there, and says so in the server's own words.
        await console.get_by_role("link", name="Fleet").click()
        await page.get_by_role("table").get_by_role("link").first.click()
        stopped = page.get_by_role("alert")
        await stopped.wait_for(timeout=MINUTE)
        # Asking for the names, and the answer to it.
        await expect(stopped).to_contain_text(re.compile("Held at 1[45] "))
        await expect(stopped).to_contain_text("REFUSED")
        held = page.locator("svg a.held")
        await expect(held).to_have_count(1)
        assert await window.faults() == []
        await page.screenshot(path=data / "held.png", full_page=True)

        # What was sent is behind the arrow.
        await held.click()
        await page.get_by_role("dialog").get_by_text("State").wait_for()
        assert await window.faults() == []
        await page.get_by_role("button", name="Close").click()

        # Mended and retried, it goes to the end while the page is open.
        site.dns.fault = DnsFault.NONE
        await page.get_by_role("button", name=re.compile("^Retry")).click()
        await page.get_by_text("in operation", exact=True).wait_for(timeout=2 * MINUTE)
        await expect(page.locator("svg a.done")).to_have_count(26, timeout=MINUTE)
        await expect(page.locator("svg a.held, svg a.failed, svg a.pending")).to_have_count(0)
        await page.screenshot(path=data / "host.png", full_page=True)
        assert await window.faults() == []
        own = re.sub(r"^https?://|:\d+$", "", here.console_url)
        assert window.strangers(own) == []
        assert window.complaints == []

        # Prefect's own interface is a door as well; it asks nobody elsewhere either.
        prefect = await stack.enter_async_context(chromium(viewport={"width": 1300, "height": 900}))
        await prefect.page.goto(f"{here.prefect_url}/runs")
        await prefect.page.get_by_placeholder("admin:pass").fill(
            here.environment["PREFECT_API_AUTH_STRING"]
        )
        await prefect.page.keyboard.press("Enter")
        await prefect.page.get_by_text("inception").first.wait_for()
        await prefect.page.screenshot(path=data / "prefect.png")
        assert prefect.strangers(urlsplit(here.prefect_url).hostname or "") == []
