"""Pages as they are answered: who sees them, that forms are ours, that nothing said is believed."""

from __future__ import annotations

import re

import httpx
import pytest

from gateway.operators.console.signing_in import own_path
from gateway.settings import GatewaySettings
from inventory import people
from inventory.hosts import take_name
from inventory.models import Host, Role
from tests.gateway.operators.conftest import PASSWORD, Office
from tests.inventory.world import discovered


async def sign_in(
    office: Office, name: str = "ada", role: Role = Role.OPERATOR
) -> httpx.AsyncClient:
    await office.person(name, role)
    browser = office.browser()
    answer = await browser.post("/sign-in", data={"name": name, "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    return browser


async def test_nobody_sees_a_page_without_signing_in(office: Office) -> None:
    browser = office.browser()
    for path in ("/", "/?state=held"):
        answer = await browser.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/sign-in"), path
    assert (await browser.get("/sign-in?to=/held")).status_code == 200


async def test_the_cookie_is_for_this_site_and_no_script(office: Office) -> None:
    await office.person("ada", Role.VIEWER)
    answer = await office.browser().post("/sign-in", data={"name": "ada", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert re.match(r"rackrise=[\w-]{40,}; HttpOnly; Max-Age=604800; Path=/; SameSite=lax$", cookie)
    office.settings = GatewaySettings(
        database_url=office.database.url, console_url="https://rackrise.example.org"
    )
    answer = await office.browser().post("/sign-in", data={"name": "ada", "password": PASSWORD})
    assert answer.headers["set-cookie"].startswith("__Host-rackrise=")
    assert "Secure" in answer.headers["set-cookie"]
    assert "max-age" in answer.headers["strict-transport-security"]


async def test_wrong_passwords_are_slowed_down_and_keep_no_other_out(office: Office) -> None:
    await office.person("ada", Role.VIEWER)
    browser = office.browser()
    for _ in range(5):
        answer = await browser.post("/sign-in", data={"name": "ada", "password": "wrong"})
        assert answer.status_code == 401
        assert "name or password are not right" in answer.text
    answer = await browser.post("/sign-in", data={"name": "ada", "password": PASSWORD})
    assert (answer.status_code, "try again in" in answer.text) == (429, True)
    office.seconds += 10
    answer = await browser.post("/sign-in", data={"name": "ada", "password": PASSWORD})
    assert answer.status_code == 303


async def test_a_form_from_elsewhere_does_nothing(office: Office) -> None:
    browser = await sign_in(office)
    page = (await browser.get("/")).text
    form = re.findall(r'name="form" value="([0-9a-f]{64})"', page)[0]
    for data, headers in (
        ({}, {}),
        ({"form": "0" * 64}, {}),
        ({"form": form}, {"Sec-Fetch-Site": "cross-site"}),
        ({"form": form}, {"Sec-Fetch-Site": "same-site"}),
    ):
        answer = await browser.post("/sign-out", data=data, headers=headers)
        assert answer.status_code == 403, (data, headers)
    assert (await browser.get("/")).status_code == 200
    answer = await browser.post("/sign-out", data={"form": form})
    assert answer.headers["location"] == "/sign-in"
    kept = browser.cookies.get("rackrise")
    assert not kept
    assert (await browser.get("/")).status_code == 303


async def test_what_hosts_say_is_text_on_every_page(office: Office) -> None:
    planted = "<script>alert(1)</script>"
    host, _ = await office.held(1, 14, f"the server said {planted}")
    async with office.database.sessions.begin() as session:
        await take_name(session, await session.get_one(Host, host.id), f"a{planted}b")
    browser = await sign_in(office)
    for path in ("/", "/?text=" + planted, "/nowhere" + planted):
        text = (await browser.get(path)).text
        assert planted not in text, path
    assert "the server said &lt;script&gt;" in (await browser.get("/")).text


@pytest.mark.parametrize(
    "to", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:x", "/a\r\nb"]
)
def test_signing_in_leads_nowhere_else(to: str) -> None:
    assert own_path(to) == "/"
    assert own_path("/hosts/a?b=c") == "/hosts/a?b=c"


async def test_people_who_were_disabled_are_out_at_once(office: Office) -> None:
    browser = await sign_in(office)
    await office.person("root", Role.ADMIN)
    async with office.database.sessions.begin() as session:
        await people.disable(session, await people.named(session, "ada"), office.now())
    assert (await browser.get("/")).status_code == 303


async def test_the_fleet_is_filtered_and_paged(office: Office) -> None:
    for number in range(1, 4):
        await discovered(office.database.sessions, number)
    browser = await sign_in(office)
    text = (await browser.get("/", params={"text": "0002"})).text
    assert ("mac525400000002" in text, "mac525400000001" in text) == (True, False)
    assert "No host is like this" in (await browser.get("/?state=held")).text
    assert (await browser.get("/?state=nonsense")).status_code == 200


async def test_files_are_kept_by_browsers_and_pages_are_not(office: Office) -> None:
    browser = await sign_in(office)
    page = await browser.get("/")
    assert page.headers["cache-control"] == "no-store"
    found = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
    assert len(found) >= 3
    for path in found:
        answer = await browser.get(path)
        assert "max-age=31536000" in answer.headers["cache-control"], path
    assert "https://" not in page.text
