"""What hosts report to have (arrows 25 and 26): Candlepin takes no reports, so they end here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse, Response

from gateway.answers import Refusal, faults_of
from gateway.rhsm.front import PREFIX, Front, read_json, require_own
from gateway.rhsm.passing import candlepins_word
from inventory import consumers, profiles, repositories, steps
from inventory.arrows import Evidence
from inventory.consumers import Known
from inventory.database import CHANNEL_CALLBACKS, AsyncSession, notify
from inventory.hosts import lock_host
from inventory.reports import Repository, Text
from inventory.storable import storable_values

__all__ = ["profile_routes"]

log = logging.getLogger(__name__)

_REPOSITORIES = "enabled_repos"
_TRACER = "tracer"
_MOST_PARTS = 20


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    content_type: Text = Field(min_length=1, max_length=64)
    profile: list[Any]


class _Repository(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    repositoryid: Text = Field(min_length=1, max_length=200)
    baseurl: list[Text] | Text = ()  # type: ignore[assignment]

    def address(self) -> str:
        """Only the first counts, as everywhere."""
        urls = [self.baseurl] if isinstance(self.baseurl, str) else list(self.baseurl)
        return urls[0][:2000] if urls else ""


@dataclass(frozen=True)
class _Upload:
    """One report, in the one form that both generations of clients come to."""

    parts: Sequence[_Part]
    repositories: Sequence[Repository] | None
    """None: the report says nothing of them."""


def profile_routes(front: Front) -> APIRouter:
    """Combined profiles, and the calls of older clients that hold a part each."""
    router = APIRouter()
    most = front.gateway.settings.profile_bytes

    @router.put(f"{PREFIX}/consumers/{{uuid}}/profiles")
    async def combined(request: Request, uuid: str) -> Response:
        require_own(request, uuid)
        body = await read_json(request, most)
        if not isinstance(body, list) or len(body) > _MOST_PARTS:
            raise Refusal(400, f"a combined profile is a list of at most {_MOST_PARTS} parts")
        return await _kept(front, request, uuid, body)

    @router.put(f"{PREFIX}/consumers/{{uuid}}/packages")
    @router.put(f"{PREFIX}/consumers/{{uuid}}/profile")
    async def packages(request: Request, uuid: str) -> Response:
        require_own(request, uuid)
        body, kind = await read_json(request, most), "rpm"
        if isinstance(body, dict) and isinstance(body.get("deb_package_profile"), dict):
            body, kind = body["deb_package_profile"].get("deb_packages"), "deb"
        return await _kept(front, request, uuid, [{"content_type": kind, "profile": body}])

    @router.put(f"{PREFIX}/systems/{{uuid}}/enabled_repos")
    async def enabled_repositories(request: Request, uuid: str) -> Response:
        require_own(request, uuid)
        body = await read_json(request, most)
        try:
            listed = body["enabled_repos"]["repos"]
        except (TypeError, KeyError):
            raise Refusal(400, "enabled_repos.repos is missing") from None
        part = {"content_type": _REPOSITORIES, "profile": listed}
        return await _kept(front, request, uuid, [part])

    @router.put(f"{PREFIX}/consumers/{{uuid}}/tracer")
    async def tracer(request: Request, uuid: str) -> Response:
        """What should be restarted after an update."""
        require_own(request, uuid)
        body = await read_json(request, most)
        traces = body.get("traces") if isinstance(body, dict) else None
        if not isinstance(traces, dict):
            raise Refusal(400, "traces is missing")
        listed = [{"application": name, "trace": one} for name, one in traces.items()]
        return await _kept(front, request, uuid, [{"content_type": _TRACER, "profile": listed}])

    return router


def _upload(body: list[Any]) -> _Upload:
    """Read what was sent; fit to be stored.

    Raises:
        Refusal: 400, it is no profile.
    """
    body = storable_values({"body": body})["body"]
    try:
        parts = [_Part.model_validate(one) for one in body]
        listed = [
            [_Repository.model_validate(one) for one in part.profile]
            for part in parts
            if part.content_type == _REPOSITORIES
        ]
    except ValidationError as error:
        raise Refusal(400, f"the profile is not understood: {faults_of(error)}") from None
    repositories_ = (
        [Repository(id=one.repositoryid, url=one.address()) for one in listed[-1]]
        if listed
        else None
    )
    return _Upload(parts, repositories_)


async def _kept(front: Front, request: Request, uuid: str, body: list[Any]) -> Response:
    gateway = front.gateway
    # Ten thousand packages are no work for the event loop.
    upload = await asyncio.to_thread(_upload, body)
    async with gateway.transaction() as session:
        known = await consumers.by_uuid(session, uuid)
        if known is not None:
            await _keep(session, known, upload, front)
    if known is None:
        # No host of ours: what Candlepin says of it, 410 for one that was deleted, is its answer.
        answer = await candlepins_word(front, request, uuid)
        if answer.status_code != 200:
            return answer
        raise Refusal(404, f"no host of this site is the consumer {uuid}")
    told = ", ".join(f"{len(one.profile)} {one.content_type}" for one in upload.parts)
    log.info("%s reports %s", known.host.name, told)
    return JSONResponse({"uuid": uuid, "name": known.host.name})


async def _keep(session: AsyncSession, known: Known, upload: _Upload, front: Front) -> None:
    host, build, at = known.host, known.build, front.gateway.clock()
    # The host first, as everywhere: two locks in two orders would be a deadlock.
    await lock_host(session, host.id)
    await consumers.check_in(session, known.consumer.uuid, at)
    for part in upload.parts:
        await profiles.keep(session, host.id, part.content_type, part.profile, at)
    if upload.repositories is not None:
        await repositories.keep(session, host.id, upload.repositories, source="rhsm", at=at)
    if build.closed_at is not None:
        return
    packages = [part for part in upload.parts if part.content_type in profiles.PACKAGES]
    if packages:
        seen = f"{sum(len(one.profile) for one in packages)} packages reported to the RHSM front"
        await steps.finish(session, build.id, 25, evidence=Evidence.OBSERVED, seen=seen, at=at)
    if upload.repositories is not None:
        seen = f"{len(upload.repositories)} repositories reported to the RHSM front"
        await steps.finish(session, build.id, 26, evidence=Evidence.OBSERVED, seen=seen, at=at)
    # Its first boot may wait for nothing else.
    await notify(session, CHANNEL_CALLBACKS)
