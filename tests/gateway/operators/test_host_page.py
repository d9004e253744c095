"""The page of a host: its diagram, what stands behind each arrow, and what may be done by whom."""

from __future__ import annotations

import html
import json
import re

import httpx
import pytest
from sqlmodel import select

from inventory import acts, builds, kickstarts, plans, steps
from inventory.arrows import ARROWS, Evidence
from inventory.callbacks import keep
from inventory.effects import intend
from inventory.hosts import keep_facts, move
from inventory.life import HostState
from inventory.models import Build, CallbackKind, Door, Host, HostGroup, PlanRequest, Role
from inventory.rights import Actor
from tests.gateway.operators.conftest import PASSWORD, Office
from tests.inventory.world import WAY, discovered

NAME = "web1.example.org"
ADA = Actor("ada", Door.CONSOLE, Role.OPERATOR)
PLANTED = "<img src=x onerror=alert(1)>"
ESCAPED = re.escape(html.escape(PLANTED, quote=False))
BUTTONS = ("retry", "provision", "rebuild", "cancel", "decommission", "plan")


async def browser_of(office: Office, role: Role, groups: tuple[str, ...] = ()) -> httpx.AsyncClient:
    await office.person(f"{role}-{len(office.clients)}", role, groups=groups)
    browser = office.browser()
    name = f"{role}-{len(office.clients) - 1}"
    answer = await browser.post("/sign-in", data={"name": name, "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    return browser


async def host_at(office: Office, state: HostState) -> Host:
    """A host named ``NAME`` (or as discovered) at a point of its life."""
    host, build = await discovered(office.database.sessions, 1)
    if state is HostState.DISCOVERED:
        return host
    async with office.database.sessions.begin() as session:
        await acts.provision(session, ADA, host.name, "web", as_name="web1", at=office.now())
        host = await session.get_one(Host, host.id)
        if state is HostState.HELD:
            held = await session.get_one(Build, build.id)
            await builds.hold(
                session, held, step=14, reason=f"DNS: {PLANTED}", advice="Mend it.", at=office.now()
            )
            return host
        for event, target in WAY[1:]:
            if host.state is state:
                break
            await move(session, host, event, office.now())
            assert host.state is target
    return host


def buttons(page: str) -> set[str]:
    return {one for one in BUTTONS if re.search(rf'action="/hosts/[^"]+/{one}"', page)}


def form_of(page: str) -> str:
    found: list[str] = re.findall(r'name="form" value="([0-9a-f]{64})"', page)
    return found[0]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (HostState.DISCOVERED, {"provision", "decommission", "plan"}),
        (HostState.PREPARING, {"cancel", "decommission", "plan"}),
        (HostState.INSTALLING, {"cancel", "decommission", "plan"}),
        (HostState.HELD, set(BUTTONS)),
    ],
)
async def test_a_host_has_the_buttons_of_its_state(
    office: Office, state: HostState, expected: set[str]
) -> None:
    host = await host_at(office, state)
    page = (await (await browser_of(office, Role.OPERATOR)).get(f"/hosts/{host.name}")).text
    assert buttons(page) == expected
    page = (await (await browser_of(office, Role.VIEWER)).get(f"/hosts/{host.name}")).text
    assert buttons(page) == {"plan"}


@pytest.mark.parametrize(
    ("held_from", "without"),
    [
        (HostState.INSTALLING, {"provision"}),
        (HostState.CANCELLING, {"provision", "rebuild"}),
        (HostState.DECOMMISSIONING, {"provision", "rebuild", "cancel"}),
    ],
)
async def test_a_held_host_has_no_button_that_would_be_refused(
    office: Office, held_from: HostState, without: set[str]
) -> None:
    await host_at(office, HostState.HELD)
    async with office.database.sessions.begin() as session:
        (await session.exec(select(Build))).one().held_from = held_from
    browser = await browser_of(office, Role.OPERATOR)
    page = (await browser.get(f"/hosts/{NAME}")).text
    assert buttons(page) == set(BUTTONS) - without
    fields = {"form": form_of(page), "host_group": "web"}
    for one in without:
        answer = await browser.post(f"/hosts/{NAME}/{one}", data=fields)
        assert (one, answer.status_code) == (one, 409)


async def test_the_diagram_has_every_arrow_in_its_state(office: Office) -> None:
    host = await host_at(office, HostState.HELD)
    async with office.database.sessions.begin() as session:
        build = (await session.exec(select(Build))).one()
        for numbers, evidence in (
            ((1, 2, 3, 4, 5), Evidence.REPORTED),
            ((7, 8), Evidence.OBSERVED),
        ):
            await steps.finish(
                session, build.id, numbers, evidence=evidence, seen="seen", at=office.now()
            )
        await steps.begin(session, [build.id], [12], None, office.now())
    page = (await (await browser_of(office, Role.VIEWER)).get(f"/hosts/{host.name}")).text
    found = re.findall(r'class="arrow ([^"]+)" data-arrow="(\d+)"', page)
    classes = {int(number): kind for kind, number in found}
    assert sorted(classes) == [one.number for one in ARROWS]
    # Whoever worked at 12 does so no more: the host is held.
    assert (classes[1], classes[8], classes[12]) == ("done reported", "done observed", "halted")
    assert (classes[14], classes[20], classes[23]) == ("held", "pending", "not-asked-for")
    assert 'aria-label="14 Rackrise → Proxy: asks for the names, held here"' in page
    assert "Held at 14 Rackrise → Proxy: asks for the names" in page
    assert "Mend it." in page


async def test_behind_an_arrow_is_what_was_exchanged(office: Office) -> None:
    host = await host_at(office, HostState.HELD)
    async with office.database.sessions.begin() as session:
        build = (await session.exec(select(Build))).one()
        await intend(
            session, build.id, "DNS", "proxy p, example.org", f"{NAME} A", {"value": "192.0.2.9"},
            {"value": "192.0.2.20"}, office.now(),
        )  # fmt: skip
        await keep(
            session, kind=CallbackKind.BUILT, key="b", host_id=host.id, build_id=build.id,
            remote="192.0.2.77", body=PLANTED, at=office.now(),
        )  # fmt: skip
        await kickstarts.keep(session, build.id, f"# {PLANTED}\ntext", office.now())
        await keep_facts(session, host.id, "discovery", {"planted": PLANTED}, office.now())
    browser = await browser_of(office, Role.VIEWER)
    names = (await browser.get(f"/hosts/{NAME}/arrows/14")).text
    assert "192.0.2.9" in names
    assert "192.0.2.20" in names
    told = (await browser.get(f"/hosts/{NAME}/arrows/27")).text
    assert re.search(rf"<h2>Told: built .* from 192\.0\.2\.77<.*\s+<pre .*>{ESCAPED}</pre>", told)
    given = (await browser.get(f"/hosts/{NAME}/arrows/21")).text
    assert re.search(rf"<h2>What the host was given .*\s+<pre .*># {ESCAPED}\ntext</pre>", given)
    assert "Of this arrow nothing more is kept" not in told + given
    for path in ("arrows/27", "arrows/21", "arrows/14", "facts", ""):
        answer = await browser.get(f"/hosts/{NAME}/{path}".rstrip("/"))
        assert answer.status_code == 200, path
        assert PLANTED not in answer.text, path
    for number in range(1, 35):
        answer = await browser.get(f"/hosts/{NAME}/arrows/{number}")
        assert answer.status_code == 200, number
    for wrong in ("0", "35", "14?generation=9"):
        assert (await browser.get(f"/hosts/{NAME}/arrows/{wrong}")).status_code == 404


async def test_each_button_does_what_it_says(office: Office) -> None:
    host = await host_at(office, HostState.DISCOVERED)
    browser = await browser_of(office, Role.OPERATOR)
    form = form_of((await browser.get(f"/hosts/{host.name}")).text)

    async def press(what: str, of: str = NAME, **fields: str) -> httpx.Response:
        return await browser.post(f"/hosts/{of}/{what}", data={"form": form, **fields})

    async def state() -> HostState:
        async with office.database.sessions() as session:
            return (await session.get_one(Host, host.id)).state

    answer = await press("provision", host.name, host_group="web", name="WEB1")
    assert answer.headers["location"] == f"/hosts/{NAME}"
    assert "is on its way as web" in (await browser.get(f"/hosts/{NAME}")).text
    refused = await press("rebuild")
    assert (refused.status_code, "is selected" in refused.text) == (409, True)
    await press("plan")
    async with office.database.sessions() as session:
        assert (await session.exec(select(PlanRequest))).one().host_id == host.id
    await press("cancel", why="wrong rack")
    assert await state() is HostState.CANCELLING
    assert "wrong rack" in (await browser.get(f"/hosts/{NAME}")).text
    typed = await press("decommission", typed="web2.example.org")
    assert (typed.status_code, await state()) == (422, HostState.CANCELLING)
    await press("decommission", typed=NAME)
    assert await state() is HostState.DECOMMISSIONING


async def test_a_held_host_goes_on_by_its_button(office: Office) -> None:
    await host_at(office, HostState.HELD)
    browser = await browser_of(office, Role.OPERATOR)
    form = form_of((await browser.get(f"/hosts/{NAME}")).text)
    await browser.post(f"/hosts/{NAME}/retry", data={"form": form})
    page = (await browser.get(f"/hosts/{NAME}")).text
    assert f"{NAME} goes on" in page
    assert "Held at" not in page


@pytest.mark.parametrize("what", BUTTONS)
async def test_a_button_of_another_page_does_nothing(office: Office, what: str) -> None:
    await host_at(office, HostState.HELD)
    browser = await browser_of(office, Role.OPERATOR)
    fields = {"form": "0" * 64, "host_group": "web", "typed": NAME}
    assert (await browser.post(f"/hosts/{NAME}/{what}", data=fields)).status_code == 403
    async with office.database.sessions() as session:
        assert (await session.exec(select(Host))).one().state is HostState.HELD


async def test_whoever_only_looks_is_refused_by_the_server_too(office: Office) -> None:
    await host_at(office, HostState.HELD)
    browser = await browser_of(office, Role.VIEWER)
    form = form_of((await browser.get("/")).text)
    for what in ("retry", "provision", "rebuild", "cancel", "decommission"):
        fields = {"form": form, "host_group": "web", "typed": NAME}
        answer = await browser.post(f"/hosts/{NAME}/{what}", data=fields)
        assert (what, answer.status_code) == (what, 403)


async def test_hosts_of_others_are_not_there(office: Office) -> None:
    await host_at(office, HostState.PREPARING)
    async with office.database.sessions.begin() as session:
        group = (await session.exec(select(HostGroup))).one()
        session.add(HostGroup(**group.model_dump(exclude={"id"}) | {"name": "db"}))
    browser = await browser_of(office, Role.ADMIN, ("db",))
    for path in ("", "/facts", "/arrows/6"):
        assert (await browser.get(f"/hosts/{NAME}{path}")).status_code == 404


async def test_a_form_with_what_the_database_cannot_hold_is_told_so(office: Office) -> None:
    await host_at(office, HostState.HELD)
    browser = await browser_of(office, Role.OPERATOR)
    form = form_of((await browser.get(f"/hosts/{NAME}")).text)
    for what, fields in (("provision", {"host_group": "\0"}), ("cancel", {"why": "a\0"})):
        answer = await browser.post(f"/hosts/{NAME}/{what}", data={"form": form, **fields})
        assert answer.status_code < 500, what
    for path in ("/hosts/%00", f"/hosts/{NAME}?generation=9999999999", "/?text=%00"):
        assert (await browser.get(path)).status_code < 500, path


async def test_a_plan_is_shown_when_it_is_made(office: Office) -> None:
    host = await host_at(office, HostState.PREPARING)
    async with office.database.sessions.begin() as session:
        asked = await plans.ask(session, ADA, NAME, at=office.now())
    browser = await browser_of(office, Role.VIEWER)
    assert "It is being made" in (await browser.get(f"/hosts/{NAME}")).text
    async with office.database.sessions.begin() as session:
        await plans.end(
            session, asked.number, text=f"create {PLANTED}", error=None, at=office.now()
        )
    page = (await browser.get(f"/hosts/{host.name}")).text
    assert ("create &lt;img" in page, PLANTED in page) == (True, False)


async def test_a_discovered_host_is_planned_as_what_is_chosen(office: Office) -> None:
    host = await host_at(office, HostState.DISCOVERED)
    browser = await browser_of(office, Role.VIEWER)
    page = (await browser.get(f"/hosts/{host.name}")).text
    form = re.search(r'action="/hosts/[^"]+/plan".*?</form>', page, re.DOTALL)
    assert form is not None
    assert '<select name="host_group" required>' in form[0]
    assert "<option>web</option>" in form[0]
    refused = await browser.post(f"/hosts/{host.name}/plan", data={"form": form_of(page)})
    assert (refused.status_code, "name a host group" in refused.text) == (409, True)
    asked = {"form": form_of(page), "host_group": "web"}
    assert (await browser.post(f"/hosts/{host.name}/plan", data=asked)).status_code == 303
    assert "as web" in (await browser.get(f"/hosts/{host.name}")).text
    async with office.database.sessions() as session:
        assert (await session.exec(select(PlanRequest))).one().host_group == "web"


async def test_beside_an_older_build_is_the_way_to_the_present_one(office: Office) -> None:
    await host_at(office, HostState.HELD)
    async with office.database.sessions.begin() as session:
        build = (await session.exec(select(Build))).one()
        build.held_from = HostState.INSTALLING
        await session.flush()
        await acts.rebuild(session, ADA, NAME, at=office.now())
    browser = await browser_of(office, Role.OPERATOR)
    page = (await browser.get(f"/hosts/{NAME}?generation=1")).text
    assert buttons(page) == set()
    # What changes is of another build: it would take the place of this one.
    assert "data-live" not in page
    assert "This is build 1, not the present one" in page
    assert re.search(r"superseded\s*\.", page)
    assert "It was held: DNS:" in page
    assert f'<a class="button" href="/hosts/{NAME}">To the present build</a>' in page
    assert f'href="/hosts/{NAME}/arrows/6?generation=1"' in page
    present = (await browser.get(f"/hosts/{NAME}?generation=2")).text
    assert ("data-live" in present, "rebuild" in buttons(present)) == (True, False)
    assert "cancel" in buttons(present)


@pytest.mark.parametrize("number", [0, 2, 9999999999])
async def test_a_build_that_never_was_is_not_found(office: Office, number: int) -> None:
    await host_at(office, HostState.PREPARING)
    browser = await browser_of(office, Role.OPERATOR)
    answer = await browser.get(f"/hosts/{NAME}?generation={number}")
    assert answer.status_code == 404
    assert f"{NAME} has no build {number}: it has had one, number 1." in answer.text
    assert "Not found" in answer.text
    missing = await browser.get("/hosts/nobody.example.org")
    assert (missing.status_code, "Not found" in missing.text) == (404, True)


async def test_reports_are_listed_with_what_they_come_to(office: Office) -> None:
    host = await host_at(office, HostState.FIRST_BOOT)
    browser = await browser_of(office, Role.VIEWER)
    assert "Neither its own system nor Puppet" in (await browser.get(f"/hosts/{NAME}")).text
    failed = {"host": NAME, "time": "2026-01-02T03:04:05Z", "status": "failed", "logs": []}
    said = (
        (CallbackKind.REPORT, json.dumps({"hostname": "web1", "os": f"LabOS {PLANTED}"})),
        (CallbackKind.REPORT, json.dumps({"hostname": "other"})),
        (CallbackKind.PUPPET_REPORT, json.dumps(failed)),
        (CallbackKind.PUPPET_REPORT, json.dumps({**failed, "status": "changed"})),
        (CallbackKind.PUPPET_REPORT, "no report"),
    )
    async with office.database.sessions.begin() as session:
        build = (await session.exec(select(Build))).one()
        for number, (kind, body) in enumerate(said):
            await keep(
                session, kind=kind, key=f"r{number}", host_id=host.id, build_id=build.id,
                remote="main", body=body, at=office.now(),
            )  # fmt: skip
        await keep_facts(session, host.id, "first_boot", {"a": "b"}, office.now())
    page = (await browser.get(f"/hosts/{NAME}")).text
    found = re.search(r'aria-label="Reports".*?</table>', page, re.DOTALL)
    assert found is not None
    listed = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", found[0])
    assert [("not good" in one, ">good<" in one) for one in listed] == [
        *((True, False), (False, True), (True, False), (True, False), (False, True)),
    ]
    for one, words in zip(
        listed,
        ("cannot be read", "changed, configuration", "the run failed", "calls itself other", "Lab"),
        strict=True,
    ):
        assert words in one
        assert "waits to be judged" in one
    assert PLANTED not in page
    assert re.search(r"All facts</a>.*first boot", page)
