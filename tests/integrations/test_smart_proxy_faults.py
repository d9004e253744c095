"""What each refusal and silence of a Smart Proxy means to its client."""

import ssl
from ipaddress import IPv4Network
from pathlib import Path

import httpx
import pytest

from integrations.errors import (
    Busy,
    OutsideError,
    Refused,
    Unavailable,
    Unsupported,
    Unverified,
)
from integrations.records import (
    DnsRecord,
    Loader,
)
from integrations.smart_proxy import SmartProxy, SmartProxySettings

NET = IPv4Network("192.0.2.0/24")
MAC = "52:54:00:aa:bb:01"


def client(transport: httpx.AsyncBaseTransport) -> SmartProxy:
    return SmartProxy(SmartProxySettings(url="http://proxy.example.org:8000/"), transport=transport)


def answering(status: int, text: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(status, text=text))


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (200, "<html>", Unverified),
        (302, "", Refused),
        (403, "Untrusted client x attempted to access /features", Refused),
        (404, "Requested url was not found", Unsupported),
        (429, "", Busy),
        (500, "boom", Unavailable),
        (501, "NotImplementedError", Unsupported),
        (503, "", Busy),
    ],
)
async def test_every_answer_has_a_branch(
    status: int, text: str, expected: type[OutsideError]
) -> None:
    async with client(answering(status, text)) as proxy:
        with pytest.raises(OutsideError) as caught:
            await proxy.version()
    assert type(caught.value) is expected


RECORD = DnsRecord(name="h1.lab.example", type="A", value="10.77.1.50")


async def test_a_feature_that_is_not_served_is_no_absence() -> None:
    async with client(answering(404, "Requested url was not found")) as proxy:
        with pytest.raises(Unsupported):
            await proxy.reservation_by_mac(NET, MAC)
        with pytest.raises(Unsupported):
            await proxy.remove_dns(RECORD)
        with pytest.raises(Unsupported):
            await proxy.read_default(Loader.IPXE)


async def test_dns_of_another_provider_may_say_404_for_what_is_gone() -> None:
    async with client(answering(404, "Cannot find DNS entry")) as proxy:
        await proxy.remove_dns(RECORD)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Update errors: Answer:\n;; ->>HEADER<<- opcode: UPDATE, status: REFUSED", Refused),
        ("Update errors: Answer:\n;; ->>HEADER<<- opcode: UPDATE, status: SERVFAIL", Unavailable),
        ("Update errors: No response from DNS server 192.0.2.53", Unavailable),
    ],
)
async def test_dns_faults_are_told_apart_by_their_words(
    text: str, expected: type[OutsideError]
) -> None:
    async with client(answering(400, text)) as proxy:
        with pytest.raises(OutsideError) as caught:
            await proxy.add_dns(RECORD)
    assert type(caught.value) is expected


async def test_nobody_there_is_unavailable() -> None:
    async with SmartProxy(SmartProxySettings(url="http://127.0.0.1:1", timeout=5)) as proxy:
        with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1 could not tell its version"):
            await proxy.version()


async def test_a_certificate_that_does_not_verify_is_no_passing_fault() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("tls", request=request) from ssl.SSLCertVerificationError("bad")

    async with client(httpx.MockTransport(fail)) as proxy:
        with pytest.raises(Refused, match="bad"):
            await proxy.version()


def test_settings_want_certificate_and_key_together() -> None:
    with pytest.raises(ValueError, match="belong together"):
        SmartProxySettings(url="https://p", client_cert=Path("c.pem"))
    with pytest.raises(ValueError, match="not an http or https URL"):
        SmartProxySettings(url="p:8443")
