"""Signing in at an OpenID provider: who gets in with which rights, and whom nothing lets in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from inventory import acts_on_people, people
from inventory.acts_on_people import Rights
from inventory.models import Door, Role
from inventory.rights import Actor
from tests.gateway.operators.conftest import PASSWORD, Office
from tests.gateway.operators.elsewhere import CLIENT, CONSOLE, Elsewhere, elsewhere, told
from tests.gateway.operators.forms import form_of, signed_in

ROOT = Actor("root", Door.CLI, Role.ADMIN)


@pytest.fixture
async def racks(office: Office) -> AsyncIterator[Elsewhere]:
    async with elsewhere(office) as made:
        yield made


async def test_somebody_signs_in_and_is_where_they_wanted_to_be(racks: Elsewhere) -> None:
    browser = racks.office.browser()
    page = await browser.get("/sign-in?to=/held")
    assert 'href="/sign-in/oidc?to=/held">Sign in with Racks' in page.text
    assert "leaves you signed in at Racks" in page.text
    back = await racks.sign_in(browser)
    assert (back.status_code, back.headers["location"]) == (303, "/held")
    assert (await browser.get("/held")).status_code == 200
    account = (await browser.get("/account")).text
    assert "ada" in account
    assert "Present one" not in account, "no password of theirs is here"
    assert "Racks" in account
    listed = (await browser.get("/people")).text
    assert "Role and limits are those of the groups there" in listed
    assert "Make another password" not in listed
    ada = (await racks.people())["ada"]
    assert (ada.role, ada.subject) == (Role.ADMIN, f"{racks.provider.issuer} 7f3a")
    assert await racks.refusals() == []


async def test_what_is_asked_of_the_provider_and_kept_in_the_browser(racks: Elsewhere) -> None:
    left = await racks.office.browser().get("/sign-in/oidc")
    asked = {
        name: one[0] for name, one in parse_qs(urlsplit(left.headers["location"]).query).items()
    }
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{CONSOLE}/sign-in/oidc/return"
    assert (asked["client_id"], asked["scope"]) == (CLIENT, "openid profile")
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    assert min(len(asked[one]) for one in ("state", "nonce", "code_challenge")) >= 43
    cookie = left.headers["set-cookie"]
    assert re.match(
        r"rackrise-elsewhere=[\w.-]+; HttpOnly; Max-Age=600; Path=/; SameSite=lax$", cookie
    )
    racks.change(console_url="https://console.example.org")
    left = await racks.office.browser().get("/sign-in/oidc")
    assert left.headers["set-cookie"].startswith("__Host-rackrise-elsewhere=")
    assert "Secure" in left.headers["set-cookie"]


@pytest.mark.parametrize("to", ["https://evil.example/", "//evil.example", "/\\evil.example"])
async def test_it_leads_nowhere_else(racks: Elsewhere, to: str) -> None:
    assert (await racks.sign_in(racks.office.browser(), to=to)).headers["location"] == "/"


async def test_a_public_client_is_protected_by_pkce_alone(racks: Elsewhere) -> None:
    racks.provider.clients[CLIENT] = (None, f"{CONSOLE}/sign-in/oidc/return")
    racks.change(oidc_client_secret=None)
    assert (await racks.sign_in(racks.office.browser())).headers["location"] == "/held"


async def test_a_secret_may_be_sent_in_the_form(racks: Elsewhere) -> None:
    racks.provider.faults.discovery = {
        "token_endpoint_auth_methods_supported": ["client_secret_post"]
    }
    assert (await racks.sign_in(racks.office.browser())).headers["location"] == "/held"
    racks.provider.faults.discovery = {"token_endpoint_auth_methods_supported": ["private_key_jwt"]}
    refused = await racks.sign_in(racks.office.browser())
    assert refused.status_code == 502
    assert "private_key_jwt" in told(refused)


async def test_new_keys_of_the_provider_are_found_and_old_ones_kept(racks: Elsewhere) -> None:
    browser = racks.office.browser()
    for _ in range(2):
        assert (await racks.sign_in(browser)).headers["location"] == "/held"
    assert racks.provider.asked["keys"] == racks.provider.asked["discovery"] == 1
    racks.provider.take_new_key("EC")
    assert (await racks.sign_in(browser)).headers["location"] == "/held"
    assert racks.provider.asked["keys"] == 2
    racks.office.seconds += 3601
    assert (await racks.sign_in(browser)).headers["location"] == "/held"
    assert (racks.provider.asked["keys"], racks.provider.asked["discovery"]) == (3, 2)


async def test_new_keys_are_found_also_where_keys_are_not_told_apart(racks: Elsewhere) -> None:
    browser = racks.office.browser()
    for kid in (None, "always-this-one"):
        for asked in (1, 2):
            racks.provider.take_new_key("RSA", kid)
            back = await racks.sign_in(browser)
            assert back.headers.get("location") == "/held", (kid, told(back))
            assert racks.provider.asked["keys"] == asked + (0 if kid is None else 2), kid
    racks.provider.faults.signs_by = "another key"
    refused = await racks.sign_in(browser)
    assert (refused.status_code, "signature is not right" in told(refused)) == (403, True)
    assert racks.provider.asked["keys"] == 5, "once, and then it is refused"


async def test_the_first_group_of_the_list_decides(racks: Elsewhere) -> None:
    ada = racks.provider.people["7f3a"]
    for groups, role, limits in (
        (["web-team", "racks-admins"], Role.ADMIN, []),
        (["web-team"], Role.OPERATOR, ["web"]),
        ("racks-admins", Role.ADMIN, []),
    ):
        ada["groups"] = groups
        assert (await racks.sign_in(racks.office.browser())).headers["location"] == "/held"
        person = (await racks.people())["ada"]
        assert (person.role, person.host_groups) == (role, limits), groups


async def test_another_claim_may_hold_the_groups(racks: Elsewhere) -> None:
    racks.change(oidc_groups_claim="https://racks.example/teams", oidc_scopes=["openid", "teams"])
    racks.provider.people["7f3a"]["https://racks.example/teams"] = ["racks-admins"]
    browser = racks.office.browser()
    left = await browser.get("/sign-in/oidc")
    assert "scope=openid%20teams" in left.headers["location"]
    assert (await racks.sign_in(browser)).headers["location"] == "/held"


async def test_who_has_no_group_is_told_who_they_are_and_what_is_to_be_done(
    racks: Elsewhere,
) -> None:
    browser = racks.office.browser()
    refused = await racks.sign_in(browser, "9b1c")
    assert refused.status_code == 403
    said = told(refused)
    for words in (racks.provider.issuer, "9b1c", "eve", "all", "RACKRISE_GATEWAY_OIDC_RIGHTS"):
        assert words in said, words
    assert (await browser.get("/")).status_code == 303
    assert "eve" not in await racks.people()
    (entry,) = await racks.refusals()
    assert entry.after == {
        "address": "192.0.2.99",
        "subject": "9b1c",
        "called": "eve",
        "groups": ["all"],
    }
    del racks.provider.people["9b1c"]["groups"]
    assert "no claim 'groups'" in told(await racks.sign_in(racks.office.browser(), "9b1c"))


async def test_who_has_lost_the_group_is_out_at_the_next_try(racks: Elsewhere) -> None:
    first = racks.office.browser()
    await racks.sign_in(first)
    async with racks.office.database.sessions.begin() as session:
        ada = await people.named(session, "ada")
        token = await people.add_token(
            session,
            ada,
            "ci",
            role=Role.ADMIN,
            lasts=timedelta(days=9),
            at=racks.office.now(),
        )
    program = racks.office.browser(Authorization=f"Bearer {token}")
    assert (await program.get("/api/v1/me")).status_code == 200
    racks.provider.people["7f3a"]["groups"] = []
    assert (await racks.sign_in(racks.office.browser())).status_code == 403
    assert (await first.get("/")).status_code == 303
    assert (await program.get("/api/v1/me")).status_code == 401
    racks.provider.people["7f3a"]["groups"] = ["web-team"]
    assert (await racks.sign_in(first)).headers["location"] == "/held"
    assert (await racks.people())["ada"].role is Role.OPERATOR
    assert (await program.get("/api/v1/me")).json()["role"] == "operator"


@pytest.mark.parametrize("groups", [None, {"all": "racks-admins"}, [{"name": "racks-admins"}], 7])
async def test_where_no_groups_are_told_nobody_gets_in_and_nobody_loses_anything(
    racks: Elsewhere, groups: object
) -> None:
    first = racks.office.browser()
    await racks.sign_in(first)
    racks.provider.faults.claims = {"groups": groups}
    refused = await racks.sign_in(racks.office.browser())
    assert refused.status_code == 403
    assert "does not say which groups you are in" in told(refused)
    assert "RACKRISE_GATEWAY_OIDC_GROUPS_CLAIM" in told(refused)
    assert (await first.get("/held")).status_code == 200
    assert (await racks.people())["ada"].disabled_at is None


async def test_an_admin_who_changes_somebody_without_groups_does_not_disable_them(
    racks: Elsewhere,
) -> None:
    browser, admin = racks.office.browser(), await signed_in(racks.office, "root", Role.ADMIN)
    await racks.sign_in(browser)
    racks.provider.people["7f3a"]["groups"] = []
    await racks.sign_in(browser)
    page = (await admin.get("/people")).text
    assert "without groups" in page
    ticks = re.findall(r'<input type="checkbox" name="disabled"[^>]*>', page)
    assert len(ticks) == 2
    assert not any("checked" in one for one in ticks)
    sent = {"form": await form_of(admin), "role": "viewer"}
    assert (await admin.post("/people/ada", data=sent)).status_code == 303
    ada = (await racks.people())["ada"]
    assert (ada.disabled_at is not None, ada.disabled_by_provider) == (True, True)
    racks.provider.people["7f3a"]["groups"] = ["web-team"]
    assert (await racks.sign_in(browser)).headers["location"] == "/held"
    # With the tick it is the admin's word, for people without groups too.
    racks.provider.people["7f3a"]["groups"] = []
    await racks.sign_in(browser)
    await admin.post("/people/ada", data={**sent, "disabled": "true"})
    assert 'name="disabled" value="true" checked' in (await admin.get("/people")).text
    racks.provider.people["7f3a"]["groups"] = ["web-team"]
    assert "an admin has disabled them" in told(await racks.sign_in(browser))


async def test_whom_an_admin_has_disabled_stays_out(racks: Elsewhere) -> None:
    await racks.sign_in(racks.office.browser())
    await racks.office.person("root", Role.ADMIN)
    async with racks.office.database.sessions.begin() as session:
        await acts_on_people.change(
            session, ROOT, "ada", Rights(Role.VIEWER), disabled=True, at=racks.office.now()
        )
    refused = await racks.sign_in(racks.office.browser())
    assert refused.status_code == 403
    assert "an admin has disabled them" in told(refused)
    (entry,) = await racks.refusals()
    assert entry.who == "ada"


async def test_rights_for_what_is_not_there_are_told(racks: Elsewhere) -> None:
    racks.provider.people["7f3a"]["groups"] = ["ghosts"]
    refused = await racks.sign_in(racks.office.browser())
    assert refused.status_code == 403
    assert "there is no site atlantis" in told(refused)
    assert await racks.people() == {}


async def test_a_password_of_here_is_good_beside_it_and_nobody_is_taken_over(
    racks: Elsewhere,
) -> None:
    await racks.office.person("ada", Role.VIEWER)
    assert (await racks.sign_in(racks.office.browser())).headers["location"] == "/held"
    found = await racks.people()
    assert (found["ada"].role, found["ada-2"].role) == (Role.VIEWER, Role.ADMIN)
    browser = racks.office.browser()
    answer = await browser.post("/sign-in", data={"name": "ada", "password": PASSWORD})
    assert answer.status_code == 303
    answer = await browser.post("/sign-in", data={"name": "ada-2", "password": ""})
    assert answer.status_code == 401


async def test_who_says_no_there_is_not_signed_in_here(racks: Elsewhere) -> None:
    browser = racks.office.browser()
    refused = await racks.sign_in(browser, "nobody")
    assert refused.status_code == 403
    assert "Racks has not let you in: access_denied (the person said no)" in told(refused)
    assert 'href="/sign-in/oidc?to=/held"' in refused.text
    assert len(await racks.refusals()) == 1


async def test_an_answer_that_this_browser_has_not_asked_for_is_not_believed(
    racks: Elsewhere,
) -> None:
    mine, other = racks.office.browser(), racks.office.browser()
    address = await racks.code_for(mine)
    # Somebody else's code, planted into a browser in which nothing was begun, or something else.
    for begun in (False, True):
        if begun:
            await other.get("/sign-in/oidc")
        refused = await other.get(address)
        assert refused.status_code == 400
        assert "another sign-in" in told(refused) or "no sign-in is under way" in told(refused)
        assert not other.cookies.get("rackrise")
    assert racks.provider.asked["token"] == 0
    planted = "/sign-in/oidc/return?error=<b>call+555</b>&state=x"
    assert "call 555" not in told(await other.get(planted))
    assert (await mine.get(address)).headers["location"] == "/held"


async def test_another_tab_that_has_begun_too_is_not_in_the_way(racks: Elsewhere) -> None:
    browser = racks.office.browser()
    first, last = await racks.code_for(browser), await racks.code_for(browser, to="/audit")
    assert (await browser.get(first)).status_code == 400
    assert (await browser.get(last)).headers["location"] == "/audit"


async def test_other_pages_cannot_make_tries_fail_in_somebodys_browser(racks: Elsewhere) -> None:
    browser = racks.office.browser(**{"Sec-Fetch-Site": "cross-site"})
    for _ in range(9):
        for path in ("/sign-in/oidc", "/sign-in/oidc/return?error=x&state=y"):
            for mode, goal in (("no-cors", "image"), ("navigate", "iframe"), ("navigate", "embed")):
                sent = {"Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": goal}
                assert (await browser.get(path, headers=sent)).status_code == 403, sent
        # A page may still lead the whole window here.
        assert (await browser.get("/sign-in/oidc/return?state=x")).status_code == 400
        await browser.get("/sign-in/oidc")
        assert (await browser.get("/sign-in/oidc/return?state=x")).status_code == 400
    assert await racks.refusals() == []
    browser.headers.update({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"})
    assert (await racks.sign_in(browser)).headers["location"] == "/held"


async def test_what_comes_back_with_an_error_is_one_line_of_the_log(
    racks: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    browser = racks.office.browser()
    state = parse_qs(urlsplit(await racks.code_for(browser)).query)["state"][0]
    planted = "/sign-in/oidc/return?error=a%0aCRITICAL&error_description=b%0d%0a%00c"
    assert (await browser.get(f"{planted}&state={state}")).status_code == 403
    (line,) = (one.getMessage() for one in caplog.records if "not signed in" in one.getMessage())
    assert line.isprintable()
    assert (await racks.refusals())[0].note.isprintable()


async def test_a_path_that_no_cookie_holds_is_given_up(racks: Elsewhere) -> None:
    answer = await racks.sign_in(racks.office.browser(), to="/?text=" + "a" * 5000)
    assert answer.headers["location"] == "/"


async def test_a_code_is_good_once(racks: Elsewhere) -> None:
    browser, thief = racks.office.browser(), racks.office.browser()
    address = await racks.code_for(browser)
    thief.cookies.update(browser.cookies)
    assert (await browser.get(address)).headers["location"] == "/held"
    again = await browser.get(address)
    assert (again.status_code, "no sign-in is under way" in told(again)) == (400, True)
    # Also with the cookie as it was, the provider does not take it twice.
    stolen = await thief.get(address)
    assert stolen.status_code == 403
    assert "invalid_grant (Code not valid)" in told(stolen)
    assert not thief.cookies.get("rackrise")


async def test_a_sign_in_that_takes_too_long_begins_again(racks: Elsewhere) -> None:
    browser = racks.office.browser()
    address = await racks.code_for(browser)
    racks.office.seconds += 601
    refused = await browser.get(address)
    assert (refused.status_code, "within ten minutes" in told(refused)) == (400, True)


@pytest.mark.parametrize("spoiled", ["", "x.y", "\xe9.\xe9", "e30=.0", "{}"])
async def test_a_cookie_that_is_not_ours_is_nothing(racks: Elsewhere, spoiled: str) -> None:
    cookie = {b"Cookie": f"rackrise-elsewhere={spoiled}".encode("latin-1")}
    answer = await racks.office.browser().get("/sign-in/oidc/return?code=a", headers=cookie)
    assert answer.status_code == 400


async def test_gateways_with_one_key_take_each_others_browsers_back(racks: Elsewhere) -> None:
    browser, there = racks.office.browser(), racks.office.browser()
    address = await racks.code_for(browser)
    there.cookies.update(browser.cookies)
    assert (await there.get(address)).headers["location"] == "/held"
    racks.change(secret_key=None)
    browser, there = racks.office.browser(), racks.office.browser()
    address = await racks.code_for(browser)
    there.cookies.update(browser.cookies)
    assert (await there.get(address)).status_code == 400
    assert (await browser.get(address)).headers["location"] == "/held"
