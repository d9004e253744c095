"""Rules through API and console: by right, tried without a trace, and what was typed is kept."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import col, select

from inventory import hosts, rule_book
from inventory.models import AuditEntry, DiscoveryRule, Host, ManagedBy, Role, Site
from inventory.orders import group_named
from inventory.rule_draft import RuleDraft
from tests.gateway.operators.conftest import Office
from tests.gateway.operators.forms import another_place, form_of, signed_in
from tests.inventory.world import T0, make_rule, seen

BIG: dict[str, Any] = {
    "name": "big",
    "condition": "memory >= 60 GiB",
    "host_group": "web",
    "host_name": "big{{ number }}",
}
TYPED = {
    **BIG,
    "priority": "100",
    "host_limit": "0",
    "provision": "at_once",
    "time_zone": "UTC",
    "enabled": "true",
}


@pytest.fixture
async def waiting(office: Office) -> Host:
    """A big machine that waits, and a rule of the site file."""
    async with office.database.sessions.begin() as session:
        group = await group_named(session, "web")
        await make_rule(session, group, name="of the file", condition="cpus > 900")
        facts = {"memorysize_mb": "65536.00", "manufacturer": "Dell Inc."}
        host, _, _ = await hosts.discover(session, seen(1, **facts), site_id=None, at=T0)
    return host


async def kept(office: Office) -> list[tuple[Any, ...]]:
    """All that a trial could have changed."""
    async with office.database.sessions() as session:
        rules = [one.model_dump() for one in await session.exec(select(DiscoveryRule))]
        there = [one.model_dump() for one in await session.exec(select(Host))]
        log = [one.model_dump() for one in await session.exec(select(AuditEntry))]
    return [(rules,), (there,), (log,)]


async def test_a_rule_is_made_changed_and_removed_on_record(office: Office, waiting: Host) -> None:
    api = await office.api("ada")
    made = await api.post("/api/v1/rules", json=BIG)
    assert (made.status_code, made.json()["managed_by"]) == (201, "operator"), made.text
    twice = await api.post("/api/v1/rules", json=BIG)
    assert (twice.status_code, "already" in twice.json()["message"]) == (409, True)
    changed = await api.put("/api/v1/rules/big", json={**BIG, "name": "a/b", "host_limit": 3})
    assert changed.json()["draft"]["host_limit"] == 3, changed.text
    listed = (await api.get("/api/v1/rules")).json()
    assert {one["draft"]["name"] for one in listed} == {"of the file", "a/b"}
    said = (await api.get(f"/api/v1/hosts/{waiting.name}/rules")).json()
    chosen = [one for one in said if one["chosen"]]
    assert [(one["rule"], one["verdict"]) for one in chosen] == [("a/b", "takes")]
    assert chosen[0]["values"] == [{"name": "memory", "value": "68719476736 (64.0 GiB)"}]
    assert (await api.delete("/api/v1/rules/a/b")).status_code == 204
    async with office.database.sessions() as session:
        log = [
            (one.action, one.about, one.before, one.after)
            for one in await session.exec(select(AuditEntry).order_by(col(AuditEntry.id)))
        ]
    first, second, third = log
    assert first[3] is not None
    assert second[3] is not None
    assert (first[:3], first[3]["host_limit"]) == (("add", "rule big", None), 0)
    assert (second[:2], second[2], second[3]["host_limit"]) == (
        ("change", "rule a/b"),
        first[3],
        3,
    )
    assert third == ("remove", "rule a/b", second[3], None)


async def test_what_is_wrong_is_said_with_its_status(office: Office, waiting: Host) -> None:
    api = await office.api("ada")
    for body, status, words in (
        ({**BIG, "condition": "memory >="}, 422, "condition"),
        ({**BIG, "host_group": "nobody"}, 422, "there is no host group"),
        ({**BIG, "windows": ["sometimes"]}, 422, "windows"),
        ({**BIG, "colour": "red"}, 422, "colour"),
    ):
        answer = await api.post("/api/v1/rules", json=body)
        assert (answer.status_code, words in answer.json()["message"]) == (status, True), body
    assert (await api.put("/api/v1/rules/gone", json=BIG)).status_code == 404
    assert (await api.delete("/api/v1/rules/gone")).status_code == 404
    for answer in (
        await api.put("/api/v1/rules/of the file", json=BIG),
        await api.delete("/api/v1/rules/of the file"),
    ):
        assert (answer.status_code, "site file" in answer.json()["message"]) == (409, True)


async def test_a_repeat_with_the_same_key_makes_one_rule(office: Office) -> None:
    api = await office.api("ada")
    answers = [
        await api.post("/api/v1/rules", json=BIG, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    ]
    assert {(one.status_code, one.text) for one in answers} == {(201, answers[0].text)}


@pytest.mark.parametrize(
    ("role", "limits"),
    [
        (Role.VIEWER, {}),
        (Role.OPERATOR, {"sites": ("lab",)}),
        (Role.OPERATOR, {"groups": ("db",)}),
        (Role.ADMIN, {"sites": ("lab",), "groups": ("web",)}),
    ],
)
async def test_rules_are_touched_by_right_only(
    office: Office, waiting: Host, role: Role, limits: dict[str, tuple[str, ...]]
) -> None:
    await another_place(office)
    async with office.database.sessions.begin() as session:
        await rule_book.create(session, RuleDraft.model_validate(BIG))
    before = await kept(office)
    api = await office.api("ada", role, **limits)
    for method, path, body in (
        ("POST", "/rules", {**BIG, "name": "other"}),
        ("PUT", "/rules/big", {**BIG, "host_limit": 1}),
        ("DELETE", "/rules/big", None),
    ):
        answer = await api.request(method, f"/api/v1{path}", json=body)
        assert answer.status_code == 403, (method, path, answer.text)
    browser = await signed_in(office, "bob", role, **limits)
    form = await form_of(browser)
    for path, do in (("new", "save"), ("big", "save"), ("big", "remove"), ("big", "disable")):
        data = {**TYPED, "form": form, "do": do}
        assert (await browser.post(f"/rules/{path}", data=data)).status_code == 403, (path, do)
    assert await kept(office) == before
    assert (await api.get("/api/v1/rules")).status_code == 200
    page = (await browser.get("/rules")).text
    assert ("big" in page, 'value="disable"' in page) == (True, False)


async def test_whoever_has_a_host_group_has_its_rules(office: Office) -> None:
    await another_place(office)
    api = await office.api("ada", groups=("web",))
    assert (await api.post("/api/v1/rules", json=BIG)).status_code == 201
    away = await api.put("/api/v1/rules/big", json={**BIG, "host_group": "db"})
    assert (away.status_code, "web only" in away.json()["message"]) == (403, True)


async def test_a_trial_changes_nothing_and_shows_own_hosts_only(
    office: Office, waiting: Host
) -> None:
    await another_place(office)
    async with office.database.sessions.begin() as session:
        site = (await session.exec(select(Site).where(Site.name == "elsewhere"))).one()
        await hosts.discover(session, seen(2, memorysize_mb="65536.00"), site_id=site.id, at=T0)
        # By its boot address it is of the lab: what counts is where it is said to be.
        moved = await hosts.host_by_mac(session, "52:54:00:00:00:02")
        assert moved is not None
        moved.site_id = site.id
    before = await kept(office)
    api = await office.api("ada")
    trial = (await api.post("/api/v1/rules/try", json={"draft": BIG})).json()
    assert [one["takes"] for one in trial["hosts"]] == [True, True]
    own = await office.api("bob", sites=("elsewhere",))
    trial = (await own.post("/api/v1/rules/try", json={"draft": BIG})).json()
    assert [(one["host"], trial["more"]) for one in trial["hosts"]] == [("mac525400000002", 0)]
    viewer = await office.api("eve", Role.VIEWER)
    assert (await viewer.post("/api/v1/rules/try", json={"draft": BIG})).status_code == 403
    browser = await signed_in(office, "dan")
    form = await form_of(browser)
    for path in ("new", "of the file"):
        tried = await browser.post(f"/rules/{path}", data={**TYPED, "form": form, "do": "try"})
        assert tried.status_code == 200, tried.text
        assert "true for 2 of 2 hosts" in tried.text
        assert "big1.example.org" in tried.text
        # What was typed is there still.
        assert "memory &gt;= 60 GiB</textarea>" in tried.text
    assert await kept(office) == before


async def test_forms_make_switch_and_remove_a_rule(office: Office) -> None:
    browser = await signed_in(office)
    form = await form_of(browser)
    ours = {"form": form}
    for path in ("new", "big"):
        for do in ("try", "save", "remove", "enable"):
            if path == "big" and do == "try":
                async with office.database.sessions.begin() as session:
                    await rule_book.create(session, RuleDraft.model_validate(BIG))
            answer = await browser.post(f"/rules/{path}", data={**TYPED, "do": do})
            assert answer.status_code == 403, (path, do)
    night = {"provision": "in_window", "windows": "mon-fri 22:00-05:00\r\n\r\nsat 00:00-24:00"}
    saved = await browser.post(
        "/rules/big", data={**TYPED, **ours, **night, "host_limit": "7", "do": "save"}
    )
    assert saved.headers["location"] == "/rules", saved.text
    page = (await browser.get("/rules")).text
    assert ("0 of 7" in page, "sat 00:00-24:00" in page) == (True, True)
    await browser.post("/rules/big", data={**ours, "do": "disable"})
    async with office.database.sessions() as session:
        draft = (await rule_book.rule_named(session, "big")).draft
    assert (draft.enabled, draft.host_limit, len(draft.windows)) == (False, 7, 2)
    await browser.post("/rules/big", data={**ours, "do": "enable"})
    assert "out of use" not in (await browser.get("/rules")).text
    gone = await browser.post("/rules/big", data={**ours, "do": "remove"})
    assert gone.status_code == 303
    assert (await browser.get("/rules/big")).status_code == 404
    assert (await browser.post("/rules/new", data={**TYPED, **ours})).status_code == 422


async def test_what_was_typed_wrong_is_shown_with_its_reason(office: Office) -> None:
    browser = await signed_in(office)
    planted = "<script>alert(1)</script>"
    wrong = {**TYPED, "condition": f"memory >= {planted}", "host_limit": planted}
    data = {**wrong, "form": await form_of(browser), "do": "save"}
    answer = await browser.post("/rules/new", data=data)
    assert answer.status_code == 422
    assert "host limit: Input should be a valid integer" in answer.text
    assert planted not in answer.text
    assert "memory &gt;= &lt;script&gt;" in answer.text
    data = {**data, "host_limit": "0", "condition": "memory >="}
    answer = await browser.post("/rules/new", data=data)
    assert (answer.status_code, "condition: " in answer.text) == (422, True)


async def test_rules_of_the_site_file_are_only_looked_at(office: Office, waiting: Host) -> None:
    browser = await signed_in(office)
    page = (await browser.get("/rules/of the file")).text
    assert "comes from the site file" in page
    assert ('value="save"' in page, 'value="remove"' in page) == (False, False)
    data = {**TYPED, "form": await form_of(browser), "do": "save"}
    answer = await browser.post("/rules/of the file", data=data)
    assert (answer.status_code, "site file" in answer.text) == (409, True)
    async with office.database.sessions() as session:
        assert (await rule_book.rule_named(session, "of the file")).managed_by is (
            ManagedBy.SITE_FILE
        )
