"""How each arrow of a host's page stands: whose turn it is, and what nobody works at any more."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from sqlmodel import select

from gateway.operators.console.diagram import draw
from inventory import acts, builds, orders, steps
from inventory.arrow_views import ArrowView, Standing
from inventory.arrows import Evidence, arrow
from inventory.hosts import move
from inventory.life import Event, HostState
from inventory.models import Build, BuildOutcome, Host, Role, StepState
from tests.gateway.operators.conftest import Office
from tests.gateway.operators.forms import signed_in
from tests.gateway.operators.test_host_page import ADA, NAME, host_at
from tests.inventory.world import T0, later


def kinds(page: str) -> dict[int, str]:
    found = re.findall(r'class="arrow ([^"]+)" data-arrow="(\d+)"', page)
    return {int(number): kind for kind, number in found}


async def done_until(office: Office, number: int) -> None:
    async with office.database.sessions.begin() as session:
        build = (await session.exec(select(Build))).one()
        await steps.finish(
            session,
            build.id,
            range(1, number + 1),
            evidence=Evidence.OBSERVED,
            seen="seen",
            at=office.now(),
        )


@pytest.mark.parametrize(
    ("state", "done", "awaited"),
    [
        (HostState.REBOOTING, 17, 18),
        (HostState.INSTALLING, 21, 22),
        (HostState.FIRST_BOOT, 29, 30),
    ],
)
async def test_the_hosts_turn_is_shown_at_the_arrow_that_comes_next(
    office: Office, state: HostState, done: int, awaited: int
) -> None:
    await host_at(office, state)
    await done_until(office, done)
    browser = await signed_in(office, role=Role.VIEWER)
    page = (await browser.get(f"/hosts/{NAME}")).text
    found = kinds(page)
    assert [one for one, kind in found.items() if kind == "awaited"] == [awaited]
    since = f"{office.now():%H:%M:%S}"
    assert f"the host&#39;s turn since {since}" in page
    assert re.search(
        rf'aria-label="{awaited} [^"]+, the host&#39;s turn, awaited since {since}"', page
    )
    behind = (await browser.get(f"/hosts/{NAME}/arrows/{awaited}")).text
    assert "<dd>the host&#39;s turn since" in behind


async def test_what_the_host_is_at_is_not_awaited_too(office: Office) -> None:
    await host_at(office, HostState.INSTALLING)
    await done_until(office, 21)
    async with office.database.sessions.begin() as session:
        build = (await session.exec(select(Build))).one()
        await steps.begin(session, [build.id], [22], None, office.now())
    found = kinds((await (await signed_in(office)).get(f"/hosts/{NAME}")).text)
    assert found[22] == "running"
    assert "awaited" not in found.values()


async def test_where_it_is_our_turn_no_host_is_awaited(office: Office) -> None:
    await host_at(office, HostState.PREPARING)
    await done_until(office, 6)
    page = (await (await signed_in(office)).get(f"/hosts/{NAME}")).text
    assert "awaited" not in kinds(page).values()
    assert "the host&#39;s turn since" not in page


@pytest.mark.parametrize("end", ["given up", "undone", "let go", "superseded", "held"])
async def test_nothing_is_under_way_in_a_build_that_has_stopped(office: Office, end: str) -> None:
    host = await host_at(office, HostState.PREPARING)
    at = office.now()
    async with office.database.sessions.begin() as session:
        host = await session.get_one(Host, host.id)
        build = (await session.exec(select(Build))).one()
        await steps.begin(session, [build.id], [7, 8], None, at)
        match end:
            case "given up":
                await acts.cancel(session, ADA, NAME, at=at)
            case "undone":
                await acts.cancel(session, ADA, NAME, at=at)
                await builds.close_build(session, build, BuildOutcome.CANCELLED, at)
                await move(session, host, Event.RECORDS_GONE, at)
            case "let go":
                await acts.decommission(session, ADA, NAME, at=at)
            case "superseded":
                await builds.close_build(session, build, BuildOutcome.SUPERSEDED, at)
                group = await orders.group_named(session, "web")
                await builds.open_build(session, host, group=group, asked_by="x", at=at)
            case "held":
                await builds.hold(session, build, step=14, reason="DNS", advice="", at=at)
    browser = await signed_in(office, role=Role.VIEWER)
    page = (await browser.get(f"/hosts/{NAME}?generation=1")).text
    assert (kinds(page)[7], kinds(page)[8]) == ("halted", "halted")
    assert "was under way when the build stopped" in page


async def test_a_held_arrow_says_why_and_goes_on_by_its_button(office: Office) -> None:
    await host_at(office, HostState.HELD)
    path = f"/hosts/{NAME}/arrows/14"
    viewer = (await (await signed_in(office, "eve", Role.VIEWER)).get(path)).text
    assert ("Held here" in viewer, "Mend it." in viewer, "/retry" in viewer) == (True, True, False)
    browser = await signed_in(office)
    page = (await browser.get(path)).text
    assert re.search(rf'action="/hosts/{NAME}/retry".*?Retry from 14</button>', page)
    assert re.search(rf'rel="prev"[^>]*href="/hosts/{NAME}/arrows/13"', page)
    assert re.search(rf'rel="next"[^>]*href="/hosts/{NAME}/arrows/15"', page)
    other = (await browser.get(f"/hosts/{NAME}/arrows/34?generation=1")).text
    assert ("Held here" in other, "/retry" in other, 'rel="next"' in other) == (False,) * 3
    assert f'href="/hosts/{NAME}/arrows/33?generation=1"' in other


@pytest.mark.parametrize(
    ("took", "usual", "words"),
    [
        (12.0, 4.0, "slow: 3 times the usual 4.0 s"),
        (7.0, 4.0, "slow, usually 4.0 s"),
        (30.0, 0.0, "slow, usually 0.0 s"),
    ],
)
def test_what_is_slow_is_said_in_words(took: float, usual: float, words: str) -> None:
    one = view(seconds=took, usual_seconds=usual, slow=True)
    drawn = next(each for each in draw([one]).arrows)
    assert words in drawn.said
    assert words in drawn.spoken
    assert ", ".join(drawn.lines) == drawn.said
    # What is longer than the room beside an arrow would be cut off there.
    assert max(map(len, drawn.lines)) <= 38
    usually = next(each for each in draw([replace(one, slow=False)]).arrows)
    assert ("slow" in usually.said, f"usually {usual:.1f} s" in usually.said) == (False, True)


def view(*, seconds: float, usual_seconds: float, slow: bool) -> ArrowView:
    """Arrow 7, done."""
    what = arrow(7)
    return ArrowView(
        number=7,
        label=what.label,
        phase=what.phase.value,
        source=what.source,
        target=what.target,
        text=what.text,
        state=StepState.DONE,
        standing=Standing.DONE,
        evidence="observed",
        awaited_since=None,
        started_at=T0,
        ended_at=later(seconds),
        seconds=seconds,
        usual_seconds=usual_seconds,
        slow=slow,
        seen="seen",
        error=None,
        attempts=1,
        flow_run_id=None,
    )
