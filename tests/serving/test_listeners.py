"""Listeners on their own: whom they see at the other end, and what they say when they cannot."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from lab.authority import Authority, Pair
from lab.process import until
from serving.arrival import Arrival, Kind, Marked, arrival_of
from serving.listeners import Listener, follow_revocations, served, tcp_socket, tls_context, url_of


async def who(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers how a request arrived."""
    arrival = arrival_of(Request(scope))
    answer = JSONResponse([arrival.kind.value, arrival.common_name])
    await answer(scope, receive, send)


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


def listener(ca: Authority) -> Listener:
    own = ca.sign("server")
    return Listener(tcp_socket("127.0.0.1", 0), tls_context(own.certificate, own.key, ca.file))


async def asked(url: str, ca: Authority, pair: Pair | None = None) -> list[str | None]:
    context = ssl.create_default_context(cafile=ca.file)
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    async with httpx.AsyncClient(verify=context) as client:
        answer: list[str | None] = (await client.get(url)).json()
        return answer


async def test_a_revoked_certificate_is_no_more_believed_once_the_list_says_so(
    ca: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    own, good, bad = ca.sign("server"), ca.sign("good"), ca.sign("bad")
    crl = ca.revoke()
    context = tls_context(own.certificate, own.key, ca.file, crl)
    encrypted = Listener(tcp_socket("127.0.0.1", 0), context)
    following = asyncio.create_task(follow_revocations(context, crl, every=0.02))
    try:
        async with served(who, [encrypted]):
            url = url_of(encrypted)
            assert await asked(url, ca, bad) == ["https", "bad"]
            crl.write_text("nonsense")

            async def complained() -> bool:
                return "stays as it was" in caplog.text

            await until(complained, what="a bad list is told", deadline=10, every=0.02)
            assert await asked(url, ca, bad) == ["https", "bad"]
            ca.revoke(bad)

            async def refused() -> bool:
                try:
                    await asked(url, ca, bad)
                except httpx.HTTPError:
                    return True
                return False

            await until(refused, what="the new list counts", deadline=10, every=0.02)
            assert await asked(url, ca, good) == ["https", "good"]
            assert await asked(url, ca) == ["https", None]
    finally:
        following.cancel()


async def test_each_request_is_known_by_its_own_connection(ca: Authority) -> None:
    plain, encrypted = Listener(tcp_socket("127.0.0.1", 0)), listener(ca)
    async with served(who, [plain, encrypted]):
        https = url_of(encrypted)
        seen = await asyncio.gather(
            asked(https, ca, ca.sign("one")),
            asked(https, ca),
            asked(url_of(plain), ca, ca.sign("two")),
            asked(https, ca, ca.sign("three", other_name="one")),
            asked(https, ca, ca.sign(None)),
        )
    assert list(seen) == [
        ["https", "one"],
        ["https", None],
        ["http", None],
        ["https", "three"],
        ["https", None],
    ]


async def test_what_nobody_has_marked_came_over_plain_http() -> None:
    assert arrival_of(Request({"type": "http"})) == Arrival(Kind.HTTP)
    marked = Marked(who, Arrival(Kind.IN_PROCESS, "us"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(marked)) as client:
        answer = await client.get("http://any", headers={"rackrise.arrival": "https"})
    assert answer.json() == ["in-process", "us"]


async def test_it_listens_no_longer_than_the_block(ca: Authority) -> None:
    one = listener(ca)
    port = one.socket.getsockname()[1]
    async with served(who, [one]):
        pass
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("certificate", "key", "authority", "words"),
    [
        ("none.pem", "own.key", "ca.pem", r"the certificate \S*none\.pem with the key \S*own\.key"),
        ("own.pem", "none.key", "ca.pem", r"with the key \S*none\.key.*No such file"),
        ("own.pem", "other.key", "ca.pem", r"(?i)with the key \S*other\.key.*mismatch"),
        ("text.pem", "own.key", "ca.pem", r"the certificate \S*text\.pem"),
        ("own.pem", "own.key", "none.pem", r"the CA \S*none\.pem.*No such file"),
        ("own.pem", "own.key", "text.pem", r"the CA \S*text\.pem"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, ca: Authority, certificate: str, key: str, authority: str, words: str
) -> None:
    own, other = ca.sign("own"), ca.sign("other")
    own.certificate.rename(tmp_path / "own.pem")
    own.key.rename(tmp_path / "own.key")
    other.key.rename(tmp_path / "other.key")
    (tmp_path / "text.pem").write_text("hello")
    with pytest.raises(OSError, match=words):
        tls_context(tmp_path / certificate, tmp_path / key, tmp_path / authority)
