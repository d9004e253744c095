"""Browsers in which somebody has signed in, and the value that forms of ours hold."""

from __future__ import annotations

import re

import httpx

from inventory.models import HostGroup, Role, Site
from inventory.orders import group_named
from tests.gateway.operators.conftest import PASSWORD, Office

__all__ = ["another_place", "form_of", "signed_in"]


async def another_place(office: Office) -> None:
    """A site ``elsewhere`` and a host group ``db``, to be limited to."""
    async with office.database.sessions.begin() as session:
        web = await group_named(session, "web")
        session.add(HostGroup(**{**web.model_dump(exclude={"id"}), "name": "db"}))
        session.add(Site(name="elsewhere", gateway_url="http://elsewhere.example.org"))


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
