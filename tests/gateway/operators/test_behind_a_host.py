"""What is shown of a host beyond Rackrise: runs, records outside, and what it has installed."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
from sqlmodel import select

from gateway.settings import GatewaySettings
from inventory import effects, profiles, repositories, steps
from inventory.life import HostState
from inventory.models import Build, Role
from inventory.reports import Repository
from tests.gateway.operators.conftest import Office
from tests.gateway.operators.test_host_page import NAME, browser_of, host_at

RUN = UUID("0f0f0f0f-1111-4222-8333-444444444444")
SHELLS = ("bash", "zsh")


@pytest.mark.parametrize("url", ["http://prefect.example.org:4200/", ""])
async def test_from_an_arrow_leads_a_link_to_the_run_that_did_it(office: Office, url: str) -> None:
    office.settings = GatewaySettings(database_url=office.database.url, prefect_url=url)
    await host_at(office, HostState.PREPARING)
    async with office.database.sessions.begin() as session:
        build = (await session.exec(select(Build))).one()
        await steps.begin(session, [build.id], [12], RUN, office.now())
    browser = await browser_of(office, Role.VIEWER)
    runs = r'<dt>Prefect</dt><dd><a href="([^"]*)">the run that did it</a>'
    found = re.findall(runs, (await browser.get(f"/hosts/{NAME}/arrows/12")).text)
    assert found == ([f"{url}runs/flow-run/{RUN}"] if url else [])
    # What no run has done leads to none.
    assert re.findall(runs, (await browser.get(f"/hosts/{NAME}/arrows/14")).text) == []


async def test_a_hosts_page_has_its_records_outside_and_its_content(office: Office) -> None:
    host = await host_at(office, HostState.FIRST_BOOT)
    browser = await browser_of(office, Role.VIEWER)
    page = (await browser.get(f"/hosts/{NAME}")).text
    assert "Nothing has been changed for it" in page
    assert "<h2>Content</h2>" not in page
    bash, zsh = ({"name": one, "version": "5", "release": "1", "arch": "x86_64"} for one in SHELLS)
    reported = [Repository(id="base", url="https://mirror.example.test/<base>/")]
    async with office.database.sessions.begin() as session:
        build = (await session.exec(select(Build))).one()
        made = await effects.intend(
            *(session, build.id, "DNS", "proxy p, example.org", f"{NAME} A"),
            *(None, {"value": "192.0.2.20"}, office.now()),
        )
        await effects.verified(session, made.id, office.now())
        await profiles.keep(session, host.id, "rpm", [bash], office.now())
        await profiles.keep(session, host.id, "rpm", [bash, zsh], office.now())
        await repositories.keep(session, host.id, reported, source="rhsm", at=office.now())
    page = (await browser.get(f"/hosts/{NAME}")).text
    assert _rows(page, "Records outside") == [
        [f"DNS {NAME} A", "proxy p, example.org", "verified", "2026-01-02 03:20:45", ""]
    ]
    packages, base = _rows(page, "Content")
    assert packages == ["rpm", "2, last 1 came and 0 went", "2026-01-02 03:20:45"]
    assert base[:2] == ["base", "https://mirror.example.test/&lt;base&gt;/ not compared yet"]
    listed = "bash-5-1.x86_64\nzsh-5-1.x86_64"
    assert f"<summary>2 packages</summary><pre>{listed}</pre>" in page


def _rows(page: str, label: str) -> list[list[str]]:
    found = re.search(rf'aria-label="{label}".*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    assert found is not None, label
    return [
        [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in found[1].split("</tr>")
        if row.strip()
    ]
