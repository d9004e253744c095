"""A form that is refused comes back with what was typed in it, and says why."""

from __future__ import annotations

import re
from collections.abc import Mapping

import httpx
import pytest

from gateway.settings import GatewaySettings
from inventory.life import HostState
from inventory.models import Role
from tests.gateway.operators.conftest import PASSWORD, Office
from tests.gateway.operators.forms import another_place, form_of, signed_in
from tests.gateway.operators.test_host_page import NAME, host_at
from tests.inventory.world import discovered


async def refused(
    browser: httpx.AsyncClient, path: str, fields: Mapping[str, object], status: int, *why: str
) -> str:
    """The page that a form comes back on."""
    form = await form_of(browser)
    answer = await browser.post(path, data={"form": form, **fields})
    assert answer.status_code == status, answer.text
    said = re.search(r'<p class="wrong" role="alert"[^>]*>(.*?)</p>', answer.text, re.DOTALL)
    assert said is not None, answer.text
    for one in why:
        assert one in said[1]
    return answer.text


def field(page: str, form: str, name: str) -> str:
    """What stands in a field, or is chosen there."""
    found = re.search(rf'<form [^>]*action="{form}".*?</form>', page, re.DOTALL)
    assert found is not None
    typed = re.search(rf'<input [^>]*name="{name}"[^>]* value="([^"]*)"', found[0])
    if typed:
        return typed[1]
    chosen = re.search(rf'<select name="{name}".*?<option selected>([^<]*)<', found[0], re.DOTALL)
    assert chosen is not None, found[0]
    return chosen[1]


async def test_a_hosts_forms_keep_what_was_typed(office: Office) -> None:
    await host_at(office, HostState.PREPARING)
    second, _ = await discovered(office.database.sessions, 2)
    browser = await signed_in(office)
    path = f"/hosts/{second.name}/provision"
    page = await refused(
        browser, path, {"host_group": "web", "name": "WEB1"}, 409, f"the name {NAME} belongs to"
    )
    assert (field(page, path, "name"), field(page, path, "host_group")) == ("WEB1", "web")
    # An open page is kept as things are, and this is to stay.
    assert re.search(r'id="actions"[^>]*data-stays', page)
    page = await refused(browser, path, {"name": "x"}, 404, "there is no host group")
    assert field(page, path, "name") == "x"
    path = f"/hosts/{NAME}/decommission"
    page = await refused(browser, path, {"typed": "web2"}, 422, f"to let {NAME} go, type its name")
    assert field(page, path, "typed") == "web2"
    assert page.count("<details open>") == 1
    # Without such a button any more, it is said where the buttons are.
    await refused(browser, f"/hosts/{NAME}/rebuild", {"host_group": "web"}, 409, "is preparing")
    await refused(browser, f"/hosts/{NAME}/retry", {}, 409, "only a host that is held")
    path = f"/hosts/{second.name}/plan"
    page = await refused(browser, path, {"host_group": "nothing"}, 404, "there is no host group")


async def test_the_forms_of_people_keep_what_was_typed(office: Office) -> None:
    browser = await signed_in(office, "root", Role.ADMIN)
    fields = {"name": "root", "role": "operator", "host_groups": ["web"]}
    page = await refused(browser, "/people", fields, 422, "root")
    assert (field(page, "/people", "name"), field(page, "/people", "role")) == ("root", "operator")
    assert page.count('name="host_groups" value="web" checked') == 1
    page = await refused(browser, "/people/root", {"role": "viewer", "disabled": "true"}, 422)
    assert field(page, "/people/root", "role") == "viewer"
    assert 'name="disabled" value="true" checked' in page
    await refused(browser, "/people/nobody", {"role": "viewer"}, 404, "nobody")
    fields = {"old": "not it at all", "new": "quite another password"}
    page = await refused(browser, "/account/password", fields, 403, "is not right")
    page += await refused(browser, "/account/password", {"old": PASSWORD, "new": "short"}, 422)
    for secret in (*fields.values(), PASSWORD, "short"):
        assert f'value="{secret}"' not in page
    token = {"name": "nightly", "role": "admin", "days": "7"}
    form = await form_of(browser)
    assert (await browser.post("/account/tokens", data={"form": form, **token})).status_code == 200
    page = await refused(browser, "/account/tokens", token, 422, "nightly")
    kept = [field(page, "/account/tokens", one) for one in ("name", "role", "days")]
    assert kept == ["nightly", "admin", "7"]


async def test_the_ticked_hosts_stay_ticked(office: Office) -> None:
    names = [(await discovered(office.database.sessions, number))[0].name for number in (1, 2, 3)]
    browser = await signed_in(office)
    fields = {"host_group": "web", "host": names[:2], "name": "one", "text": "mac"}
    page = await refused(browser, "/discovered/provision", fields, 422, "2 were chosen")
    ticked = re.findall(r'name="host" value="([^"]+)" form="provision" checked', page)
    assert ticked == names[:2]
    assert field(page, "/discovered/provision", "name") == "one"
    assert field(page, "/discovered/provision", "text") == "mac"


@pytest.mark.parametrize("url", ["ftp://example.org/", "https://example.org/hook"])
async def test_a_webhooks_form_keeps_what_was_typed(office: Office, url: str) -> None:
    office.settings = GatewaySettings(database_url=office.database.url, secret_key="k" * 40)
    browser = await signed_in(office, "root", Role.ADMIN)
    fields = {"name": "pager", "url": url, "kinds": ["nothing"], "host_groups": ["web"]}
    page = await refused(browser, "/webhooks", fields, 422)
    assert (field(page, "/webhooks", "name"), field(page, "/webhooks", "url")) == ("pager", url)
    assert 'name="host_groups" value="web" checked' in page


async def test_a_rule_that_may_not_be_kept_stays_in_its_form(office: Office) -> None:
    await another_place(office)
    browser = await signed_in(office, groups=("db",))
    fields = {
        "do": "save",
        "name": "r",
        "priority": "7",
        "condition": "cpus > 1",
        "enabled": "true",
        "host_group": "web",
        "host_name": "x",
        "host_limit": "0",
        "provision": "at_once",
        "time_zone": "UTC",
    }
    page = await refused(browser, "/rules/new", fields, 403)
    assert field(page, "/rules/new", "priority") == "7"
    assert "cpus &gt; 1" in page
