"""Discovered hosts and discovery rules as pages: tried before they are kept, many at once."""

from __future__ import annotations

import re

import httpx
import pytest
from sqlmodel import col, select

from inventory.hosts import discover
from inventory.models import AuditEntry, DiscoveryRule, Host, HostGroup, ManagedBy, Role
from tests.gateway.operators.conftest import PASSWORD, Office
from tests.inventory.world import seen

PLANTED = "<img src=x onerror=alert(1)>"
RULE = {
    "name": "big ones",
    "condition": "memory >= 60 GiB",
    "host_group": "web",
    "host_name": "web{{ number }}",
    "enabled": "true",
}


async def signed_in(
    office: Office, role: Role, groups: tuple[str, ...] = (), sites: tuple[str, ...] = ()
) -> httpx.AsyncClient:
    await office.person(role.value, role, groups=groups, sites=sites)
    browser = office.browser()
    await browser.post("/sign-in", data={"name": role.value, "password": PASSWORD})
    return browser


async def form_of(browser: httpx.AsyncClient) -> str:
    found: list[str] = re.findall(
        r'name="form" value="([0-9a-f]{64})"', (await browser.get("/")).text
    )
    return found[0]


async def machines(office: Office) -> None:
    for number, memory in ((1, "65536.0"), (2, "1024.0"), (3, "70000.0")):
        found = seen(number, memorysize_mb=memory, productname=PLANTED)
        async with office.database.sessions.begin() as session:
            await discover(session, found, site_id=None, at=office.now())


async def rules(office: Office) -> list[DiscoveryRule]:
    async with office.database.sessions() as session:
        return list(await session.exec(select(DiscoveryRule)))


async def test_a_rule_is_tried_and_nothing_is_kept(office: Office) -> None:
    await machines(office)
    browser = await signed_in(office, Role.OPERATOR)
    form = await form_of(browser)
    answer = await browser.post("/rules/rule", data={**RULE, "form": form, "do": "try"})
    assert "Tried: 2 of 3 hosts are taken" in answer.text
    assert "web1.example.org" in answer.text
    # What was typed is still there.
    assert "memory &gt;= 60 GiB</textarea>" in answer.text
    assert await rules(office) == []


async def test_a_rule_is_kept_changed_and_removed_on_record(office: Office) -> None:
    await machines(office)
    browser = await signed_in(office, Role.OPERATOR)
    form = await form_of(browser)
    kept = await browser.post("/rules/rule", data={**RULE, "form": form, "do": "keep"})
    assert kept.headers["location"] == "/rules"
    page = (await browser.get("/rules")).text
    assert "the rule big ones is kept" in page
    assert "memory &gt;= 60 GiB" in page
    found = (await browser.get("/discovered")).text
    assert found.count("Rule <strong>big ones</strong> takes it") == 2
    assert PLANTED not in found
    changed = {**RULE, "form": form, "do": "keep", "was": "big ones", "host_limit": "3"}
    await browser.post("/rules/rule", data=changed)
    assert [one.host_limit for one in await rules(office)] == [3]
    await browser.post("/rules/rule", data={"form": form, "do": "remove", "was": "big ones"})
    assert await rules(office) == []
    async with office.database.sessions() as session:
        log = await session.exec(select(AuditEntry).order_by(col(AuditEntry.id)))
        assert [(one.action, one.about) for one in log] == [
            ("add", "rule big ones"),
            ("change", "rule big ones"),
            ("remove", "rule big ones"),
        ]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("condition", "memory >=", "condition"),
        ("condition", "nonsense > 1", "nonsense"),
        ("host_group", "db", "db"),
        ("host_limit", "many", "host_limit"),
        ("provision", "in_window", "windows"),
        ("time_zone", "Mars/Olympus", "Mars"),
    ],
)
async def test_a_rule_that_is_wrong_is_told_with_what_was_typed(
    office: Office, field: str, value: str, said: str
) -> None:
    browser = await signed_in(office, Role.OPERATOR)
    form = await form_of(browser)
    answer = await browser.post(
        "/rules/rule", data={**RULE, field: value, "form": form, "do": "keep"}
    )
    assert answer.status_code == 422
    alert = re.findall(r'role="alert">(.*?)</p>', answer.text, re.DOTALL)
    assert said in alert[0]
    assert 'value="big ones"' in answer.text
    assert await rules(office) == []


async def test_rules_of_the_site_file_are_only_shown(office: Office) -> None:
    async with office.database.sessions.begin() as session:
        group = (await session.exec(select(HostGroup))).one()
        session.add(
            DiscoveryRule(
                name="filed",
                condition="true",
                host_group_id=group.id,
                host_name="a",
                managed_by=ManagedBy.SITE_FILE,
            )
        )
    browser = await signed_in(office, Role.OPERATOR)
    page = (await browser.get("/rules/rule", params={"name": "filed"})).text
    assert "the site file&#39;s" in page or "the site file's" in page
    assert 'value="keep"' not in page
    form = await form_of(browser)
    for do in ("keep", "remove"):
        data = {**RULE, "name": "filed", "was": "filed", "form": form, "do": do}
        assert (await browser.post("/rules/rule", data=data)).status_code == 409
    assert (await browser.get("/rules/rule?name=none")).status_code == 404


async def test_many_are_provisioned_at_once_and_one_keeps_no_other_from_it(office: Office) -> None:
    await machines(office)
    await office.held(4, 4, "x")
    browser = await signed_in(office, Role.OPERATOR)
    form = await form_of(browser)
    names = [f"mac52540000000{number}" for number in (1, 3)]
    answer = await browser.post(
        "/discovered/provision",
        data={"form": form, "host_group": "web", "host": [*names, "nobody"]},
    )
    assert answer.headers["location"] == "/discovered"
    page = (await browser.get("/discovered")).text
    assert "2 on the way as web" in page
    assert "there is no host &#39;nobody&#39;" in page
    async with office.database.sessions() as session:
        states = await session.exec(select(Host.state).order_by(col(Host.id)))
        assert list(states) == ["selected", "discovered", "selected", "held"]


async def test_viewers_and_foreign_forms_change_nothing(office: Office) -> None:
    await machines(office)
    viewer = await signed_in(office, Role.VIEWER)
    for path in ("/discovered", "/rules", "/rules/rule"):
        page = await viewer.get(path)
        assert (page.status_code, 'value="keep"' in page.text) == (200, False)
    form = await form_of(viewer)
    order = {"host_group": "web", "host": "mac525400000001"}
    rule = {**RULE, "do": "keep"}
    for value in (form, "0" * 64):
        answer = await viewer.post("/rules/rule", data={**rule, "form": value})
        assert answer.status_code == 403
        await viewer.post("/discovered/provision", data={**order, "form": value})
    operator = await signed_in(office, Role.OPERATOR)
    assert (await operator.post("/rules/rule", data=rule)).status_code == 403
    assert (await operator.post("/discovered/provision", data=order)).status_code == 403
    assert await rules(office) == []
    async with office.database.sessions() as session:
        assert set(await session.exec(select(Host.state))) == {"discovered"}


async def test_whoever_is_limited_makes_rules_for_their_own_groups(office: Office) -> None:
    await machines(office)
    async with office.database.sessions.begin() as session:
        group = (await session.exec(select(HostGroup))).one()
        session.add(HostGroup(**group.model_dump(exclude={"id"}) | {"name": "db"}))
    browser = await signed_in(office, Role.OPERATOR, ("db",))
    form = await form_of(browser)
    refused = await browser.post("/rules/rule", data={**RULE, "form": form, "do": "keep"})
    assert (refused.status_code, "db only, not web" in refused.text) == (403, True)
    own = {**RULE, "host_group": "db", "form": form}
    tried = (await browser.post("/rules/rule", data={**own, "do": "try"})).text
    assert "mac525400000001" not in tried
    await browser.post("/rules/rule", data={**own, "do": "keep"})
    assert [one.name for one in await rules(office)] == ["big ones"]


async def test_whoever_is_limited_to_sites_makes_no_rule_for_all_of_them(office: Office) -> None:
    browser = await signed_in(office, Role.ADMIN, sites=("lab",))
    form = await form_of(browser)
    answer = await browser.post("/rules/rule", data={**RULE, "form": form, "do": "keep"})
    assert (answer.status_code, "rules concern all sites" in answer.text) == (403, True)
    assert await rules(office) == []
