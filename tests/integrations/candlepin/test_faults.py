"""What goes wrong with a Candlepin, and what that means: worth another try, or not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import ssl
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.candlepin import (
    Candlepin,
    CandlepinSettings,
    NewConsumer,
    OAuthLogin,
    UserLogin,
)
from integrations.candlepin.signing import OAuth
from integrations.errors import Conflict, Refused, Unavailable, Unverified
from lab.doubles.candlepin import CandlepinDouble, candlepin_double
from tests.integrations.candlepin.sites import Site, double_site

HOST = NewConsumer(uuid="0d7c", name="web1.lab.example", facts={})


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with double_site() as opened:
        await opened.candlepin.create_owner("ACME")
        await opened.candlepin.create_activation_key("ACME", "web")
        yield opened
    assert opened.judge.violations == []


def double_of(site: Site) -> CandlepinDouble:
    assert site.double is not None
    return site.double


async def register(candlepin: Candlepin, host: NewConsumer = HOST) -> None:
    await candlepin.register(host, owner="ACME", keys=["web"], environments=[])


@pytest.mark.parametrize("fault", ["down", "suspended", "undeployed"])
async def test_a_candlepin_that_is_not_there_is_unavailable(site: Site, fault: str) -> None:
    setattr(double_of(site).faults, fault, True)
    with pytest.raises(Unavailable):
        await site.candlepin.owner("ACME")
    with pytest.raises(Unavailable):
        await site.candlepin.delete_consumer("0d7c")
    with pytest.raises(Unavailable):
        await register(site.candlepin)


async def test_a_404_of_another_server_is_not_taken_for_an_absence(site: Site) -> None:
    double_of(site).faults.undeployed = True
    with pytest.raises(Unavailable, match=r"404 without X-Version: .* not deployed"):
        await site.candlepin.consumer("0d7c")


async def test_suspension_is_told_with_its_reason(site: Site) -> None:
    double_of(site).faults.suspended = True
    with pytest.raises(Unavailable, match="its mode is SUSPEND: QPID_DOWN"):
        await site.candlepin.require_normal()


async def test_nobody_listens() -> None:
    async with Candlepin(CandlepinDouble(url="http://127.0.0.1:9/candlepin").settings()) as there:
        with pytest.raises(Unavailable, match=r"127.0.0.1:9"):
            await there.owner("ACME")


async def test_a_certificate_of_another_authority_is_refused() -> None:
    async with candlepin_double() as double, candlepin_double() as other:
        async with Candlepin(double.settings(ca=other.certificate)) as there:
            with pytest.raises(Refused, match="not of the CA that we were given"):
                await there.owner("ACME")
        async with Candlepin(double.settings()) as there:
            assert await there.owner("ACME") is None


def test_a_ca_that_is_none_is_told() -> None:
    with pytest.raises(Refused, match="its CA is not PEM"):
        Candlepin(CandlepinDouble().settings(ca="nonsense"))


async def test_a_wrong_secret_is_refused_and_not_tried_again(site: Site) -> None:
    login = OAuthLogin.model_validate({"key": "rackrise", "secret": "wrong"})
    async with site.other(login=login) as stranger:
        with pytest.raises(Refused, match="Invalid OAuth unit or secret"):
            await stranger.owner("ACME")


async def test_a_user_and_a_password_serve_as_well(site: Site) -> None:
    login = UserLogin.model_validate({"user": "admin", "password": "admin"})
    async with site.other(login=login) as somebody:
        assert await somebody.owner("ACME")
        with pytest.raises(RuntimeError, match="only OAuth"):
            await somebody.pass_on("GET", "/", query={}, headers={}, consumer="0d7c")


async def test_an_answer_that_was_lost_is_found_at_the_next_try(site: Site) -> None:
    double = double_of(site)
    double.faults.lost_answers = 1
    with pytest.raises(Unavailable):
        await register(site.candlepin)
    await register(site.candlepin)
    assert double.state.registered == ["0d7c"]


async def test_a_uuid_of_another_host_is_a_conflict_that_names_it(site: Site) -> None:
    await register(site.candlepin)
    other = HOST.model_copy(update={"name": "web2.lab.example"})
    with pytest.raises(Conflict, match=r"is that of web1.lab.example in ACME") as caught:
        await register(site.candlepin, other)
    assert caught.value.owner == "web1.lab.example"


async def test_a_uuid_that_was_deleted_is_not_used_again(site: Site) -> None:
    await register(site.candlepin)
    await site.candlepin.delete_consumer("0d7c")
    with pytest.raises(Refused):
        await register(site.candlepin)


async def test_a_job_that_fails_says_what_it_says(site: Site) -> None:
    ident = uuid4().hex
    await site.candlepin.create_environment("ACME", ident, "prod")
    double_of(site).faults.failing_jobs = True
    job = await site.candlepin.promote(ident, ["x"])
    assert job is not None
    with pytest.raises(Refused, match=r"it is FAILED: .*the lab wants it so"):
        await site.candlepin.finished(job)


async def test_a_job_that_does_not_end_is_given_up(site: Site) -> None:
    double, seconds = double_of(site), [0.0]
    await site.candlepin.create_environment("ACME", "e", "prod")
    job = await site.candlepin.promote("e", ["x"])
    assert job is not None

    async def sleep(pause: float) -> None:
        seconds[0] += pause
        double.state.jobs[job.id]["state"] = "CREATED"

    impatient = Candlepin(
        site.settings,
        transport=httpx.ASGITransport(double.app),
        sleep=sleep,
        clock=lambda: seconds[0],
    )
    async with impatient as there:
        with pytest.raises(Unavailable, match="it is QUEUED after 600 s"):
            await there.finished(job)


async def test_an_answer_of_another_shape_is_no_success_and_is_not_repeated() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        secret = {"idCert": {"key": "PRIVATE"}, "uuid": 7}
        return httpx.Response(200, json=secret, headers={"X-Version": "1"})

    settings = CandlepinDouble().settings()
    async with Candlepin(settings, transport=httpx.MockTransport(answer)) as there:
        with pytest.raises(Unverified, match="another shape than Candlepin's: uuid") as caught:
            await there.consumer("0d7c")
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize("url", ["candlepin.example.org", "ftp://candlepin.example.org"])
def test_only_http_is_a_url(url: str) -> None:
    with pytest.raises(ValueError, match="is not an https URL"):
        CandlepinSettings.model_validate({"url": url, "login": {"user": "a", "password": "b"}})


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)


def _encoded(text: str) -> str:
    """RFC 5849, section 3.6, by hand."""
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    return "".join(chr(b) if b in plain else f"%{b:02X}" for b in text.encode())


@given(st.dictionaries(TEXT.filter(bool), TEXT, max_size=4), st.sampled_from(["GET", "POST"]))
def test_the_signature_is_that_of_the_rfc(query: dict[str, str], method: str) -> None:
    login = OAuthLogin.model_validate({"key": "the key", "secret": "the & secret"})
    request = httpx.Request(method, "https://Host.example:8443/candlepin/a%20b", params=query)
    signed = next(OAuth(login).auth_flow(request))
    given_ = dict(re.findall(r'(\w+)="([^"]*)"', signed.headers["Authorization"]))
    signature = httpx.QueryParams(f"s={given_.pop('oauth_signature')}")["s"]
    pairs = [(_encoded(name), _encoded(value)) for name, value in query.items()]
    # Those in the header are encoded already.
    parameters = "&".join(f"{name}={value}" for name, value in sorted([*pairs, *given_.items()]))
    url = "https://host.example:8443/candlepin/a%20b"
    base = "&".join((method, _encoded(url), _encoded(parameters)))
    mac = hmac.new(f"{_encoded('the & secret')}&".encode(), base.encode(), hashlib.sha1)
    assert signature == base64.b64encode(mac.digest()).decode()
    assert given_["oauth_signature_method"] == "HMAC-SHA1"
    assert abs(time.time() - int(given_["oauth_timestamp"])) < 60


async def test_a_request_that_is_sent_again_word_for_word_is_refused(site: Site) -> None:
    double = double_of(site)
    login = site.settings.login
    assert isinstance(login, OAuthLogin)
    request = httpx.Request("GET", f"{double.url}/owners/ACME", headers={"cp-user": "admin"})
    signed = next(OAuth(login).auth_flow(request))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(double.app)) as http:
        answers = [
            await http.send(httpx.Request("GET", signed.url, headers=signed.headers))
            for _ in range(2)
        ]
    assert [one.status_code for one in answers] == [200, 401]


def test_a_secret_is_shown_nowhere() -> None:
    settings = CandlepinDouble().settings()
    assert "lab-secret" not in f"{settings!r} {settings}"
    assert isinstance(settings.tls(), ssl.SSLContext)
