"""One contract for a real Puppet CA and its double: what the client promises, tried on both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio

from integrations.errors import Refused
from integrations.puppet import CertificateState, read_request
from tests.integrations.puppet.sites import SITES, Site, csr, new_name

# The first one on a machine makes the CA; a start of Java takes up to minutes on a slow one.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=["double", pytest.param("puppetserver", marks=pytest.mark.servers)],
)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with SITES[request.param]() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def waiting(site: Site) -> str:
    """The name of a host whose request waits."""
    name = new_name()
    assert (await site.submit(name, csr(name, token="tok"))).status_code == 200
    return name


async def state(site: Site, name: str) -> CertificateState | None:
    found = await site.ca.status(name)
    return found.state if found else None


async def test_a_name_that_nobody_has_asked_for_is_unknown(site: Site) -> None:
    name = new_name()
    assert await site.ca.status(name) is None
    assert await site.ca.request(name) is None
    with pytest.raises(Refused, match="Invalid certificate subject"):
        await site.ca.sign(name)


async def test_a_request_waits_and_can_be_read_with_its_token(site: Site, waiting: str) -> None:
    assert await state(site, waiting) is CertificateState.REQUESTED
    assert waiting in {one.name for one in await site.ca.pending()}
    pem = await site.ca.request(waiting)
    assert pem is not None
    request = read_request(pem)
    assert (request.common_name, request.token) == (waiting, "tok")


async def test_a_signed_certificate_is_read_back(site: Site, waiting: str) -> None:
    signed = await site.ca.sign(waiting)
    assert signed.state is CertificateState.SIGNED
    assert signed.serial_number is not None
    assert signed.not_after is not None
    assert signed.not_after > datetime.now(UTC) + timedelta(days=365)
    assert "signed until 20" in str(signed)
    assert waiting not in {one.name for one in await site.ca.pending()}
    assert await site.ca.request(waiting) is None


async def test_signing_twice_is_done_and_no_conflict(site: Site, waiting: str) -> None:
    first = await site.ca.sign(waiting)
    assert (await site.ca.sign(waiting)).serial_number == first.serial_number


async def test_what_the_ca_does_not_give_is_refused_in_its_words(site: Site) -> None:
    name = new_name()
    await site.submit(name, csr(name, also=("www.example.org",)))
    with pytest.raises(Refused, match="extra subject alternative names"):
        await site.ca.sign(name)
    assert await state(site, name) is CertificateState.REQUESTED


async def test_another_machine_cannot_ask_in_a_name_that_is_taken(site: Site, waiting: str) -> None:
    for present in ("requested", "signed", "revoked"):
        answer = await site.submit(waiting, csr(waiting))
        assert answer.status_code == 400
        assert f"already has a {present} certificate" in answer.text
        if present == "requested":
            await site.ca.sign(waiting)
        elif present == "signed":
            await site.ca.revoke(waiting)


async def test_revoking_is_read_back_and_may_be_repeated(site: Site, waiting: str) -> None:
    with pytest.raises(Refused, match="without a signed certificate"):
        await site.ca.revoke(waiting)
    await site.ca.sign(waiting)
    for _ in range(2):
        assert (await site.ca.revoke(waiting)).state is CertificateState.REVOKED
    with pytest.raises(Refused, match="without a certificate request"):
        await site.ca.sign(waiting)


@pytest.mark.parametrize("life", ["nothing", "requested", "signed", "revoked"])
async def test_whatever_an_earlier_life_left_is_cleaned(site: Site, life: str) -> None:
    name = new_name()
    if life != "nothing":
        await site.submit(name, csr(name))
    if life in ("signed", "revoked"):
        await site.ca.sign(name)
    if life == "revoked":
        await site.ca.revoke(name)
    await site.ca.clean(name)
    assert await site.ca.status(name) is None
    # The next life begins as the first one did.
    assert (await site.submit(name, csr(name))).status_code == 200
    assert (await site.ca.sign(name)).state is CertificateState.SIGNED


async def test_a_refused_request_is_dropped_so_that_a_right_one_can_come(
    site: Site, waiting: str
) -> None:
    await site.ca.forget(waiting)
    await site.ca.forget(waiting)
    assert await site.ca.status(waiting) is None
    assert (await site.submit(waiting, csr(waiting, token="right"))).status_code == 200


async def test_the_ca_wants_lower_case_and_so_do_we(site: Site) -> None:
    name = "Upper.lab.example"
    answer = await site.submit(name, csr(name))
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert "lower case" in answer.text
    with pytest.raises(ValueError, match="not a certname"):
        await site.ca.status(name)
