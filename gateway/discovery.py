"""Takes the facts of machines in discovery, directly or through a proxy (arrows 4 and 5)."""

from __future__ import annotations

import json
import logging

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from gateway.answers import Refusal
from gateway.context import Gateway
from gateway.facts import BadFacts, parse_body, read_facts, same_telling
from gateway.requests import client_address, read_body, require_json
from inventory import callbacks, loops, steps
from inventory.arrows import Evidence
from inventory.hosts import discover
from inventory.life import HostState
from inventory.models import CallbackKind

__all__ = ["discovery_routes"]

log = logging.getLogger(__name__)

_PATHS = ("/api/v2/discovered_hosts/facts", "/api/discovered_hosts/facts", "/discovery/create")


def discovery_routes(gateway: Gateway) -> APIRouter:
    """``POST`` of facts under the three paths that images and Smart Proxies use.

    The image accepts 200 and 201 only, and tries again after 15 minutes otherwise: so nothing but
    unusable facts is refused.
    """
    router = APIRouter()

    async def facts(request: Request) -> JSONResponse:
        require_json(request)
        body = await read_body(request, gateway.settings.facts_bytes)
        try:
            seen = read_facts(parse_body(body))
        except BadFacts as error:
            raise Refusal(422, str(error)) from None
        at = gateway.clock()
        remote = client_address(request, gateway.settings.trusted_proxies)
        async with gateway.transaction() as session:
            host, build, new = await discover(session, seen, site_id=None, at=at)
            if host.state is HostState.DISCOVERED:
                told = f"{len(seen.values)} facts from {seen.ip}"
                await steps.finish(
                    session, build.id, (4, 5), evidence=Evidence.OBSERVED, seen=told, at=at
                )
                await steps.imply(session, build.id, (1, 2, 3), seen="the host sent facts", at=at)
            await callbacks.keep(
                session,
                kind=CallbackKind.FACTS,
                # Told again in the same build it is no news; in the next generation it is.
                key=f"facts:{build.id}:{same_telling(seen.values)}",
                host_id=host.id,
                build_id=build.id,
                remote=remote,
                body=json.dumps({"mac": seen.mac, "ip": seen.ip}),
                at=at,
            )
            limit = gateway.settings.network_boot_limit
            odd = await loops.came_back(session, host, build, limit=limit, at=at)
            answer = {"id": host.id, "name": host.name, "state": host.state}
        if odd is not None:
            log.warning("%s", odd)
        log.info("facts of %s (%s) from %s", host.name, "new" if new else host.state, remote)
        return JSONResponse(answer, 201)

    for path in _PATHS:
        router.add_api_route(path, facts, methods=["POST"], response_model=None)
    return router
