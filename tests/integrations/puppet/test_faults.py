"""What goes wrong at a Puppet CA, and in which branch of the error tree it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.errors import OutsideError, Refused, Unavailable, Unverified
from integrations.puppet import PuppetCa, PuppetSettings
from lab.doubles.puppet import PuppetDouble
from tests.integrations.puppet.sites import DOUBLE, Site, csr, new_name


@pytest.mark.parametrize("call", ["sign", "clean", "forget", "revoke"])
async def test_a_ca_that_says_yes_and_does_nothing_is_found_out(call: str) -> None:
    double = PuppetDouble()
    transport = httpx.ASGITransport(double.app)
    agent = httpx.AsyncClient(transport=transport, base_url=DOUBLE.url)
    async with agent, PuppetCa(DOUBLE, transport=transport) as ca:
        name = new_name()
        await Site(ca, agent).submit(name, csr(name))
        if call == "revoke":
            await ca.sign(name)
        double.drops = True
        with pytest.raises(Unverified, match="answered yes, and has"):
            await getattr(ca, call)(name)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (403, Refused, "pp_cli_auth"),
        (429, Unavailable, "HTTP 429"),
        (500, Unavailable, "HTTP 500, broken inside"),
        (503, Unavailable, "HTTP 503"),
        (400, Refused, "HTTP 400, broken inside"),
        (405, Refused, "HTTP 405"),
    ],
)
@pytest.mark.parametrize("call", ["status", "request", "sign", "revoke", "clean", "forget"])
async def test_each_answer_has_its_branch(
    status: int, kind: type[OutsideError], words: str, call: str
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text="broken\n inside"))
    async with PuppetCa(DOUBLE, transport=transport) as ca:
        with pytest.raises(kind, match=words):
            await getattr(ca, call)("web01.example.org")


async def test_nobody_there_is_unavailable() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)

    async with PuppetCa(DOUBLE, transport=httpx.MockTransport(refuse)) as ca:
        with pytest.raises(Unavailable, match=r"could not list the requests.*Connection refused"):
            await ca.pending()


async def test_an_answer_of_another_shape_is_unverified() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>"))
    async with PuppetCa(DOUBLE, transport=transport) as ca:
        for call in (ca.pending(), ca.status("web01.example.org")):
            with pytest.raises(Unverified, match="another shape"):
                await call


@given(st.text(max_size=300))
def test_what_is_no_certname_never_reaches_a_path(name: str) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(404)

    async def ask() -> None:
        async with PuppetCa(DOUBLE, transport=httpx.MockTransport(answer)) as ca:
            await ca.status(name)

    try:
        asyncio.run(ask())
    except ValueError:
        assert asked == []
    else:
        assert asked == [f"/puppet-ca/v1/certificate_status/{name}"]


def test_a_ca_without_tls_is_refused() -> None:
    with pytest.raises(ValueError, match="https"):
        PuppetSettings(url="http://puppet:8140", ca="", certificate="", key="")


def test_a_certificate_that_cannot_be_used_says_so_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    settings = DOUBLE.model_copy(update={"ca": "no certificate"})
    with pytest.raises(Refused, match="cannot be used"):
        PuppetCa(settings)
    assert list(tmp_path.iterdir()) == []
