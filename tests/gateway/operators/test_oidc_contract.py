"""Signing in works at a provider that others have made, and the double does as that one does."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import oidc_provider_mock
import pytest

from inventory.models import Role
from lab.authority import Authority
from lab.doubles.oidc import oidc_double
from serving.listeners import server_tls
from tests.gateway.operators.conftest import Office
from tests.gateway.operators.elsewhere import CLIENT, CONSOLE, SECRET, settings_for, told
from tests.inventory.world import later

ADA = {"preferred_username": "ada", "groups": ["all", "racks-admins"]}


@asynccontextmanager
async def the_double(office: Office) -> AsyncIterator[str]:
    async with oidc_double(office.now) as provider:
        provider.clients[CLIENT] = (SECRET, f"{CONSOLE}/sign-in/oidc/return")
        provider.people["7f3a"] = ADA
        yield provider.issuer


@asynccontextmanager
async def of_others(office: Office) -> AsyncIterator[str]:
    """oidc-provider-mock, which goes by the machine's clock."""
    office.seconds = (datetime.now(UTC) - later(0)).total_seconds()
    ada = oidc_provider_mock.User(sub="7f3a", claims=ADA)
    with oidc_provider_mock.run_server_in_thread(user_claims=[ada]) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.mark.parametrize("provider", [the_double, of_others])
async def test_somebody_signs_in_once_by_a_code(office: Office, provider) -> None:  # type: ignore[no-untyped-def]
    async with provider(office) as issuer, httpx.AsyncClient(trust_env=False) as there:
        office.settings = settings_for(office, issuer)
        browser, thief = office.browser(), office.browser()
        left = await browser.get("/sign-in/oidc?to=/held")
        assert left.status_code == 303, told(left)
        shown = await there.get(left.headers["location"])
        assert re.search('name="sub"', shown.text), "somebody can be chosen on the page"
        back = await there.post(left.headers["location"], data={"sub": "7f3a"})
        address = back.headers["location"]
        thief.cookies.update(browser.cookies)
        assert (await browser.get(address)).headers["location"] == "/held"
        assert (await browser.get("/people")).status_code == 200, "with the groups' rights"
        stolen = await thief.get(address)
        assert (stolen.status_code, "invalid_grant" in told(stolen)) == (403, True)


@pytest.mark.parametrize("provider", [the_double, of_others])
async def test_whoever_says_no_there_is_not_signed_in_here(office: Office, provider) -> None:  # type: ignore[no-untyped-def]
    async with provider(office) as issuer, httpx.AsyncClient(trust_env=False) as there:
        office.settings = settings_for(office, issuer)
        browser = office.browser()
        left = await browser.get("/sign-in/oidc")
        denied = await there.post(left.headers["location"], data={"action": "deny"})
        refused = await browser.get(denied.headers["location"])
        assert refused.status_code in (400, 403)
        assert not browser.cookies.get("rackrise")


async def test_over_tls_the_ca_of_the_settings_is_believed_and_no_other(
    office: Office, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "provider-ca")
    pair = authority.sign("provider")
    context = server_tls(pair.certificate, pair.key)
    async with oidc_double(office.now, context) as provider:
        assert provider.issuer.startswith("https://")
        office.settings = settings_for(office, provider.issuer, oidc_ca=str(authority.file))
        assert (await office.browser().get("/sign-in/oidc")).status_code == 303
        office.settings = settings_for(office, provider.issuer)
        answer = await office.browser().get("/sign-in/oidc")
        assert answer.status_code == 502
        assert "RACKRISE_GATEWAY_OIDC_CA" in told(answer)
    await office.person("root", Role.ADMIN)
    office.settings = settings_for(office, "https://id.example.org", oidc_ca=str(tmp_path / "no"))
    with pytest.raises(OSError, match="No such file"):
        office.browser()
