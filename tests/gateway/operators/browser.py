"""A real Chromium before the console: what it loads, what it says, and what axe finds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import axe_playwright_python
from playwright.async_api import BrowserContext, Page, async_playwright

__all__ = ["CHROMIUM", "Window", "chromium"]

CHROMIUM = "/usr/bin/chromium"
"""Debian's."""
_AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
_SERIOUS = ("serious", "critical")


@dataclass
class Window:
    """One window, with all that it asked for and complained of."""

    context: BrowserContext
    page: Page
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def strangers(self, *own: str) -> list[str]:
        """Requests to anything but these hosts."""
        return [one for one in self.asked if urlsplit(one).hostname not in (*own, None)]

    async def faults(self) -> list[str]:
        """What axe finds to be in the way of people who see or use the page in another way."""
        # Evaluated by the browser's debugger, which the page's own policy does not bind.
        await self.page.evaluate(_AXE.read_text())
        found: dict[str, Any] = await self.page.evaluate("axe.run()")
        return [
            f"{one['impact']}: {one['help']}: {node['html'][:200]} {node['failureSummary']}"
            for one in found["violations"]
            if one["impact"] in _SERIOUS
            for node in one["nodes"]
        ]


@asynccontextmanager
async def chromium(**options: Any) -> AsyncIterator[Window]:
    """A window of a browser that is ours alone, without anything kept from before."""
    async with async_playwright() as player:
        browser = await player.chromium.launch(
            executable_path=CHROMIUM,
            # As root it has no sandbox; and it is to ask nobody for updates.
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update"],
        )
        context = await browser.new_context(**options)
        context.set_default_timeout(20_000)
        page = await context.new_page()
        window = Window(context, page)
        page.on("request", lambda one: window.asked.append(one.url))
        page.on(
            "console",
            lambda one: window.complaints.append(one.text) if one.type == "error" else None,
        )
        page.on("pageerror", lambda one: window.complaints.append(str(one)))
        try:
            yield window
        finally:
            await browser.close()
