"""What programs ask of the API, what they are answered, and what they may not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlmodel import col, select

from gateway.operators.app import api_document
from inventory import builds
from inventory.models import AuditEntry, Build, Role, Site
from tests.gateway.operators.conftest import Office
from tests.inventory.world import discovered

WRITES: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("POST", "/hosts/{name}/provision", {"host_group": "web"}),
    ("POST", "/hosts/{name}/rebuild", {}),
    ("POST", "/hosts/{name}/cancel", {}),
    ("POST", "/hosts/{name}/decommission", None),
    ("POST", "/retry", {"hosts": ["{name}"]}),
)


async def test_hosts_are_read_page_by_page(office: Office) -> None:
    for number in range(1, 6):
        await discovered(office.database.sessions, number)
    api = await office.api("ada", Role.VIEWER)
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = (await api.get("/api/v1/hosts", params={"after": after, "limit": 2})).json()
        seen += [one["name"] for one in page["hosts"]]
        after = page["next"]
    assert seen == [f"mac52540000000{number}" for number in range(1, 6)]
    found = (await api.get("/api/v1/hosts", params={"text": "52:54:00:00:00:03"})).json()
    assert [one["name"] for one in found["hosts"]] == ["mac525400000003"]
    none = await api.get("/api/v1/hosts", params={"state": "held"})
    assert none.json() == {"hosts": [], "next": None}
    counts = (await api.get("/api/v1/counts")).json()
    assert counts == {"by_state": {"discovered": 5}, "in_trouble": 0, "all": 5}


async def test_a_host_shows_its_arrows(office: Office) -> None:
    host, _ = await discovered(office.database.sessions)
    api = await office.api("ada", Role.VIEWER)
    view = (await api.get(f"/api/v1/hosts/{host.name}")).json()
    assert [one["number"] for one in view["arrows"]] == list(range(1, 35))
    assert view["builds"][0]["generation"] == 1
    assert view["interfaces"][0]["mac"] == "52:54:00:00:00:01"
    arrow = (await api.get(f"/api/v1/hosts/{host.name}/arrows/5")).json()
    assert arrow["arrow"]["label"] == "5 Proxy → Rackrise: forwards facts"
    for wrong in ("0", "35"):
        assert (await api.get(f"/api/v1/hosts/{host.name}/arrows/{wrong}")).status_code == 404
    missing = await api.get("/api/v1/hosts/nobody")
    assert (missing.status_code, missing.json()["message"][:15]) == (404, "there is no hos")


async def test_an_order_is_carried_out_and_kept(office: Office) -> None:
    host, _ = await discovered(office.database.sessions)
    api = await office.api("ada")
    answer = await api.post(
        f"/api/v1/hosts/{host.name}/provision", json={"host_group": "web", "name": "w1"}
    )
    assert (answer.status_code, answer.json()) == (
        202,
        {"name": "w1.example.org", "state": "selected"},
    )
    log = (await api.get("/api/v1/audit", params={"about": "host w1.example.org"})).json()
    assert [(one["who"], one["door"], one["action"]) for one in log] == [
        ("ada", "API", "provision")
    ]
    again = await api.post(f"/api/v1/hosts/{host.name}/provision", json={"host_group": "web"})
    assert again.status_code == 404
    busy = await api.post("/api/v1/hosts/w1.example.org/rebuild", json={})
    assert busy.status_code == 409
    assert "w1.example.org is selected" in busy.json()["message"]


async def test_a_repeat_with_the_same_key_does_nothing_more(office: Office) -> None:
    host, _ = await discovered(office.database.sessions)
    api = await office.api("ada")
    key = {"Idempotency-Key": "k1"}
    path = f"/api/v1/hosts/{host.name}/provision"
    order = {"host_group": "web", "name": "w1"}
    # At the same moment, and again afterwards: one order, one answer.
    answers = await asyncio.gather(*(api.post(path, json=order, headers=key) for _ in range(8)))
    answers.append(await api.post(path, json=order, headers=key))
    assert {(one.status_code, one.text) for one in answers} == {
        (202, '{"name":"w1.example.org","state":"selected"}')
    }
    async with office.database.sessions() as session:
        assert len((await session.exec(select(AuditEntry))).all()) == 1
    other = await api.post(path, json={"host_group": "web"}, headers=key)
    assert (other.status_code, "take a new one" in other.json()["message"]) == (422, True)
    bob = await office.api("bob")
    assert (await bob.post(path, json=order, headers=key)).status_code == 404


async def test_what_was_refused_may_be_asked_again_with_its_key(office: Office) -> None:
    host, build = await discovered(office.database.sessions)
    api = await office.api("ada")
    key = {"Idempotency-Key": "k1"}
    path = f"/api/v1/hosts/{host.name}/cancel"
    assert (await api.post(path, json={}, headers=key)).status_code == 409
    async with office.database.sessions.begin() as session:
        build = await session.get_one(Build, build.id)
        await builds.hold(session, build, step=4, reason="x", advice="y", at=office.now())
    answer = await api.post(path, json={}, headers=key)
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelling")


async def test_nobody_without_a_token_gets_anything(office: Office) -> None:
    document: dict[str, Any] = api_document(office.settings, office.database.sessions)
    stranger = office.browser()
    wrong = office.browser(Authorization="Bearer rr_wrong")
    paths: dict[str, dict[str, Any]] = document["paths"]
    for path, methods in paths.items():
        for method in methods:
            for client in (stranger, wrong):
                answer = await client.request(method, path.replace("{number}", "1"), json={})
                assert answer.status_code == 401, (method, path, answer.text)
                assert "message" in answer.json()


async def test_viewers_change_nothing(office: Office) -> None:
    host, _ = await office.held(1, 14, "the name server is away")
    api = await office.api("vic", Role.VIEWER)
    for method, path, body in WRITES:
        filled = {"hosts": [host.name]} if path == "/retry" else body
        answer = await api.request(
            method, "/api/v1" + path.replace("{name}", host.name), json=filled
        )
        assert answer.status_code == 403, (path, answer.text)
        assert "it takes the role operator" in answer.json()["message"]
    async with office.database.sessions() as session:
        build = (await session.exec(select(Build))).one()
        assert build.held_step == 14


async def test_what_is_beyond_ones_limits_is_not_there(office: Office) -> None:
    host, _ = await discovered(office.database.sessions)
    api = await office.api("ada")
    await api.post(f"/api/v1/hosts/{host.name}/provision", json={"host_group": "web"})
    name = f"{host.name}.example.org"
    async with office.database.sessions.begin() as session:
        session.add(Site(name="far", gateway_url="http://192.0.2.3:8000"))
    far = await office.api("far", Role.ADMIN, sites=("far",))
    assert (await far.get("/api/v1/hosts")).json()["hosts"] == []
    for path in (f"/hosts/{name}", f"/hosts/{name}/facts", f"/hosts/{name}/arrows/6"):
        assert (await far.get("/api/v1" + path)).status_code == 404
    told = await far.post("/api/v1/retry", json={"hosts": [name]})
    assert set(told.json()["refused"]) == {name}
    for method, path in (("GET", "/people"), ("POST", "/people")):
        body = {"name": "x", "role": "admin"}
        answer = await far.request(method, "/api/v1" + path, json=body)
        assert (answer.status_code, "limited" in answer.json()["message"]) == (403, True)


async def test_held_hosts_stand_together_by_step_and_reason(office: Office) -> None:
    for number in (1, 2):
        await office.held(number, 14, f"mac52540000000{number}: the name server is away")
    await office.held(3, 12, "DHCP is away")
    api = await office.api("ada", Role.VIEWER)
    groups = (await api.get("/api/v1/held")).json()
    assert [(one["step"], one["reason"], len(one["hosts"])) for one in groups] == [
        (14, "…: the name server is away", 2),
        (12, "DHCP is away", 1),
    ]
    assert groups[0]["advice"] == "See to it."


async def test_admins_keep_people_and_their_secrets_are_not_told(office: Office) -> None:
    root = await office.api("root", Role.ADMIN)
    new = {"name": "eve", "role": "operator", "password": "a long password", "sites": ["lab"]}
    assert (await root.post("/api/v1/people", json=new)).json() == {
        "name": "eve",
        "role": "operator",
        "sites": ["lab"],
        "host_groups": [],
        "disabled_at": None,
    }
    short = await root.post("/api/v1/people", json=new | {"name": "x", "password": "planted"})
    assert (short.status_code, "planted" in short.text) == (422, False)
    listed = await root.get("/api/v1/people")
    assert [one["name"] for one in listed.json()] == ["eve", "root"]
    assert "argon2" not in listed.text
    off = await root.patch("/api/v1/people/eve", json={"role": "operator", "disabled": True})
    assert off.json()["disabled_at"] is not None
    last = await root.patch("/api/v1/people/root", json={"role": "viewer"})
    assert (last.status_code, "only admin" in last.json()["message"]) == (422, True)
    async with office.database.sessions() as session:
        log = await session.exec(select(AuditEntry).order_by(col(AuditEntry.id)))
        kept = [(one.action, one.about, one.after) for one in log]
    assert kept[0][:2] == ("add", "person eve")
    assert "password" not in str(kept)


async def test_a_token_makes_no_stronger_one(office: Office) -> None:
    ada = await office.api("ada", Role.OPERATOR)
    refused = await ada.post("/api/v1/tokens", json={"name": "x", "role": "admin"})
    assert refused.status_code == 403
    made = await ada.post("/api/v1/tokens", json={"name": "x", "role": "viewer"})
    token = made.json()["token"]
    weaker = office.browser(Authorization=f"Bearer {token}")
    assert (await weaker.get("/api/v1/me")).json()["role"] == "viewer"
    listed = await ada.get("/api/v1/tokens")
    assert token not in listed.text
    assert [one["name"] for one in listed.json()] == ["test", "x"]
    assert (await ada.delete("/api/v1/tokens/x")).status_code == 204
    assert (await weaker.get("/api/v1/me")).status_code == 401


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/hosts?limit=0", "limit"),
        ("/hosts?state=lost", "state"),
        ("/hosts?held_at=99", "held_at"),
        ("/nowhere", "Not Found"),
    ],
)
async def test_bad_questions_get_one_clear_sentence(office: Office, path: str, said: str) -> None:
    api = await office.api("ada")
    answer = await api.get("/api/v1" + path)
    assert answer.status_code in (404, 422)
    assert said in answer.json()["message"]


async def test_every_answer_is_guarded(office: Office) -> None:
    api = await office.api("ada")
    for path in ("/api/v1/hosts", "/api/v1/nowhere", "/health"):
        headers = (await api.get(path)).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_the_document_names_everything(office: Office) -> None:
    document: dict[str, Any] = api_document(office.settings, office.database.sessions)
    for path, methods in document["paths"].items():
        for method, what in methods.items():
            assert what.get("summary"), (method, path)
            assert what.get("description"), (method, path)


BIG = 9_999_999_999
"""More than PostgreSQL's integers hold."""


@pytest.mark.parametrize(
    "path",
    [
        "/hosts/%00",
        "/hosts/a%00b/facts",
        "/hosts?text=%00",
        "/hosts?after=%00",
        "/hosts?host_group=%00",
        "/hosts?site=%00&subnet=%00",
        "/audit?about=%00&who=%00",
        f"/audit?before={BIG}{BIG}",
        f"/hosts/{{name}}/arrows/5?generation={BIG}",
        f"/hosts/{{name}}/arrows/{BIG}",
        f"/hosts/{{name}}/plans/{BIG}",
    ],
)
async def test_what_the_database_cannot_hold_is_no_fault_of_ours(office: Office, path: str) -> None:
    host, _ = await discovered(office.database.sessions)
    api = await office.api("ada")
    answer = await api.get("/api/v1" + path.replace("{name}", host.name))
    assert answer.status_code < 500, answer.text


@pytest.mark.parametrize("field", ["host_group", "name"])
async def test_an_order_that_the_database_cannot_hold_is_refused(
    office: Office, field: str
) -> None:
    host, _ = await discovered(office.database.sessions)
    api = await office.api("ada")
    order = {"host_group": "web", "name": "w1", field: "a\0b"}
    answer = await api.post(f"/api/v1/hosts/{host.name}/provision", json=order)
    assert answer.status_code in (404, 409, 422), answer.text
    token = await api.post("/api/v1/tokens", json={"name": "a\0b", "role": "viewer"})
    assert token.status_code == 422, token.text
