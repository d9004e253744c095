"""A real Chromium before the console: what it loads, what it says, and what axe finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import axe_playwright_python
from playwright.async_api import BrowserContext, Page, async_playwright

__all__ = ["CHROMIUM", "Window", "chromium", "chromium_with_tabs"]

CHROMIUM = "/usr/bin/chromium"
"""Debian's."""
_AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
_SERIOUS = ("serious", "critical")
# As root it has no sandbox; and it is to ask nobody for updates.
_ARGUMENTS = ("--no-sandbox", "--disable-background-networking", "--disable-component-update")
_START_SECONDS = 30


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
        browser = await player.chromium.launch(executable_path=CHROMIUM, args=list(_ARGUMENTS))
        context = await browser.new_context(**options)
        try:
            yield _window(context, await context.new_page())
        finally:
            await browser.close()


@asynccontextmanager
async def chromium_with_tabs() -> AsyncIterator[Window]:
    """A browser as people have it: of its tabs one is seen, and the others are hidden.

    Playwright's own has every page believe that it is seen.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as kept:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *("--headless=new", "--remote-debugging-port=0", f"--user-data-dir={kept}"),
            *(*_ARGUMENTS, "about:blank"),
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            port = await _port(Path(kept))
            async with async_playwright() as player:
                browser = await player.chromium.connect_over_cdp(
                    f"http://127.0.0.1:{port}", no_defaults=True
                )
                (context,) = browser.contexts
                yield _window(context, context.pages[0])
                await browser.close()
        finally:
            process.terminate()
            async with asyncio.timeout(_START_SECONDS):
                await process.wait()


async def _port(kept: Path) -> int:
    async with asyncio.timeout(_START_SECONDS):
        while True:
            if (told := _told_port(kept)) is not None:
                return told
            await asyncio.sleep(0.05)


def _told_port(kept: Path) -> int | None:
    told = kept / "DevToolsActivePort"
    return int(text.splitlines()[0]) if told.exists() and (text := told.read_text()) else None


def _window(context: BrowserContext, page: Page) -> Window:
    context.set_default_timeout(20_000)
    window = Window(context, page)
    page.on("request", lambda one: window.asked.append(one.url))
    page.on(
        "console",
        lambda one: window.complaints.append(one.text) if one.type == "error" else None,
    )
    page.on("pageerror", lambda one: window.complaints.append(str(one)))
    return window
