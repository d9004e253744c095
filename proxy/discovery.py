"""The ``/discovery`` mount: facts of unknown machines inwards, orders to them outwards."""

from __future__ import annotations

from ipaddress import IPv4Address

import httpx
from fastapi import APIRouter, Request, Response

from proxy.answers import ProxyError, address, as_json, done_json
from proxy.logs import Log
from proxy.settings import DiscoverySettings

__all__ = ["inbound", "outbound"]

_ACCEPT = b"*/*, application/json,version=2"


def inbound(foreman_url: str, gateway: httpx.AsyncClient, log: Log) -> APIRouter:
    """``POST /discovery/create``, open to all: an unknown machine has no certificate."""
    routes = APIRouter()

    @routes.post("/discovery/create")
    async def create(request: Request) -> Response:
        sender = request.client.host if request.client else ""
        try:
            answer = await gateway.post(
                f"{foreman_url}/api/v2/discovered_hosts/facts",
                content=await request.body(),
                headers=[
                    (b"Accept", _ACCEPT),
                    (b"Content-Type", _content_type(request)),
                    (b"X-Forwarded-For", sender.encode()),
                ],
            )
        except httpx.HTTPError as error:
            log.error(f"facts of {sender} did not reach {foreman_url}: {error!r}")
            raise ProxyError(500, f"Discovery failed, code 503, reason: {_why(error)}") from error
        if answer.is_success:
            return done_json()
        said = f"Discovery failed, code {answer.status_code}, reason: {_message(answer)}"
        log.error(f"facts of {sender}: {said}")
        # Upstream's 500 is kept for what is the gateway's fault, and not the sender's.
        raise ProxyError(answer.status_code if answer.is_client_error else 500, said)

    return routes


def outbound(settings: DiscoverySettings, nodes: httpx.AsyncClient, log: Log) -> APIRouter:
    """Orders to machines that run the discovery image, in its own networks only."""
    routes = APIRouter()

    async def call(given: str, method: str, path: str, body: bytes | None = None) -> httpx.Response:
        ip = address(given)
        if not any(ip in network for network in settings.networks):
            log.error(f"{method} {path} of {ip}: in no discovery network")
            raise ProxyError(403, f"{ip} is in no discovery network of this proxy")
        return await _called(settings, nodes, ip, method, path, body)

    @routes.get("/discovery/{ip}/inventory/facter")
    async def facter(ip: str) -> Response:
        return _relayed(await call(ip, "GET", "/inventory/facter"))

    @routes.get("/discovery/{ip}/facts")
    async def facts(ip: str) -> Response:
        return _relayed(await call(ip, "GET", "/facts"))

    @routes.put("/discovery/{ip}/power/reboot")
    async def reboot(ip: str) -> Response:
        return _relayed(await call(ip, "PUT", "/power/reboot", b""))

    @routes.put("/discovery/{ip}/power/kexec")
    async def kexec(ip: str, request: Request) -> Response:
        return _relayed(await call(ip, "PUT", "/power/kexec", await request.body()))

    @routes.put("/discovery/{ip}/reboot")
    async def legacy_reboot(ip: str) -> Response:
        return _relayed(await call(ip, "PUT", f"/bmc/{address(ip)}/chassis/power/cycle", b""))

    return routes


async def _called(
    settings: DiscoverySettings,
    nodes: httpx.AsyncClient,
    ip: IPv4Address,
    method: str,
    path: str,
    body: bytes | None,
) -> httpx.Response:
    try:
        answer = await nodes.request(
            method,
            f"{settings.scheme}://{ip}:{settings.port}{path}",
            content=body,
            headers={"Accept": "application/json", "Content-Type": "application/json"},
            timeout=settings.timeout,
        )
    except httpx.HTTPError as error:
        said = f"Failed to open TCP connection to {ip}:{settings.port} ({_why(error)})"
        raise ProxyError(500, said) from error
    if not answer.is_success:
        code = f"{answer.status_code} {answer.reason_phrase}"
        raise ProxyError(
            answer.status_code if answer.status_code >= 400 else 500,
            f"Proxy error HTTP {answer.status_code} ({code}): {answer.text[:500]})",
        )
    return answer


def _relayed(answer: httpx.Response) -> Response:
    try:
        return as_json(answer.json())
    except ValueError as error:
        raise ProxyError(500, "the machine did not answer with JSON") from error


def _content_type(request: Request) -> bytes:
    """Byte for byte: httpx takes text for ASCII, and a sender may send anything."""
    return request.headers.get("content-type", "application/json").encode("latin-1")


def _message(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:500]
    return (
        str(body["message"]) if isinstance(body, dict) and "message" in body else answer.text[:500]
    )


def _why(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
