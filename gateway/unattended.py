"""The paths under ``/unattended``, as installers call them and Smart Proxies relay them."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from gateway.answers import Refusal
from gateway.context import Gateway
from gateway.kickstart import explain_missing_token, give_kickstart
from gateway.requests import client_address, macs_of, read_body, read_message, read_start, token_of
from gateway.tellings import (
    Progress,
    Telling,
    require_ended,
    tell_built,
    tell_failed,
    tell_progress,
    tell_report,
)
from inventory.builds import current_build
from inventory.context import contexts
from inventory.database import AsyncSession
from inventory.hosts import host_by_mac
from inventory.life import HostState
from inventory.reports import FirstReport
from inventory.storable import storable_text
from templates.render import mac_dashed

__all__ = ["unattended_routes"]

log = logging.getLogger(__name__)

_LOG_BYTES = 65535
"""Of a failure's log that are kept, as Foreman does."""
_PRIVATE = {"Cache-Control": "no-store"}


def unattended_routes(gateway: Gateway) -> APIRouter:
    """Kickstart, iPXE, and what hosts tell: ``built``, ``failed``, ``progress``, ``report``.

    Bodies are read whatever type they claim: a Smart Proxy's relay makes them all ``text/plain``.
    """
    router = APIRouter()
    settings = gateway.settings

    def telling(request: Request, body: bytes) -> Telling:
        token = token_of(request)
        if not token:
            raise Refusal(401, "the build's token is missing (?token=…)")
        text = storable_text(body.decode(errors="replace")).replace(token, "[token]")
        remote = client_address(request, settings.trusted_proxies)
        return Telling(token=token, remote=remote, body=text, at=gateway.clock())

    @router.get("/unattended/provision")
    async def provision(request: Request) -> Response:
        token, macs = token_of(request), macs_of(request)
        async with gateway.transaction() as session:
            if not token:
                raise await explain_missing_token(session, macs)
            remote = client_address(request, settings.trusted_proxies)
            answer = await give_kickstart(
                session,
                token=token,
                macs=macs,
                remote=remote,
                limit=settings.kickstart_limit,
                at=gateway.clock(),
            )
        if isinstance(answer, Refusal):
            raise answer
        log.info("kickstart given to %s", remote)
        return PlainTextResponse(answer, headers=_PRIVATE)

    @router.get("/unattended/iPXE")
    @router.get("/unattended/gPXE")
    async def ipxe(request: Request) -> Response:
        macs = macs_of(request)
        async with gateway.transaction() as session:
            script, status = await _ipxe_script(session, macs)
        return PlainTextResponse(f"#!ipxe\n{script}\n", status, headers=_PRIVATE)

    @router.api_route("/unattended/built", methods=["GET", "POST"])
    async def built(request: Request) -> Response:
        told = telling(request, await read_body(request, settings.message_bytes))
        async with gateway.transaction() as session:
            result = await tell_built(session, told)
        return _heard(told, result)

    @router.post("/unattended/ended")
    async def ended(request: Request) -> Response:
        """Asked by an installer before it restarts; nothing is kept."""
        token = token_of(request)
        if not token:
            raise Refusal(401, "the build's token is missing (?token=…)")
        async with gateway.transaction() as session:
            return PlainTextResponse(await require_ended(session, token), headers=_PRIVATE)

    @router.post("/unattended/failed")
    async def failed(request: Request) -> Response:
        start = await read_start(request, _LOG_BYTES, settings.log_bytes)
        if len(start) > _LOG_BYTES:
            start = start[:_LOG_BYTES] + b"\nOutput trimmed"
        told = telling(request, start)
        async with gateway.transaction() as session:
            result = await tell_failed(session, told)
        return _heard(told, result)

    @router.post("/unattended/progress")
    async def progress(request: Request) -> Response:
        told = telling(request, await read_body(request, settings.message_bytes))
        message = read_message(Progress, told.body)
        async with gateway.transaction() as session:
            result = await tell_progress(session, told, message)
        return _heard(told, result)

    @router.post("/unattended/report")
    async def report(request: Request) -> Response:
        told = telling(request, await read_body(request, settings.message_bytes))
        message = read_message(FirstReport, told.body)
        async with gateway.transaction() as session:
            result = await tell_report(session, told, message)
        return _heard(told, result)

    @router.get("/unattended/{kind}")
    async def other(kind: str) -> Response:
        raise Refusal(
            404,
            f"{kind!r} cannot be fetched here, only provision and iPXE; boot configurations lie on "
            "the boot server",
        )

    return router


def _heard(told: Telling, result: str) -> Response:
    log.info("%s: %s", told.remote, result)
    return Response(status_code=201)


async def _ipxe_script(session: AsyncSession, macs: tuple[str, ...]) -> tuple[str, int]:
    if not macs:
        return "echo Rackrise: the request names no MAC address (?mac=)\nsleep 10\nexit", 404
    hosts = {host.name: host for host in [await host_by_mac(session, mac) for mac in macs] if host}
    if len(hosts) != 1:
        known = ", ".join(sorted(hosts)) or "no host"
        return f"echo Rackrise: {', '.join(macs)} belong to {known}\nsleep 10\nexit", 404
    host = next(iter(hosts.values()))
    build = await current_build(session, host.id)
    if build is None or host.state not in (HostState.REBOOTING, HostState.INSTALLING):
        return "exit", 200
    context = (await contexts(session, [build.id])).get(build.id)
    if context is None:
        return "echo Rackrise: nobody has said what this host is to be\nsleep 10\nexit", 404
    # The install script holds the token: it lies with the proxy, for this machine alone.
    base = context.tftp_proxy.host_url.rstrip("/")
    return f"chain {base}/httpboot/pxelinux.cfg/01-{mac_dashed(context.interface.mac)}.ipxe", 200
