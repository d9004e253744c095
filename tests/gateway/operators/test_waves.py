"""Waves through API and console: by right, on record, and what was typed is kept."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import col, select

from inventory import wave_advance
from inventory.models import AuditEntry, Role, Wave
from tests.gateway.operators.conftest import Office
from tests.gateway.operators.forms import another_place, form_of, signed_in
from tests.inventory.test_waves import arrive, fail, under_way
from tests.inventory.world import discovered

WAVES = "/api/v1/waves"


async def some(office: Office, count: int = 3) -> list[str]:
    return [
        (await discovered(office.database.sessions, one))[0].name for one in range(1, count + 1)
    ]


async def advance(office: Office) -> int:
    async with office.database.sessions.begin() as session:
        return await wave_advance.advance(session, office.now())


def wish(names: list[str], **more: Any) -> dict[str, Any]:
    return {"name": "spring", "host_group": "web", "hosts": names, **more}


def typed(names: list[str], **more: str) -> dict[str, str]:
    """The form, filled in."""
    numbers = {"canary": "1", "growth": "2", "failures": "10"}
    limits = dict.fromkeys(("largest", "per_subnet", "per_boot_server", "per_pulp"), "0")
    text = {"name": "spring", "host_group": "web", "hosts": "\r\n".join(names)}
    return {**text, **numbers, **limits, "do": "start", **more}


async def log(office: Office) -> list[tuple[str, str]]:
    async with office.database.sessions() as session:
        found = await session.exec(select(AuditEntry).order_by(col(AuditEntry.id)))
        return [(one.action, one.about) for one in found if one.about.startswith("wave ")]


async def test_a_wave_is_started_looked_at_and_held_up(office: Office) -> None:
    names = await some(office)
    api = await office.api("ada")
    made = await api.post(WAVES, json=wish(names, failure_share=0, per_pulp=7))
    assert (made.status_code, made.json()["waiting"]) == (201, 3), made.text
    assert made.json()["asked_by"] == "ada by the API"
    await advance(office)
    one = (await api.get(f"{WAVES}/spring?limit=2")).json()
    assert [each["ended"] for each in one["hosts"]] == ["under way", "waiting"]
    assert (one["per_pulp"], one["rebuild"], one["next"]) == (7, False, 1)
    assert [(each["number"], each["under_way"]) for each in one["batches"]] == [(0, 1)]
    rest = (await api.get(f"{WAVES}/spring?after=1")).json()
    assert ([each["name"] for each in rest["hosts"]], rest["next"]) == (names[2:], None)
    for act, state in (("pause", "paused"), ("go-on", "running")):
        answer = await api.post(f"{WAVES}/spring/{act}")
        assert (answer.status_code, answer.json()["state"]) == (200, state)
    twice = await api.post(f"{WAVES}/spring/go-on")
    assert (twice.status_code, "is running" in twice.json()["message"]) == (409, True)
    (going,) = await under_way(office.database)
    await fail(office.database, going)
    await advance(office)
    stopped = (await api.get(WAVES)).json()["waves"][0]
    assert (stopped["state"], stopped["share"]) == ("stopped", 1)
    assert "no DHCP" in stopped["why"]
    forgiven = (await api.post(f"{WAVES}/spring/go-on")).json()
    assert (forgiven["forgiven"], forgiven["share"]) == (1, 0)
    gone = await api.post(f"{WAVES}/spring/cancel")
    assert (gone.json()["state"], gone.json()["let_go"]) == ("cancelled", 2)
    assert await log(office) == [
        (one, "wave spring") for one in ("start", "pause", "go on", "go on", "cancel")
    ]


async def test_waves_are_listed_in_pages(office: Office) -> None:
    names = await some(office)
    api = await office.api("ada")
    for number, one in enumerate(names):
        assert (await api.post(WAVES, json=wish([one], name=f"w{number}"))).status_code == 201
    first = (await api.get(f"{WAVES}?limit=2")).json()
    assert [one["name"] for one in first["waves"]] == ["w2", "w1"]
    last = (await api.get(f"{WAVES}?limit=2&before={first['next']}")).json()
    assert ([one["name"] for one in last["waves"]], last["next"]) == (["w0"], None)


async def test_what_is_wrong_is_said_with_its_status(office: Office) -> None:
    names = await some(office)
    api = await office.api("ada")
    for body, status, words in (
        (wish([]), 422, "hosts"),
        (wish(names, name="Spring!"), 422, "is no name"),
        (wish(names, canary=0), 422, "canary"),
        (wish(names, canary=5, largest=3), 422, "larger than the largest batch"),
        (wish(names, failure_share=1.5), 422, "failure_share"),
        (wish(names, growth=1e308, largest=2**40), 422, "largest"),
        (wish(names, colour="red"), 422, "colour"),
        (wish(names, host_group="nobody"), 404, "there is no host group"),
        (wish([*names, "nobody"]), 409, "there is no host 'nobody'"),
        (wish([*names, names[0]]), 409, "named 2 times"),
        (wish([*names, "a\0b"]), 422, "character"),
    ):
        answer = await api.post(WAVES, json=body)
        assert (answer.status_code, words in answer.json()["message"]) == (status, True), (
            body,
            answer.text,
        )
    async with office.database.sessions() as session:
        assert (await session.exec(select(Wave))).all() == []
    for path in ("", "/pause", "/go-on", "/cancel"):
        method = "POST" if path else "GET"
        answer = await api.request(method, f"{WAVES}/gone{path}")
        assert (answer.status_code, "no wave 'gone'" in answer.json()["message"]) == (404, True)
    assert (await api.post(WAVES, json=wish(names))).status_code == 201
    taken = await api.post(WAVES, json=wish(names))
    assert (taken.status_code, "already" in taken.json()["message"]) == (409, True)


async def test_a_repeat_with_the_same_key_starts_one_wave(office: Office) -> None:
    names = await some(office)
    api = await office.api("ada")
    key = {"Idempotency-Key": "k"}
    answers = [await api.post(WAVES, json=wish(names), headers=key) for _ in range(2)]
    assert {(one.status_code, one.text) for one in answers} == {(201, answers[0].text)}
    key = {"Idempotency-Key": "p"}
    paused = [await api.post(f"{WAVES}/spring/pause", headers=key) for _ in range(2)]
    assert {(one.status_code, one.json()["state"]) for one in paused} == {(200, "paused")}
    assert await log(office) == [("start", "wave spring"), ("pause", "wave spring")]


@pytest.mark.parametrize(
    ("role", "limits", "status"),
    [
        (Role.VIEWER, {}, 403),
        (Role.OPERATOR, {"groups": ("db",)}, 404),
        (Role.ADMIN, {"sites": ("elsewhere",)}, 404),
    ],
)
async def test_waves_are_touched_by_right_only(
    office: Office, role: Role, limits: dict[str, tuple[str, ...]], status: int
) -> None:
    await another_place(office)
    names = await some(office)
    owner = await office.api("owner")
    assert (await owner.post(WAVES, json=wish(names[:2]))).status_code == 201
    before = await log(office)
    api = await office.api("ada", role, **limits)
    browser = await signed_in(office, "bob", role, **limits)
    data = {"form": await form_of(browser)}
    for act in ("pause", "go-on", "cancel"):
        assert (await api.post(f"{WAVES}/spring/{act}")).status_code == status, act
        sent = {**data, "do": act.replace("-", "_")}
        assert (await browser.post("/waves/spring", data=sent)).status_code == status, act
    other = await api.post(WAVES, json=wish(names[2:], name="other"))
    assert other.status_code in (403, 409), other.text
    seen = status == 403
    assert len((await api.get(WAVES)).json()["waves"]) == seen
    assert (await api.get(f"{WAVES}/spring")).status_code == (200 if seen else 404)
    assert ("spring" in (await browser.get("/waves")).text) is seen
    assert ("spring" in (await browser.get("/")).text) is seen
    shown = await browser.get("/waves/spring")
    assert (shown.status_code, 'name="do"' in shown.text) == (200 if seen else 404, False)
    if role is Role.VIEWER:
        for do in ("start", "find", "choose"):
            answer = await browser.post("/waves/new", data={**data, **typed(names[2:]), "do": do})
            assert answer.status_code == 403, do
        assert (await browser.get("/waves/new")).status_code == 403
    assert await log(office) == before


async def test_a_wave_builds_anew_only_where_it_was_wished_for(office: Office) -> None:
    names = await some(office, 1)
    api = await office.api("ada")
    await api.post(f"/api/v1/hosts/{names[0]}/provision", json={"host_group": "web"})
    mine = f"{names[0]}.example.org"
    await arrive(office.database, mine)
    refused = await api.post(WAVES, json=wish([mine]))
    assert (refused.status_code, "rebuild" in refused.json()["message"]) == (409, True)
    made = await api.post(WAVES, json=wish([mine], rebuild=True))
    assert made.status_code == 201, made.text
    assert await advance(office) == 1


async def test_forms_start_hold_up_and_cancel_a_wave(office: Office) -> None:
    names = await some(office)
    browser = await signed_in(office)
    ours = {"form": await form_of(browser)}
    for path in ("new", "spring"):
        refused = await browser.post(f"/waves/{path}", data={**typed(names), "do": "start"})
        assert refused.status_code == 403, path
    begun = await browser.post("/waves/new", data={**ours, **typed(names, failures="25")})
    assert (begun.status_code, begun.headers["location"]) == (303, "/waves/spring"), begun.text
    async with office.database.sessions() as session:
        wave = (await session.exec(select(Wave))).one()
    assert (wave.failure_share, wave.asked_by) == (0.25, "ada in the console")
    await advance(office)
    page = (await browser.get("/waves/spring")).text
    assert "spring runs with 3 hosts" in page
    assert "0 of 3 in operation, 1 under way, 2 waiting" in page
    assert ('value="pause"' in page, 'value="go_on"' in page) == (True, False)
    assert "0 of 3 in operation" in (await browser.get("/")).text
    for do, state in (("pause", "paused"), ("go_on", "running"), ("cancel", "cancelled")):
        told = await browser.post("/waves/spring", data={**ours, "do": do})
        assert told.headers["location"] == "/waves/spring"
        assert f">{state}</span>" in (await browser.get("/waves/spring")).text
    again = await browser.post("/waves/spring", data={**ours, "do": "pause"})
    assert (again.status_code, "it must be running" in again.text) == (409, True)
    assert (await browser.post("/waves/spring", data={**ours, "do": "jump"})).status_code == 422
    assert (await browser.post("/waves/new", data={**ours, "do": "jump"})).status_code == 422
    page = (await browser.get("/waves/spring")).text
    assert ("2 let go" in page, 'name="do"' in page) == (True, False)
    assert "2 let go" in (await browser.get("/waves")).text


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"canary": "<b>"}, 422, "hosts of the canary: &#39;&lt;b&gt;&#39; is no whole number"),
        ({"failures": "101"}, 422, "share of failures is 1.01"),
        ({"growth": "nan"}, 422, "growth is nan"),
        ({"name": "new"}, 422, "no wave is called new"),
        ({"hosts": "nobody-here"}, 409, "there is no host &#39;nobody-here&#39;"),
        ({"host_group": "gone"}, 409, "there is no host group"),
    ],
)
async def test_a_refused_form_keeps_what_was_typed(
    office: Office, change: dict[str, str], status: int, said: str
) -> None:
    names = await some(office)
    browser = await signed_in(office)
    ours = {"form": await form_of(browser), "per_pulp": "17", "rebuild": "true"}
    answer = await browser.post("/waves/new", data={**typed(names), **ours, **change})
    assert answer.status_code == status, answer.text
    assert said in answer.text
    kept = {**typed(names), **ours, **change}
    assert kept["hosts"] in answer.text
    assert ('value="17"' in answer.text, 'value="true" checked' in answer.text) == (True, True)
    assert await log(office) == []


async def test_hosts_are_found_and_chosen_for_the_form(office: Office) -> None:
    names = await some(office)
    await office.held(9, 14, "no DNS")
    browser = await signed_in(office)
    ours = {"form": await form_of(browser)}
    find = {"do": "find", "find_state": "discovered", "find_text": "", "name": "Half typed"}
    found = await browser.post("/waves/new", data={**ours, **typed(names[2:], **find)})
    assert (found.status_code, "2 hosts were added" in found.text) == (200, True)
    assert "\n".join([names[2], *names[:2]]) in found.text
    assert ("Half typed" in found.text, "3 now" in found.text) == (True, True)
    # From the page of the discovered hosts.
    ticked = {**ours, "do": "choose", "host": names[:2], "host_group": "web", "name": ""}
    chosen = await browser.post("/waves/new", data=ticked)
    assert ("\n".join(names[:2]) in chosen.text, "2 now" in chosen.text) == (True, True)
    page = (await browser.get("/discovered")).text
    assert 'formaction="/waves/new"' in page


async def test_names_and_reasons_are_escaped(office: Office) -> None:
    names = await some(office, 2)
    browser = await signed_in(office)
    await browser.post("/waves/new", data={"form": await form_of(browser), **typed(names)})
    await advance(office)
    (going,) = await under_way(office.database)
    await fail(office.database, going, reason="<script>alert(1)</script>")
    await advance(office)
    for path in ("/waves", "/waves/spring"):
        page = (await browser.get(path)).text
        assert ("&lt;script&gt;alert" in page, "<script>alert" in page) == (True, False), path
