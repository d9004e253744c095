"""Passes a host's request on to Candlepin, in its name, and the answer back, part by part."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.answers import Refusal
from gateway.requests import read_body
from gateway.rhsm.front import PREFIX, Front, require_identity, require_own
from integrations.candlepin import Passed

__all__ = ["answer_of", "candlepins_word", "headers_of", "pass_on", "pass_request"]

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


async def pass_request(front: Front, request: Request) -> Response:
    """Pass a request on whose path is answered nowhere else.

    Raises:
        Refusal: 404, it is nothing that hosts ask Candlepin for; 405, nothing that they change; 401
            and 403, see ``require_own``.
    """
    path = request.url.path.removeprefix(PREFIX)
    first, _, rest = path.lstrip("/").partition("/")
    if first not in _PASSED:
        raise Refusal(404, f"{request.method} {request.url.path} is served neither here nor behind")
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
    """Pass a request on to a path, in the name of a consumer.

    Raises:
        Refusal: 414, its query is too long.
    """
    if len(request.scope["query_string"]) > _MOST_QUERY:
        raise Refusal(414, f"the query has more than {_MOST_QUERY} bytes")
    settings = front.gateway.settings
    query: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        query.setdefault(name, []).append(value)
    passed = await front.candlepin.pass_on(
        request.method,
        path,
        query=query,
        headers=headers_of(request),
        body=body or None,
        consumer=uuid,
    )
    length = passed.headers.get("content-length")
    if length is not None and int(length) > settings.answer_bytes:
        await passed.close()
        raise Refusal(502, f"Candlepin's answer has {length} bytes, which is too much")
    headers = _told(passed)
    if length is not None:
        headers["content-length"] = length
    return StreamingResponse(_parts(passed, settings.answer_bytes), passed.status, headers)


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
    found = {name: request.headers[name] for name in _ASKED if name in request.headers}
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
    try:
        async for part in passed.parts():
            length += len(part)
            if length > most:
                # It has begun: to break off is the only way to say that this is not all.
                raise ConnectionError(f"Candlepin's answer has more than {most} bytes")
            yield part
    finally:
        await passed.close()
