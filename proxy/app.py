"""Puts the service together: which feature, behind which guard, over what."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
from fastapi import Depends, FastAPI, Request, Response
from fastapi.params import Depends as DependsOn
from pydantic import JsonValue
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from integrations.bootfetch import FetchLimits
from integrations.bootfiles import BootRoot
from integrations.dhcp import DhcpServer
from integrations.errors import OutsideError
from integrations.power.factory import power_for
from proxy import bmc, dhcp, discovery, dns, features, httpboot, logs, templates, tftp
from proxy.access import Guard, NameOf, reverse_name_of
from proxy.addresses import FreeAddresses
from proxy.answers import NOT_FOUND, ProxyError, refuse, text
from proxy.features import Module, Modules
from proxy.limits import Limits
from proxy.ports import dhcp_of, dns_of, gateway_of, nodes_of, sources_of
from proxy.settings import Enabled, ProxySettings
from serving.arrival import Arrival, Kind, Marked

__all__ = ["create_app", "in_process"]


def in_process(app: FastAPI) -> httpx.ASGITransport:
    """A transport to a proxy in this process, for an ``httpx`` client or a ``SmartProxy``.

    Its calls are trusted and reach every feature that is not switched off for good: who holds the
    app object holds what is behind it as well. The mark is an entry of the ASGI scope, which no
    header can set. An app without it, and every listener of ``serve``, checks each request.
    The client's address is 127.0.0.1, so the gateway sees that in ``X-Forwarded-For``.
    """
    marked = Marked(app, Arrival(Kind.IN_PROCESS))
    # A fault of ours is a 500 here as well, and not an exception in the caller.
    return httpx.ASGITransport(marked, raise_app_exceptions=False)


def create_app(
    settings: ProxySettings,
    *,
    dhcp_server: DhcpServer | None = None,
    dns_server: dns.DnsPort | None = None,
    boot: BootRoot | None = None,
    http: httpx.AsyncClient | None = None,
    nodes: httpx.AsyncClient | None = None,
    power: bmc.PowerFor = power_for,
    name_of: NameOf | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
) -> FastAPI:
    """Make the service. What is not handed in is made from the settings.

    Nothing is contacted, and no file is written, before the first request. What is handed in
    is closed by its owner.

    Args:
        settings: of this proxy.
        dhcp_server: the DHCP server beside us.
        dns_server: the name server beside us.
        boot: the boot server's files.
        http: client for the gateway.
        nodes: client for machines that run the discovery image.
        power: makes the client of a controller.
        name_of: reverse look-up of an address.
        clock: seconds, growing.
        now: seconds since the epoch, for the log.
    """
    log = logs.Log(now)
    own_dhcp = None if dhcp_server else dhcp_of(settings.dhcp)
    dhcp_server = dhcp_server or own_dhcp
    dns_server = dns_server or dns_of(settings)
    own: list[httpx.AsyncClient] = []

    def owned(client: httpx.AsyncClient) -> httpx.AsyncClient:
        own.append(client)
        return client

    gateway = http or owned(gateway_of(settings))
    nodes = nodes or owned(nodes_of())
    if boot is None and settings.tftp is not None:
        boot = BootRoot(settings.tftp.root, owned(sources_of()), FetchLimits())
    guard = Guard(settings, name_of or reverse_name_of(forward_verify=settings.forward_verify))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        for client in own:
            await client.aclose()
        if own_dhcp is not None:
            await own_dhcp.close()

    app = FastAPI(
        title="Rackrise proxy",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(Limits, log=log)
    _answer_errors(app, log)

    def trusted(enabled: Enabled, mount: str, *, nameless: bool = True) -> list[DependsOn]:
        async def check(request: Request) -> None:
            await guard.trusted(request, enabled, mount, nameless=nameless)

        return [Depends(check)]

    def served(enabled: Enabled) -> list[DependsOn]:
        async def check(request: Request) -> None:
            guard.served(request, enabled)

        return [Depends(check)]

    on = settings.features
    modules = Modules(_modules(settings, dhcp_server, dns_server, boot), log, clock)
    app.include_router(features.open_routes(modules))
    app.include_router(features.trusted_routes(modules), dependencies=trusted("true", "/v2"))
    app.include_router(logs.router(log), dependencies=trusted(on.logs, "/logs"))
    if dhcp_server is not None:
        free = FreeAddresses(dhcp_server, hold_seconds=settings.dhcp.hold_seconds, clock=clock)
        app.include_router(
            dhcp.router(dhcp_server, free, log),
            dependencies=trusted(on.dhcp, "/dhcp"),
        )
    if dns_server is not None:
        app.include_router(dns.router(dns_server, log), dependencies=trusted(on.dns, "/dns"))
    if settings.tftp is not None and boot is not None:
        app.include_router(
            tftp.router(boot, settings.tftp.server_name, log),
            dependencies=trusted(on.tftp, "/tftp"),
        )
        app.include_router(httpboot.router(settings.tftp.root), dependencies=served(on.httpboot))
    app.include_router(bmc.router(settings.bmc, log, power), dependencies=trusted(on.bmc, "/bmc"))
    app.include_router(
        discovery.inbound(settings.foreman_url, gateway, log),
        dependencies=served(on.discovery),
    )
    app.include_router(
        discovery.outbound(settings.discovery, nodes, log),
        dependencies=trusted(on.discovery, "/discovery", nameless=False),
    )
    app.include_router(
        templates.router(settings.foreman_url, settings.template_url, gateway, log),
        dependencies=served(on.templates),
    )
    return app


def _answer_errors(app: FastAPI, log: logs.Log) -> None:
    """All errors are a sentence; an unknown path and a wrong method are both a 404."""

    @app.exception_handler(ProxyError)
    async def refused(_: Request, error: ProxyError) -> Response:
        return text(error.status, error.said)

    @app.exception_handler(OutsideError)
    async def outside(_: Request, error: OutsideError) -> Response:
        log.error(str(error))
        answer = refuse(error)
        return text(answer.status, answer.said)

    @app.exception_handler(HTTPException)
    async def framework(_: Request, error: HTTPException) -> Response:
        unknown = error.status_code in (404, 405)
        return text(404 if unknown else error.status_code, NOT_FOUND if unknown else error.detail)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> Response:
        return text(400, "The connection ended before the body was complete")

    @app.exception_handler(Exception)
    async def ours(_: Request, error: Exception) -> Response:
        log.error(f"a fault of the proxy's own: {error!r}")
        return text(500, "The proxy failed to answer: see /logs")


def _modules(
    settings: ProxySettings,
    dhcp_server: DhcpServer | None,
    dns_server: dns.DnsPort | None,
    boot: BootRoot | None,
) -> dict[str, Module]:
    on, listen = settings.features, settings.listen
    off: Enabled = "false"
    ports: dict[str, JsonValue] = {"http_port": listen.http_port, "https_port": listen.https_port}
    found = {
        "bmc": Module(on.bmc, capabilities=tuple(bmc.usable_providers(settings.bmc))),
        "dhcp": Module(
            on.dhcp if dhcp_server else off,
            probe=dhcp_server.subnets if dhcp_server else None,
            settings={"use_provider": f"dhcp_{settings.dhcp.kind}"},
            capabilities=("dhcp_filename_ipv4",),
        ),
        "discovery": Module(on.discovery),
        "dns": Module(on.dns if dns_server else off, settings={"use_provider": "dns_nsupdate"}),
        "httpboot": Module(on.httpboot if boot else off, settings=ports),
        "logs": Module(on.logs),
        "templates": Module(on.templates, settings={"template_url": settings.template_url}),
        "tftp": Module(on.tftp if boot else off),
    }
    if dns_server is not None and settings.dns:
        zones = [zone for one in settings.dns for zone in one.zones]
        found["dns"] = replace(found["dns"], probe=partial(_ask_all, dns_server, zones))
    if settings.tftp is not None and boot is not None:
        probe = partial(asyncio.to_thread, _is_writable, settings.tftp.root)
        found["httpboot"] = replace(found["httpboot"], probe=probe)
        found["tftp"] = replace(
            found["tftp"], probe=probe, settings={"tftp_servername": settings.tftp.server_name}
        )
    return found


async def _ask_all(server: dns.DnsPort, zones: Sequence[str]) -> None:
    """Each zone's own server must answer for it with authority."""
    for zone in zones:
        await server.lookup(zone, "A")


def _is_writable(root: Path) -> None:
    if not root.is_dir() or not os.access(root, os.W_OK):
        raise OSError(f"{root} is no directory that can be written to")
