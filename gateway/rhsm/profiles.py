"""What hosts report to have (arrows 25 and 26): Candlepin takes no reports, so they end here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse, Response

from gateway.answers import Refusal, faults_of
from gateway.requests import read_body
from gateway.rhsm.front import PREFIX, Front, from_json, require_own
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
_MOST_PARTS, _MOST_ITEMS = 20, 100_000
_READ_SECONDS = 30.0


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    content_type: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    profile: list[Any] = Field(max_length=_MOST_ITEMS)


class _Repository(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    repositoryid: Text = Field(min_length=1, max_length=200)
    baseurl: list[Text] | Text = Field(default_factory=list)

    @property
    def url(self) -> str:
        """Only the first counts, as everywhere."""
        urls = [self.baseurl] if isinstance(self.baseurl, str) else self.baseurl
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

    @router.put(f"{PREFIX}/consumers/{{uuid}}/profiles")
    async def combined(request: Request, uuid: str) -> Response:
        return await _heard(front, request, uuid, _combined)

    @router.put(f"{PREFIX}/consumers/{{uuid}}/packages")
    @router.put(f"{PREFIX}/consumers/{{uuid}}/profile")
    async def packages(request: Request, uuid: str) -> Response:
        return await _heard(front, request, uuid, _packages)

    @router.put(f"{PREFIX}/systems/{{uuid}}/enabled_repos")
    async def enabled_repositories(request: Request, uuid: str) -> Response:
        return await _heard(front, request, uuid, _enabled)

    @router.put(f"{PREFIX}/consumers/{{uuid}}/tracer")
    async def tracer(request: Request, uuid: str) -> Response:
        """What should be restarted after an update."""
        return await _heard(front, request, uuid, _traces)

    return router


def _combined(body: Any) -> list[Any]:
    if not isinstance(body, list) or len(body) > _MOST_PARTS:
        raise Refusal(400, f"a combined profile is a list of at most {_MOST_PARTS} parts")
    return body


def _packages(body: Any) -> list[Any]:
    if isinstance(body, dict) and isinstance(body.get("deb_package_profile"), dict):
        listed = body["deb_package_profile"].get("deb_packages")
        return [{"content_type": "deb", "profile": listed}]
    return [{"content_type": "rpm", "profile": body}]


def _enabled(body: Any) -> list[Any]:
    try:
        return [{"content_type": _REPOSITORIES, "profile": body["enabled_repos"]["repos"]}]
    except (TypeError, KeyError):
        raise Refusal(400, "enabled_repos.repos is missing") from None


def _traces(body: Any) -> list[Any]:
    traces = body.get("traces") if isinstance(body, dict) else None
    if not isinstance(traces, dict):
        raise Refusal(400, "traces is missing")
    listed = [{"application": name, "trace": one} for name, one in traces.items()]
    return [{"content_type": "tracer", "profile": listed}]


def _upload(raw: bytes, parts_of: Callable[[Any], list[Any]]) -> _Upload:
    """Read what was sent; fit to be stored.

    Raises:
        Refusal: 400, it is no profile.
    """
    body = storable_values({"parts": parts_of(from_json(raw))})["parts"]
    try:
        parts = [_Part.model_validate(one) for one in body]
        listed = [
            [_Repository.model_validate(one) for one in part.profile]
            for part in parts
            if part.content_type == _REPOSITORIES
        ]
    except ValidationError as error:
        raise Refusal(400, f"the profile is not understood: {faults_of(error)}") from None
    if not listed:
        return _Upload(parts, None)
    return _Upload(parts, [Repository(id=one.repositoryid, url=one.url) for one in listed[-1]])


async def _heard(
    front: Front, request: Request, uuid: str, parts_of: Callable[[Any], list[Any]]
) -> Response:
    require_own(request, uuid)
    gateway = front.gateway
    # Ten thousand packages are a megabyte, and ten when they are read: few hosts at a time.
    async with front.turn(front.uploads):
        raw = await _in_time(read_body(request, gateway.settings.profile_bytes))
        upload = await asyncio.to_thread(_upload, raw, parts_of)
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


async def _in_time(reading: Awaitable[bytes]) -> bytes:
    try:
        async with asyncio.timeout(_READ_SECONDS):
            return await reading
    except TimeoutError:
        said = f"the profile was not sent within {_READ_SECONDS:g} s; try again"
        raise Refusal(408, said) from None


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
