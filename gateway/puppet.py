"""Puppet's facts and reports in Foreman's shapes, kept for hosts that we know.

Who posts them is not proven by a certificate yet: so only configured addresses are heard, and
nobody by default. What they say moves no host.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import JSONResponse

from gateway.answers import Refusal
from gateway.context import Gateway
from gateway.requests import client_address, is_within, read_body, read_message, require_json
from inventory import callbacks
from inventory.database import AsyncSession
from inventory.hosts import host_by_name, keep_facts
from inventory.models import CallbackKind, Host

__all__ = ["puppet_routes"]

HostName = Annotated[str, BeforeValidator(lambda text: str(text).lower()), Field(max_length=253)]


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class HostFacts(_Sent):
    """``POST /api/hosts/facts``."""

    name: HostName
    certname: HostName | None = None
    facts: dict[str, Any]


class ConfigReport(_Sent):
    """What identifies a report; the rest is kept as it came."""

    host: HostName
    reported_at: str = Field(max_length=40)


class ConfigReportBody(_Sent):
    """``POST /api/config_reports``."""

    config_report: ConfigReport


def puppet_routes(gateway: Gateway) -> APIRouter:
    """The two paths that Puppet servers' Foreman scripts call."""
    router = APIRouter()
    settings = gateway.settings

    async def body_of(request: Request) -> tuple[str, bytes]:
        remote = client_address(request, settings.trusted_proxies)
        if not is_within(remote, settings.puppet_servers):
            raise Refusal(403, f"{remote} is not one of the configured Puppet servers")
        require_json(request)
        return remote, await read_body(request, settings.facts_bytes)

    @router.post("/api/hosts/facts")
    async def facts(request: Request) -> JSONResponse:
        _, body = await body_of(request)
        sent = read_message(HostFacts, body)
        async with gateway.transaction() as session:
            host = await _host(session, sent.certname or sent.name)
            await keep_facts(session, host.id, "puppet", sent.facts, gateway.clock())
        return JSONResponse({"id": host.id, "name": host.name, "state": host.state}, 201)

    @router.post("/api/config_reports")
    async def report(request: Request) -> JSONResponse:
        remote, body = await body_of(request)
        sent = read_message(ConfigReportBody, body).config_report
        at = gateway.clock()
        async with gateway.transaction() as session:
            host = await _host(session, sent.host)
            kept = await callbacks.keep(
                session,
                kind=CallbackKind.REPORT,
                key=f"puppet:{host.id}:{sent.reported_at}",
                host_id=host.id,
                build_id=None,
                remote=remote,
                body=body.decode(errors="replace"),
                at=at,
            )
            if kept is not None:
                # No flow judges Puppet's reports yet.
                kept.handled_at = at
        return JSONResponse({"host": host.name, "reported_at": sent.reported_at}, 201)

    return router


async def _host(session: AsyncSession, name: str) -> Host:
    host = await host_by_name(session, name)
    if host is None:
        raise Refusal(404, f"there is no host {name}")
    return host
