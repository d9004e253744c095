"""Browsers in which somebody has signed in, and the value that forms of ours hold."""

from __future__ import annotations

import re

import httpx

from inventory.models import Role
from tests.gateway.operators.conftest import PASSWORD, Office

__all__ = ["form_of", "signed_in"]


async def signed_in(
    office: Office,
    name: str = "ada",
    role: Role = Role.OPERATOR,
    *,
    sites: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
) -> httpx.AsyncClient:
    """A browser of a new person."""
    await office.person(name, role, sites=sites, groups=groups)
    browser = office.browser()
    answer = await browser.post("/sign-in", data={"name": name, "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    return browser


async def form_of(browser: httpx.AsyncClient) -> str:
    """The value by which forms are known as ours."""
    found = re.search(r'name="form" value="([0-9a-f]{64})"', (await browser.get("/account")).text)
    assert found is not None
    return found[1]
