"""Discovered hosts in the console: what they say is text, and many are provisioned at once."""

from __future__ import annotations

import pytest
from sqlmodel import col, select

from inventory import hosts
from inventory.life import HostState
from inventory.models import AuditEntry, Host, Role
from inventory.orders import group_named
from tests.gateway.operators.conftest import Office
from tests.gateway.operators.forms import another_place, form_of, signed_in
from tests.inventory.world import T0, make_rule, seen

FACTS = {"memorysize_mb": "65536.00", "processorcount": "16", "serialnumber": "S1"}


async def some(office: Office, count: int, **facts: str) -> list[str]:
    names = []
    for number in range(1, count + 1):
        async with office.database.sessions.begin() as session:
            host, _, _ = await hosts.discover(
                session, seen(number, **FACTS, **facts), site_id=None, at=T0
            )
            names.append(host.name)
    return names


async def states(office: Office) -> dict[str, HostState]:
    async with office.database.sessions() as session:
        found = await session.exec(select(Host).order_by(col(Host.id)))
        return {one.name: one.state for one in found}


async def test_a_host_shows_what_it_is_and_which_rule_takes_it(office: Office) -> None:
    planted = "<script>alert(1)</script>"
    (name,) = await some(office, 1, manufacturer=planted, productname="R640")
    browser = await signed_in(office)
    assert "There are no rules." in (await browser.get("/discovered")).text
    async with office.database.sessions.begin() as session:
        group = await group_named(session, "web")
        condition = f"vendor == '{planted}' and cpus == 16"
        await make_rule(session, group, name=f"r{planted}", condition=condition)
    page = (await browser.get("/discovered")).text
    assert planted not in page
    for words in (name, "R640", "S1", "64.0 GiB", "52:54:00:00:00:01", "its condition is true"):
        assert words in page, words
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "No discovered host is like this" in (await browser.get("/discovered?text=zz")).text


async def test_many_are_provisioned_at_once_and_one_is_refused(office: Office) -> None:
    first, second, third = await some(office, 3)
    browser = await signed_in(office)
    form = await form_of(browser)
    one = {"form": form, "host_group": "web", "host": [second], "name": "w2"}
    assert (await browser.post("/discovered/provision", data=one)).status_code == 303
    await browser.get("/discovered")
    # The second has gone from under its name meanwhile; the others are not kept from it.
    many = {"form": form, "host_group": "web", "host": [third, "w2.example.org", second, first]}
    answer = await browser.post("/discovered/provision", data=many)
    assert answer.headers["location"] == "/discovered", answer.text
    said = (await browser.get("/discovered")).text
    assert f"{first}, {third} become web" in said
    assert "2 refused:" in said
    assert "the host w2.example.org is selected" in said
    assert f"there is no host &#39;{second}&#39;" in said
    assert set((await states(office)).values()) == {HostState.SELECTED}
    async with office.database.sessions() as session:
        log = [one.about for one in await session.exec(select(AuditEntry))]
    assert len(log) == 3
    assert "host w2.example.org" in log


async def test_a_name_is_for_one_host(office: Office) -> None:
    names = await some(office, 2)
    browser = await signed_in(office)
    data = {"form": await form_of(browser), "host_group": "web", "host": names, "name": "w"}
    answer = await browser.post("/discovered/provision", data=data)
    assert (answer.status_code, "2 were chosen" in answer.text) == (422, True)
    none = await browser.post("/discovered/provision", data={**data, "host": [], "name": ""})
    assert none.status_code == 303
    assert "no host was chosen" in (await browser.get("/discovered")).text
    many = await browser.post(
        "/discovered/provision", data={**data, "name": "", "host": [f"h{n}" for n in range(51)]}
    )
    assert many.status_code == 422
    assert set((await states(office)).values()) == {HostState.DISCOVERED}


async def test_only_those_who_may_do_it(office: Office) -> None:
    (name,) = await some(office, 1)
    await another_place(office)
    data = {"host_group": "web", "host": [name]}
    viewer = await signed_in(office, "eve", Role.VIEWER)
    page = (await viewer.get("/discovered")).text
    assert (name in page, "<select" in page, 'type="checkbox"' in page) == (True, False, False)
    other = await signed_in(office, "dan", groups=("db",))
    page = (await other.get("/discovered")).text
    assert ("<option>db</option>" in page, "<option>web</option>" in page) == (True, False)
    stranger = await signed_in(office, "sam", sites=("elsewhere",))
    assert name not in (await stranger.get("/discovered")).text
    for browser in (viewer, other):
        form = await form_of(browser)
        answer = await browser.post("/discovered/provision", data={**data, "form": form})
        assert answer.status_code == 403, answer.text
    form = await form_of(stranger)
    answer = await stranger.post("/discovered/provision", data={**data, "form": form})
    assert "there is no host" in (await stranger.get("/discovered")).text
    ada = await signed_in(office)
    for value in ({}, {"form": "0" * 64}):
        answer = await ada.post("/discovered/provision", data={**data, **value})
        assert answer.status_code == 403
    assert await states(office) == {name: HostState.DISCOVERED}


@pytest.mark.parametrize("path", ["/discovered", "/rules", "/rules/new", "/webhooks"])
async def test_nobody_sees_these_pages_without_signing_in(office: Office, path: str) -> None:
    answer = await office.browser().get(path)
    assert answer.headers["location"].startswith("/sign-in?to=")
