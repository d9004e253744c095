"""What applications never see, because the server before them must bear it: bytes on a socket."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from gateway.app import create_app
from serving.listeners import Listener, served, tcp_socket
from tests.gateway.conftest import World, world
from tests.hostile.sending import listening
from tests.proxy.site import site

__all__ = ["world"]

SEED = 34
BODY = b"Content-Type: application/json\r\nHost: x\r\n"
STREAMS = {
    "nothing": b"",
    "line ends": b"\r\n" * 5000,
    "NULs": b"\0" * 5000,
    "TLS to a plain port": bytes.fromhex("16030100a5010000a10303") + b"\xff" * 200,
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "HTTP/9.9": b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an endless target": b"GET /" + b"a" * 300_000,
    "an endless header": b"GET /health HTTP/1.1\r\nX: " + b"a" * 300_000,
    "endless headers": b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 60_000,
    "a NUL in a header": b"GET /health HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "a lone CR in a header": b"GET /health HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
    "a folded header": b"GET /health HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
    "raw bytes in the target": b"GET /\xff\xfe\xe2\x82 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an absolute target": b"GET http://evil.example/health HTTP/1.1\r\nHost: x\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two lengths": b"POST /discovery/create HTTP/1.1\r\n" + BODY
    + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
    "a length and chunks": b"POST /discovery/create HTTP/1.1\r\n" + BODY
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
    "a negative length": b"POST /discovery/create HTTP/1.1\r\n" + BODY
    + b"Content-Length: -1\r\n\r\n",
    "an enormous length": b"POST /discovery/create HTTP/1.1\r\n" + BODY
    + b"Content-Length: 99999999999999999999\r\n\r\n{",
    "a cut body": b"POST /discovery/create HTTP/1.1\r\n" + BODY + b"Content-Length: 900\r\n\r\n{",
    "a cut chunk": b"POST /discovery/create HTTP/1.1\r\n" + BODY
    + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{",
    "a chunk of no size": b"POST /discovery/create HTTP/1.1\r\n" + BODY
    + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "an enormous chunk": b"POST /discovery/create HTTP/1.1\r\n" + BODY
    + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\n{}",
    "another encoding": b"POST /discovery/create HTTP/1.1\r\n" + BODY
    + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "an upgrade": b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n",
    "an expectation": b"POST /discovery/create HTTP/1.1\r\n" + BODY
    + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    **{f"noise {one}": random.Random(SEED + one).randbytes(2000) for one in range(20)},
}  # fmt: skip


@pytest.fixture(params=["gateway", "proxy"])
async def served_url(
    request: pytest.FixtureRequest, world: World, tmp_path: Path
) -> AsyncIterator[str]:
    """A real listener of either."""
    app: ASGIApp = site(tmp_path).app
    if request.param == "gateway":
        app = create_app(world.settings, world.database.sessions, world.now)
    bound = tcp_socket("127.0.0.1", 0)
    async with served(app, [Listener(bound)]):
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


async def thrown(url: str, stream: bytes) -> bytes:
    """What is answered until the server closes, or half a second after the last byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
    answer = b""
    try:
        writer.write(stream)
        async with asyncio.timeout(0.5):
            await writer.drain()
            while part := await reader.read(65536):
                answer += part
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.transport.abort()
    return answer


async def test_no_bytes_break_a_listener(served_url: str) -> None:
    print(f"seed {SEED}")
    with listening() as stray:
        for name, stream in STREAMS.items():
            answer = await thrown(served_url, stream)
            statuses = [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
            assert not any(one.startswith(b"HTTP/1.1 5") for one in statuses), (name, answer[:300])
        # A connection that was cut is seen by its handler a moment later.
        await asyncio.sleep(0.2)
        async with httpx.AsyncClient(base_url=served_url) as http:
            answers = [await http.get(path) for path in ("/health", "/features")]
    assert 200 in [one.status_code for one in answers]
    assert stray == []
