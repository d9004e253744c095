"""ID tokens that are not believed, and providers that are not as they must be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.gateway.operators.conftest import Office
from tests.gateway.operators.elsewhere import CLIENT, SECRET, Elsewhere, elsewhere, told


@pytest.fixture
async def racks(office: Office) -> AsyncIterator[Elsewhere]:
    async with elsewhere(office) as made:
        yield made


WRONG: tuple[tuple[dict[str, object], str], ...] = (
    ({"iss": "https://other.example.org"}, "another issuer"),
    ({"aud": "somebody-else"}, "another client"),
    ({"aud": None}, "no claim aud"),
    ({"aud": ["rackrise", "somebody-else"]}, "no claim azp"),
    ({"azp": "somebody-else"}, "another client"),
    ({"nonce": "x"}, "another sign-in"),
    ({"nonce": None}, "no claim nonce"),
    ({"exp": 1}, "has expired"),
    ({"exp": None}, "no claim exp"),
    ({"exp": "soon"}, "exp"),
    ({"iat": 1 << 40}, "in the future"),
    ({"iat": None}, "no claim iat"),
    ({"sub": None}, "no claim sub"),
    ({"sub": ""}, "subject is no name"),
    ({"sub": "a" * 256}, "subject is no name"),
    ({"sub": 7}, "sub"),
    ({"at_hash": "AAAA"}, "another access token"),
    ({"_claim_names": {"groups": "src1"}, "groups": None}, "so many groups"),
)
"""Claims, and what is said of them."""


async def test_an_id_token_is_believed_with_all_its_claims_right_only(racks: Elsewhere) -> None:
    browser = racks.office.browser()
    for claims, said in WRONG:
        racks.office.seconds += 1000  # nobody who tries so seldom has to wait
        racks.provider.faults.claims = claims
        refused = await racks.sign_in(browser)
        assert (refused.status_code, said in told(refused)) == (403, True), (claims, told(refused))
        assert not browser.cookies.get("rackrise"), claims
        assert said in (await racks.refusals())[0].note, claims
    assert await racks.people() == {}
    racks.provider.faults.claims = {"aud": ["other", CLIENT], "azp": CLIENT}
    assert (await racks.sign_in(browser)).headers["location"] == "/held"


@pytest.mark.parametrize(
    ("signs_by", "said"),
    [
        ("none", "signed by 'none'"),
        ("HS256", "signed by 'HS256'"),
        ("another key", "signature is not right"),
    ],
)
async def test_an_id_token_that_anybody_could_have_made_is_not_believed(
    racks: Elsewhere, signs_by: str, said: str
) -> None:
    browser = racks.office.browser()
    racks.provider.faults.signs_by = signs_by  # type: ignore[assignment]
    refused = await racks.sign_in(browser)
    assert (refused.status_code, said in told(refused)) == (403, True), told(refused)
    assert not browser.cookies.get("rackrise")


async def test_what_is_no_id_token_is_told_so(racks: Elsewhere) -> None:
    browser = racks.office.browser()
    unsigned = ("", "a.b.c", "....", "é", "eyJhbGciOiJSUzI1NiJ9.e30.", "e30.e30.e30", "a" * 9999)
    for token in (None, 7, *unsigned):
        racks.office.seconds += 1000
        racks.provider.faults.answer = {"access_token": "x", "id_token": token}
        refused = await racks.sign_in(browser)
        assert (refused.status_code, "ID token" in told(refused)) == (403, True), token


async def test_a_wrong_secret_is_for_an_admin_to_correct(racks: Elsewhere) -> None:
    racks.change(oidc_client_secret="not-this-one")
    refused = await racks.sign_in(racks.office.browser())
    assert refused.status_code == 502
    assert "invalid_client" in told(refused)
    assert "RACKRISE_GATEWAY_OIDC_CLIENT_SECRET" in told(refused)
    assert SECRET not in refused.text
    assert "not-this-one" not in refused.text


UNFIT: tuple[tuple[dict[str, object], str], ...] = (
    ({"issuer": "https://evil.example"}, "calls itself 'https://evil.example'"),
    ({"issuer": None}, "issuer: Field required"),
    ({"token_endpoint": "http://id.example.org/token"}, "must begin with https://"),
    ({"authorization_endpoint": "javascript:alert(1)"}, "must begin with https://"),
    ({"jwks_uri": "https://[::1"}, "must begin with https://"),
    ({"code_challenge_methods_supported": ["plain"]}, "no PKCE"),
    ({"id_token_signing_alg_values_supported": ["HS256"]}, "HS256 only"),
)
"""Values of a discovery document, and what is said of them."""


async def test_a_provider_that_is_not_as_it_must_be_is_not_gone_to(racks: Elsewhere) -> None:
    browser = racks.office.browser()
    for discovery, said in UNFIT:
        racks.provider.faults.discovery = discovery
        answer = await browser.get("/sign-in/oidc?to=/held")
        assert (answer.status_code, said in told(answer)) == (502, True), told(answer)
    racks.provider.faults.discovery = {}
    assert (await racks.sign_in(browser)).headers["location"] == "/held"


@pytest.mark.parametrize("how", ["fails", "hangs", "moved"])
async def test_a_provider_that_is_away_or_slow_is_told_so_and_nobody_is_blamed(
    racks: Elsewhere, how: str
) -> None:
    if how == "hangs":
        racks.change(oidc_seconds=2)
    browser = racks.office.browser()
    for part in ("discovery", "keys", "token"):
        racks.office.seconds += 4000  # nothing that was published before is fresh
        if how == "hangs":
            racks.provider.faults.hang = {part}
        else:
            racks.provider.faults.statuses = {part: 503 if how == "fails" else 302}
        if part == "discovery":
            answer = await browser.get("/sign-in/oidc")
        else:
            answer = await racks.sign_in(browser)
        assert answer.status_code == (504 if how == "hangs" else 502), told(answer)
        assert "Try again in a while" in told(answer), part
    assert await racks.refusals() == []
    racks.provider.faults.hang.clear()
    racks.provider.faults.statuses.clear()
    assert (await racks.sign_in(browser)).headers["location"] == "/held"


async def test_a_provider_that_nobody_reaches_is_told_so(racks: Elsewhere) -> None:
    racks.provider.issuer = "http://127.0.0.1:1/realms/racks"
    racks.change()
    answer = await racks.office.browser().get("/sign-in/oidc")
    assert answer.status_code == 502
    assert "not reachable" in told(answer)


async def test_whoever_tries_again_and_again_waits(racks: Elsewhere) -> None:
    browser = racks.office.browser()
    for _ in range(5):
        assert (await racks.sign_in(browser, "nobody")).status_code == 403
    answers = await asyncio.gather(
        browser.get("/sign-in/oidc"), browser.get("/sign-in/oidc/return?error=x")
    )
    assert [one.status_code for one in answers] == [429, 429]
    assert len(await racks.refusals()) == 5
    racks.office.seconds += 10
    assert (await racks.sign_in(browser)).headers["location"] == "/held"


async def test_whom_the_provider_vouches_for_keeps_nobody_of_the_address_out(
    racks: Elsewhere,
) -> None:
    browser = racks.office.browser()
    for _ in range(6):
        assert (await racks.sign_in(browser, "9b1c")).status_code == 403
    racks.provider.faults.claims = {"_claim_names": {"groups": "src1"}, "groups": None}
    for _ in range(6):
        assert (await racks.sign_in(browser)).status_code == 403
    racks.provider.faults.claims = {}
    assert (await racks.sign_in(browser)).headers["location"] == "/held"
    named = [one.after["subject"] for one in await racks.refusals() if one.after]
    assert (named.count("9b1c"), named.count("7f3a")) == (6, 6), "each is on record with who it was"


async def test_without_a_provider_there_is_nothing_of_it(office: Office) -> None:
    browser = office.browser()
    assert "/sign-in/oidc" not in (await browser.get("/sign-in")).text
    for path in ("/sign-in/oidc", "/sign-in/oidc/return?code=a&state=b"):
        answer = await browser.get(path)
        assert answer.status_code == 404
        assert "no OpenID provider" in told(answer)
