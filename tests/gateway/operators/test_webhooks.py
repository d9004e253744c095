"""Webhooks through API and console: for admins, their secret shown once and logged never."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import col, select

from gateway.settings import GatewaySettings
from inventory import events, webhooks
from inventory.models import AuditEntry, Delivery, Role, Webhook
from inventory.sealing import Sealer
from tests.gateway.operators.conftest import Office
from tests.gateway.operators.forms import form_of, signed_in
from tests.inventory.world import discovered

KEY = "k" * 40
HOOK: dict[str, Any] = {"name": "pager", "url": "https://example.org/hook/word-of-mouth"}


@pytest.fixture
def office(office: Office) -> Office:
    office.settings = GatewaySettings(database_url=office.database.url, secret_key=KEY)
    return office


async def given_up(office: Office) -> int:
    await discovered(office.database.sessions)
    async with office.database.sessions.begin() as session:
        await events.publish(session, office.now())
        delivery = (await session.exec(select(Delivery))).first()
        assert delivery is not None
        delivery.next_at, delivery.last_error = None, "given up: <b>no</b> answer"
        return delivery.id


def test_the_key_is_the_one_that_all_programs_get(
    monkeypatch: pytest.MonkeyPatch, office: Office
) -> None:
    monkeypatch.setenv("RACKRISE_SECRET_KEY", KEY)
    found = GatewaySettings(database_url=office.database.url).secret_key
    assert found is not None
    assert found.get_secret_value() == KEY
    assert KEY not in repr(GatewaySettings(database_url=office.database.url))


async def test_a_webhook_through_the_api(office: Office) -> None:
    api = await office.api("ada", Role.ADMIN)
    made = await api.post("/api/v1/webhooks", json={**HOOK, "kinds": ["host.discovered"]})
    assert made.status_code == 201, made.text
    secret = made.json()["secret"]
    async with office.database.sessions.begin() as session:
        hook = await webhooks.named(session, "pager")
        assert Sealer(KEY).open(hook.sealed_secret) == secret
    listed = await api.get("/api/v1/webhooks")
    assert [one["name"] for one in listed.json()] == ["pager"]
    assert secret not in listed.text
    delivery = await given_up(office)
    sent = (await api.get("/api/v1/webhooks/pager/deliveries")).json()
    assert [(one["id"], one["kind"], one["next_at"]) for one in sent] == [
        (delivery, "host.discovered", None)
    ]
    for body, count in (({"deliveries": [delivery + 1]}, 0), ({}, 1), ({}, 0)):
        again = await api.post("/api/v1/webhooks/pager/redeliver", json=body)
        assert (again.status_code, again.json()) == (202, {"deliveries": count}), body
    off = (await api.patch("/api/v1/webhooks/pager", json={"enabled": False})).json()
    assert (off["enabled"], off["disabled_why"]) == (False, "ada by the API has disabled it")
    assert (await api.delete("/api/v1/webhooks/pager")).status_code == 204
    assert (await api.delete("/api/v1/webhooks/pager")).status_code == 404
    async with office.database.sessions() as session:
        log = list(await session.exec(select(AuditEntry).order_by(col(AuditEntry.id))))
    assert [one.action for one in log] == [
        *("add", "redeliver", "redeliver", "redeliver", "change", "remove")
    ]
    text = repr([one.model_dump() for one in log])
    assert "https://example.org" in text
    assert not any(one in text for one in (secret, "sealed", "word-of-mouth"))


async def test_deliveries_are_sent_again_once_for_each_key(office: Office) -> None:
    api = await office.api("ada", Role.ADMIN)
    assert (await api.post("/api/v1/webhooks", json=HOOK)).status_code == 201
    await given_up(office)
    path, key = "/api/v1/webhooks/pager/redeliver", {"Idempotency-Key": "k"}
    sent = [await api.post(path, json={}, headers=key) for _ in range(2)]
    assert {(one.status_code, one.text) for one in sent} == {(202, '{"deliveries":1}')}
    other = await api.post(path, json={"deliveries": [1]}, headers=key)
    assert (other.status_code, "take a new one" in other.json()["message"]) == (422, True)
    async with office.database.sessions() as session:
        log = list(await session.exec(select(AuditEntry).order_by(col(AuditEntry.id))))
    assert [one.action for one in log] == ["add", "redeliver"]


async def test_what_is_wrong_is_said_with_its_status(office: Office) -> None:
    api = await office.api("ada", Role.ADMIN)
    for wrong in ({"url": "ftp://x"}, {"kinds": ["host.eaten"]}, {"name": " "}, {"name": ""}):
        answer = await api.post("/api/v1/webhooks", json={**HOOK, **wrong})
        assert answer.status_code == 422, wrong
    office.settings = GatewaySettings(database_url=office.database.url, secret_key=None)
    bob = await office.api("bob", Role.ADMIN)
    refused = await bob.post("/api/v1/webhooks", json=HOOK)
    assert refused.status_code == 422
    assert "RACKRISE_SECRET_KEY" in refused.json()["message"]
    async with office.database.sessions() as session:
        assert list(await session.exec(select(Webhook))) == []


@pytest.mark.parametrize(
    ("role", "limits"),
    [(Role.VIEWER, {}), (Role.OPERATOR, {}), (Role.ADMIN, {"groups": ("web",)})],
)
async def test_only_admins_of_everything(
    office: Office, role: Role, limits: dict[str, tuple[str, ...]]
) -> None:
    admin = await office.api("root", Role.ADMIN)
    assert (await admin.post("/api/v1/webhooks", json=HOOK)).status_code == 201
    api = await office.api("ada", role, **limits)
    for method, path, body in (
        ("GET", "", None),
        ("POST", "", {**HOOK, "name": "other"}),
        ("GET", "/pager/deliveries", None),
        ("POST", "/pager/redeliver", {}),
        ("PATCH", "/pager", {"enabled": False}),
        ("DELETE", "/pager", None),
    ):
        answer = await api.request(method, f"/api/v1/webhooks{path}", json=body)
        assert answer.status_code == 403, (method, path, answer.text)
    browser = await signed_in(office, "bob", role, **limits)
    assert (await browser.get("/webhooks")).status_code == 403
    form = await form_of(browser)
    for path in ("", "/enabled", "/remove", "/redeliver"):
        answer = await browser.post(f"/webhooks{path}", data={**HOOK, "form": form})
        assert answer.status_code == 403, path
    listed = (await admin.get("/api/v1/webhooks")).json()
    assert [(one["name"], one["enabled"]) for one in listed] == [("pager", True)]


async def test_a_webhook_in_the_console(office: Office) -> None:
    browser = await signed_in(office, "root", Role.ADMIN)
    ours = {"form": await form_of(browser)}
    planted = {**HOOK, "name": "<b>a/b</b>"}
    for path in ("", "/enabled", "/remove", "/redeliver"):
        assert (await browser.post(f"/webhooks{path}", data=planted)).status_code == 403, path
    made = await browser.post("/webhooks", data={**planted, **ours})
    assert (made.status_code, "whsec_" in made.text) == (200, True)
    delivery = await given_up(office)
    page = (await browser.get("/webhooks", params={"deliveries_of": planted["name"]})).text
    assert ("whsec_" in page, "<b>" in page) == (False, False)
    assert "given up: &lt;b&gt;no&lt;/b&gt; answer" in page
    name = {**ours, "name": planted["name"]}
    again = await browser.post("/webhooks/redeliver", data={**name, "delivery": str(delivery)})
    assert "1 delivery is tried once more" in (await browser.get(again.headers["location"])).text
    await browser.post("/webhooks/enabled", data={**name, "enabled": "false"})
    assert "root in the console has disabled it" in (await browser.get("/webhooks")).text
    await browser.post("/webhooks/enabled", data={**name, "enabled": "true"})
    assert "has disabled it" not in (await browser.get("/webhooks")).text
    await browser.post("/webhooks/remove", data=name)
    assert "Nobody outside is told" in (await browser.get("/webhooks")).text
    missing = await browser.get("/webhooks?deliveries_of=gone")
    assert missing.status_code == 404


async def test_without_a_key_the_console_says_so(office: Office) -> None:
    office.settings = GatewaySettings(database_url=office.database.url, secret_key=None)
    browser = await signed_in(office, "root", Role.ADMIN)
    page = (await browser.get("/webhooks")).text
    assert ("RACKRISE_SECRET_KEY" in page, 'name="url"' in page) == (True, False)
