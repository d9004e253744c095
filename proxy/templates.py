"""``/unattended`` and ``/userdata``: what installing hosts ask for is passed on to the gateway."""

from __future__ import annotations

from urllib.parse import quote

import httpx
from fastapi import APIRouter, Request, Response

from proxy.answers import ProxyError, as_json
from proxy.logs import Log

__all__ = ["router"]

# Host and Version as upstream leaves them out; the rest belongs to one connection.
_NOT_PASSED_ON = frozenset(
    (
        *("host", "version", "expect", "content-length", "content-type", "accept-encoding"),
        *("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"),
        *("proxy-authorization", "proxy-connection"),
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded"),
    )
)


def router(foreman_url: str, template_url: str, gateway: httpx.AsyncClient, log: Log) -> APIRouter:
    """Routes of both mounts.

    Args:
        foreman_url: the gateway.
        template_url: our own address as hosts see it.
        gateway: client for it.
        log: takes what went wrong.
    """
    routes = APIRouter()

    async def relay(request: Request, path: str) -> Response:
        sender = request.client.host if request.client else ""
        try:
            answer = await gateway.request(
                request.method,
                f"{foreman_url}/{quote(path)}",
                params=[*request.query_params.multi_items(), ("url", template_url)],
                content=await request.body() if request.method == "POST" else None,
                headers=_headers(request, sender),
            )
        except httpx.InvalidURL as error:
            raise ProxyError(414, f"Failed to proxy the request: {error}") from error
        except httpx.HTTPError as error:
            said = f"Failed to proxy /{path}: {foreman_url} does not answer"
            log.error(f"{said}: {error!r}")
            # 503 and not upstream's 400: the installer's curl retries it.
            raise ProxyError(503, said) from error
        return _answer(answer, path, log)

    @routes.get("/unattended/templateServer")
    async def template_server() -> Response:
        return as_json({"templateServer": template_url})

    @routes.get("/unattended/{path:path}")
    @routes.post("/unattended/{path:path}")
    async def unattended(path: str, request: Request) -> Response:
        return await relay(request, f"unattended/{path}")

    @routes.get("/userdata/{path:path}")
    async def userdata(path: str, request: Request) -> Response:
        return await relay(request, f"userdata/{path}")

    return routes


def _headers(request: Request, sender: str) -> list[tuple[bytes, bytes]]:
    passed = [
        (name, value)
        # Byte for byte: httpx takes text for ASCII, and a host may send anything.
        for name, value in request.headers.raw
        # Both spellings: the gateway folds them, and a host must not speak for another's address.
        if name.decode("latin-1").lower().replace("_", "-") not in _NOT_PASSED_ON
    ]
    content = b"text/plain" if request.method == "POST" else b"application/json"
    return [*passed, (b"Content-Type", content), (b"X-Forwarded-For", sender.encode())]


def _answer(answer: httpx.Response, path: str, log: Log) -> Response:
    if answer.status_code in (200, 201):
        return Response(answer.content, media_type="text/html")
    log.error(f"/{path}: the gateway answered {answer.status_code}")
    if answer.is_redirect:
        raise ProxyError(502, f"Failed to proxy /{path}: the gateway answered with a redirect")
    if answer.content:
        # Word by word: an iPXE client can only read an error that is an iPXE script.
        return Response(answer.content, answer.status_code, media_type="text/plain")
    raise ProxyError(
        answer.status_code, f"Failed to proxy /{path}: the gateway answered {answer.status_code}"
    )
