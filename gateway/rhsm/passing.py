"""Passes a host's request on to Candlepin, in its name, and the answer back, part by part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.answers import Refusal
from gateway.requests import read_body
from gateway.rhsm.front import PREFIX, Front, require_identity, require_own
from integrations.candlepin import Passed

__all__ = [
    "answer_of",
    "candlepins_word",
    "headers_of",
    "pass_on",
    "pass_request",
    "pass_whole",
]

_ASKED = ("accept", "accept-language", "content-type", "if-modified-since", "x-correlation-id")
"""Of a request: never who somebody says to be (``cp-user``, ``cp-consumer``, ``Authorization``)."""
_TOLD = (
    "cache-control",
    "content-encoding",
    "content-type",
    "last-modified",
    "link",
    "retry-after",
    "x-candlepin-request-uuid",
    "x-total-count",
    "x-version",
)
_PASSED = frozenset(
    {
        "consumers",
        "deleted_consumers",
        "entitlements",
        "environments",
        "jobs",
        "owners",
        "pools",
        "subscriptions",
    }
)
_MOST_QUERY = 8192
_MOST_OPEN = 8
_ANSWER_SECONDS = 300.0


async def pass_request(front: Front, request: Request) -> Response:
    """Pass a request on whose path is answered nowhere else.

    Raises:
        Refusal: 404, it is nothing that hosts ask Candlepin for; 405, nothing that they change; 401
            and 403, see ``require_own``.
    """
    # Not of request.url, in which older Starlettes read the Host header too.
    path = str(request.scope["path"]).removeprefix(PREFIX)
    first, _, rest = path.lstrip("/").partition("/")
    if first not in _PASSED:
        raise Refusal(404, f"{request.method} {PREFIX}{path} is served neither here nor behind")
    uuid = require_identity(request)
    if first == "consumers":
        require_own(request, rest.partition("/")[0])
    elif request.method not in ("GET", "HEAD"):
        raise Refusal(405, f"hosts only look at {first}, they change nothing there")
    body = await read_body(request, front.gateway.settings.passed_bytes)
    return await pass_on(front, request, path, uuid, body)


async def pass_on(
    front: Front, request: Request, path: str, uuid: str, body: bytes = b""
) -> Response:
    """Pass a request on to a path, in the name of a consumer, and the answer part by part.

    Raises:
        Refusal: 414, its query is too long; 429, the host has many answers that it does not read.
    """
    most, under_way = front.gateway.settings.answer_bytes, front.open_answers
    if under_way[uuid] >= _MOST_OPEN:
        raise Refusal(429, f"{_MOST_OPEN} answers to this host are not read yet")
    under_way[uuid] += 1

    def over() -> None:
        under_way[uuid] -= 1
        if not under_way[uuid]:
            del under_way[uuid]

    try:
        passed = await _asked(front, request, path, uuid, body)
    except BaseException:
        over()
        raise
    answer = _Streamed(passed, most, over)
    length = passed.headers.get("content-length")
    if length is not None and int(length) > most:
        await answer.close()
        raise Refusal(502, f"Candlepin's answer has {length} bytes, which is too much")
    return answer


class _Streamed(StreamingResponse):
    """An answer of Candlepin, broken off where a host does not read it to its end in time."""

    def __init__(self, passed: Passed, most: int, over: Callable[[], None]) -> None:
        headers = _told(passed)
        if (length := passed.headers.get("content-length")) is not None:
            headers["content-length"] = length
        super().__init__(_parts(passed, most), passed.status, headers)
        self._passed, self._over = passed, over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await super().__call__(scope, receive, send)
        finally:
            await self.close()

    async def close(self) -> None:
        """Give the connection back, whether or not it was read."""
        await self._passed.close()
        self._over()


async def pass_whole(
    front: Front, request: Request, path: str, uuid: str, body: bytes = b""
) -> Response:
    """The same for short answers, which are read before they are given.

    Raises:
        Refusal: 414, its query is too long; 502, the answer is too large, or broke off.
    """
    passed = await _asked(front, request, path, uuid, body)
    return await answer_of(passed, front.gateway.settings.answer_bytes)


async def _asked(front: Front, request: Request, path: str, uuid: str, body: bytes) -> Passed:
    if len(request.scope["query_string"]) > _MOST_QUERY:
        raise Refusal(414, f"the query has more than {_MOST_QUERY} bytes")
    query: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        query.setdefault(name, []).append(value)
    headers = headers_of(request)
    if body:
        headers.setdefault("content-type", "application/json")
    return await front.candlepin.pass_on(
        request.method,
        path,
        query=query,
        headers=headers,
        body=body or None,
        consumer=uuid,
    )


async def candlepins_word(
    front: Front, request: Request, uuid: str, method: str = "GET"
) -> Response:
    """What Candlepin says of a consumer to itself: 410, in its own words, where it was deleted."""
    passed = await front.candlepin.pass_on(
        method, f"/consumers/{uuid}", query={}, headers=headers_of(request), consumer=uuid
    )
    return await answer_of(passed, front.gateway.settings.answer_bytes)


def headers_of(request: Request) -> dict[str, str]:
    """What is passed on of a request's headers."""
    found = {
        name: value
        for name in _ASKED
        if (value := request.headers.get(name)) is not None and value.isascii()
    }
    return {**found, "accept-encoding": "identity", "user-agent": "Rackrise RHSM front"}


async def answer_of(passed: Passed, most: int) -> Response:
    """A whole answer, where it is looked into before it is given.

    Raises:
        Refusal: 502, it is too large, or broke off.
    """
    body = bytearray()
    try:
        async for part in passed.parts():
            body += part
            if len(body) > most:
                raise Refusal(502, f"Candlepin's answer has more than {most} bytes")
    except httpx.HTTPError as error:
        raise Refusal(502, f"Candlepin's answer broke off: {error!r}") from error
    finally:
        await passed.close()
    return Response(bytes(body), passed.status, _told(passed))


def _told(passed: Passed) -> dict[str, str]:
    return {name: passed.headers[name] for name in _TOLD if name in passed.headers}


async def _parts(passed: Passed, most: int) -> AsyncIterator[bytes]:
    length = 0
    async for part in passed.parts():
        length += len(part)
        if length > most:
            # It has begun: to break off is the only way to say that this is not all.
            raise ConnectionError(f"Candlepin's answer has more than {most} bytes")
        yield part
