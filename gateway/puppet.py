"""What Puppet servers ask and tell: may this host be signed, what is it, what has become of it.

The paths are our own and those of Foreman's stock scripts, with the same functions behind. Only the
certificate of a Puppet server that the site file names may speak for hosts: Puppet itself has made
sure that each host speaks for itself (contract: ``puppet.md``, section 4).
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import Annotated, cast

from fastapi import APIRouter, Path, Query, Request
from sqlmodel import col, select
from starlette.responses import JSONResponse, PlainTextResponse, Response

from gateway.answers import Refusal
from gateway.context import Gateway
from gateway.requests import read_body
from integrations.puppet import (
    CERTNAME,
    BadFacts,
    BadReport,
    BadRequest,
    identify,
    read_facts,
    read_request,
)
from inventory import certificates, classification
from inventory.database import AsyncSession
from inventory.models import Host, HostGroup, Puppet
from inventory.puppet import keep_puppet_facts, keep_report
from inventory.storable import storable_text
from serving.arrival import Kind, arrival_of

__all__ = ["puppet_routes"]

log = logging.getLogger(__name__)

CertName = Annotated[str, Path(pattern=f"^{CERTNAME}$")]
_CSR_BYTES = 64 * 1024
_YAML = "application/yaml"


def puppet_routes(gateway: Gateway) -> APIRouter:
    """Autosign, node classification, facts and reports."""
    router = APIRouter()

    @router.post("/puppet/autosign/{name}")
    async def autosign(request: Request, name: CertName) -> Response:
        """200: sign; 403: do not. The body is the request as PEM."""
        certname = _certname(request)
        body = await read_body(request, _CSR_BYTES)
        try:
            asked = await asyncio.to_thread(read_request, body)
        except BadRequest as error:
            raise Refusal(422, f"the request of {name}: {error}") from None
        async with gateway.transaction() as session:
            puppet = await _speaker(session, certname)
            verdict = await certificates.judge(
                session,
                puppet_id=puppet.id,
                name=name,
                common_name=asked.common_name,
                token=asked.token,
                key=asked.public_key,
                at=gateway.clock(),
            )
        log.info("%s: the request of %s: %s", puppet.name, name, verdict.reason)
        return PlainTextResponse(f"{verdict.reason}\n", 200 if verdict.sign else 403)

    @router.get("/puppet/enc/{name}")
    async def enc(request: Request, name: CertName) -> Response:
        return await _classified(gateway, request, name)

    @router.get("/node/{name}")
    async def node(
        request: Request, name: CertName, kind: Annotated[str, Query(alias="format")] = "yml"
    ) -> Response:
        if kind != "yml":
            raise Refusal(406, f"a node is given as yml, not as {kind}")
        return await _classified(gateway, request, name)

    @router.post("/puppet/facts/{name}")
    @router.put("/puppet/facts/{name}")
    async def facts(request: Request, name: CertName) -> Response:
        host = await _facts_kept(gateway, request, of=name)
        return JSONResponse({"name": host.name}, 201)

    @router.post("/api/hosts/facts")
    async def foreman_facts(request: Request) -> Response:
        host = await _facts_kept(gateway, request)
        return JSONResponse({"id": host.id, "name": host.name, "state": host.state}, 201)

    @router.post("/puppet/reports")
    async def report(request: Request) -> Response:
        host, _ = await _report_kept(gateway, request)
        return JSONResponse({"host": host}, 201)

    @router.post("/api/config_reports")
    async def foreman_report(request: Request) -> Response:
        host, at = await _report_kept(gateway, request)
        return JSONResponse({"host": host, "reported_at": at.isoformat()}, 201)

    return router


def _certname(request: Request) -> str:
    """The name in the peer's certificate: asked for before a body is read, let alone believed.

    Raises:
        Refusal: 403, there is none.
    """
    arrival = arrival_of(request)
    if arrival.kind is not Kind.HTTPS:
        raise Refusal(403, "Puppet servers are heard over TLS only, with their certificate")
    if arrival.common_name is None:
        raise Refusal(403, "no client certificate: Puppet servers show theirs")
    # A CA signs any name; what cannot be stored is the name of nobody.
    return storable_text(arrival.common_name)


async def _speaker(session: AsyncSession, certname: str) -> Puppet:
    """The Puppet server of a name.

    Raises:
        Refusal: 403, it is none that the site file names.
    """
    found = await session.exec(select(Puppet).where(Puppet.certname == certname))
    puppet = found.one_or_none()
    if puppet is None:
        raise _stranger(certname)
    return puppet


def _stranger(certname: str) -> Refusal:
    return Refusal(
        403,
        f"{certname} is the certname of no [[puppet]] in the site file, and may not speak for"
        " hosts",
    )


async def _spoken_of(session: AsyncSession, certname: str, name: str) -> tuple[Puppet, Host]:
    """The Puppet server of a name, and a host that it configures, in one question.

    Raises:
        Refusal: 403, it is no Puppet server, or not this host's; 404, there is no such host.
    """
    found = await session.exec(
        select(Puppet, Host, HostGroup.puppet_id)
        .select_from(Puppet)
        .outerjoin(Host, col(Host.name) == name)
        .outerjoin(HostGroup, col(HostGroup.id) == col(Host.host_group_id))
        .where(Puppet.certname == certname)
    )
    row = found.one_or_none()
    if row is None:
        raise _stranger(certname)
    puppet, host, puppet_id = row
    # SQLModel does not type what an outer join may leave out.
    if cast("Host | None", host) is None:
        raise Refusal(404, f"there is no host {name}")
    if puppet_id != puppet.id:
        raise Refusal(403, f"the host group of {name} does not name the Puppet {puppet.name}")
    return puppet, host


async def _classified(gateway: Gateway, request: Request, name: str) -> Response:
    certname = _certname(request)
    async with gateway.transaction() as session:
        puppet, host = await _spoken_of(session, certname, name)
        answer = await classification.answer_for(session, host)
        if answer is None:
            raise Refusal(404, f"{name} has no host group")
        changed = await classification.keep(session, host, answer, gateway.clock())
    if changed:
        # Not the lines themselves: parameters of classes may be passwords.
        lines = changed.count("\n") + 1
        log.info("%s is told otherwise of %s: %d lines differ", puppet.name, name, lines)
    return Response(answer.yaml(), media_type=_YAML)


async def _facts_kept(gateway: Gateway, request: Request, *, of: str | None = None) -> Host:
    """Keep the facts of a body; ``of`` is the host that the path names."""
    certname = _certname(request)
    try:
        told = read_facts(await read_body(request, gateway.settings.facts_bytes))
    except BadFacts as error:
        raise Refusal(422, str(error)) from None
    if of not in (None, told.name):
        raise Refusal(422, f"the facts are of {told.name}, not of {of}")
    async with gateway.transaction() as session:
        puppet, host = await _spoken_of(session, certname, told.name)
        await keep_puppet_facts(
            session,
            host,
            told.values,
            collected=told.timestamp,
            source=f"Puppet {puppet.name}",
            at=gateway.clock(),
        )
    return host


async def _report_kept(gateway: Gateway, request: Request) -> tuple[str, datetime]:
    certname = _certname(request)
    body = await read_body(request, gateway.settings.report_bytes)
    try:
        told = identify(body)
    except BadReport as error:
        raise Refusal(422, str(error)) from None
    at = gateway.clock()
    async with gateway.transaction() as session:
        puppet, host = await _spoken_of(session, certname, told.host)
        new = await keep_report(
            session, host, told.key, body.decode(errors="replace"), source=puppet.name, at=at
        )
    log.info("%s: a report of %s%s", puppet.name, host.name, "" if new else ", told again")
    return host.name, at
