"""Pages as they are answered: who sees them, that forms are ours, that nothing said is believed."""

from __future__ import annotations

import html
import re

import httpx
import pytest
from sqlmodel import select

from gateway.operators.console import fleet
from gateway.operators.console.signing_in import own_path
from gateway.settings import GatewaySettings
from inventory import acts, people
from inventory.hosts import take_name
from inventory.models import Build, Host, Interface, Role, Site
from tests.gateway.operators.conftest import PASSWORD, Office
from tests.gateway.operators.office_at_work import ADA
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


def hosts_of(page: str) -> list[str]:
    return re.findall(r'<tr id="host-\d+".*?<a href="/hosts/([^"]+)">', page, re.DOTALL)


async def test_the_fleet_is_filtered(office: Office) -> None:
    found = [await discovered(office.database.sessions, number) for number in range(1, 4)]
    async with office.database.sessions.begin() as session:
        at = office.now()
        for number, (host, _) in enumerate(found[:2], start=1):
            await acts.provision(session, ADA, host.name, "web", as_name=f"web{number}", at=at)
        slow = await session.get_one(Build, found[0][1].id)
        slow.trouble, slow.trouble_since = "slower than usual", at
        far = Site(name="far", gateway_url="http://192.0.2.2:8000")
        session.add(far)
        await session.flush()
        elsewhere = await session.get_one(Host, found[2][0].id)
        elsewhere.site_id = far.id
        own = select(Interface).where(Interface.host_id == elsewhere.id)
        (await session.exec(own)).one().subnet_id = None
    browser = await sign_in(office)
    one, two, three = "web1.example.org", "web2.example.org", "mac525400000003"
    for query, expected in (
        ("", [three, one, two]),
        ("text=0003", [three]),
        ("text=WEB", [one, two]),
        ("state=discovered", [three]),
        ("state=held", []),
        ("state=nonsense", [three, one, two]),
        ("host_group=web", [one, two]),
        ("host_group=db", []),
        ("site=lab", [one, two]),
        ("site=far", [three]),
        ("site=nowhere", []),
        ("subnet=lan", [one, two]),
        ("subnet=dmz", []),
        ("trouble=true", [one]),
        ("host_group=web&text=web2&subnet=lan", [two]),
        ("trouble=true&text=web2", []),
    ):
        page = (await browser.get(f"/?{query}")).text
        assert hosts_of(page) == expected, query
        assert ("No host is like this" in page) == (not expected), query
    page = (await browser.get("/?host_group=web&site=lab&subnet=lan&trouble=true")).text
    for chosen in ('value="web" selected', 'value="lab" selected', 'value="lan" selected'):
        assert chosen in page
    assert 'name="trouble" value="true" checked' in page


async def test_the_fleet_is_paged_with_its_filters(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_A_PAGE", 2)
    for number in range(1, 6):
        await discovered(office.database.sessions, number)
    await office.held(6, 14, "the name server was away")
    browser = await sign_in(office)
    path, pages = "/?state=discovered&text=mac", []
    while path:
        page = (await browser.get(path)).text
        pages.append(hosts_of(page))
        assert ("From the beginning" in page) == (len(pages) > 1)
        found = re.search(r'<a rel="next" href="([^"]+)">Next hosts</a>', page)
        path = html.unescape(found[1]) if found else ""
    names = [f"mac52540000000{number}" for number in range(1, 6)]
    assert pages == [names[:2], names[2:4], names[4:]]


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
