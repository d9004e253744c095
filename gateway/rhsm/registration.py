"""A host becomes a consumer of Candlepin (arrow 23), comes back as one, and leaves."""

from __future__ import annotations

import json
import logging
import re
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.responses import Response

from gateway.answers import Refusal, faults_of
from gateway.requests import read_body
from gateway.rhsm.front import PREFIX, Front, from_json, require_own
from gateway.rhsm.passing import candlepins_word, pass_whole
from integrations.candlepin import Consumer, Deleted, NewConsumer
from inventory import consumers
from inventory.consumers import Registration
from inventory.hosts import keep_facts

__all__ = ["registration_routes"]

log = logging.getLogger(__name__)

_REGISTRATION_BYTES = 1 << 20
_TRIES = 3
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_GONE = frozenset({204, 404, 410})
_PRIVATE = {"Cache-Control": "no-store"}
_HANDED_ON = frozenset(
    {
        "addOns",
        "contentTags",
        "cryptographicCapabilities",
        "installedProducts",
        "releaseVer",
        "role",
        "serviceLevel",
        "usage",
    }
)
"""Of what a host says of itself; what it is to be is its group's to say."""


_OTHERS_SAY = frozenset(
    {"contentAccessMode", "environment", "environments", "owner", "type", "username", "uuid"}
)
"""Of a consumer, and not its own to change."""


def _texts(value: Any) -> Any:
    # Facts are numbers and truths as well; Candlepin's document knows text only, as Java spells it.
    if not isinstance(value, dict):
        return value
    return {
        str(name): one if isinstance(one, str) else json.dumps(one)
        for name, one in value.items()
        if one is not None
    }


class _Asked(BaseModel):
    """What subscription-manager sends, as far as it is looked at."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$")
    facts: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(default_factory=dict)

    def handed_on(self) -> dict[str, Any]:
        """What else Candlepin is told."""
        extra = self.model_extra or {}
        return {name: one for name, one in extra.items() if name in _HANDED_ON and one is not None}


def registration_routes(front: Front) -> APIRouter:
    """Registration, what a consumer changes of itself, its certificates, and its end."""
    router = APIRouter()
    gateway = front.gateway

    @router.post(f"{PREFIX}/consumers")
    async def register(request: Request) -> Response:
        """Make the consumer, or give the one that the host has: a repeat ends the same."""
        body = from_json(await read_body(request, _REGISTRATION_BYTES), passed_on=True)
        try:
            asked = _Asked.model_validate(body)
        except ValidationError as error:
            raise Refusal(400, f"the registration is not understood: {faults_of(error)}") from None
        owner, keys = _owner_and_keys(request)
        async with front.turn(front.registrations):
            consumer = await _registered(front, asked, owner, keys)
        return Response(consumer.document, media_type="application/json", headers=_PRIVATE)

    @router.put(f"{PREFIX}/consumers/{{uuid}}")
    async def change(request: Request, uuid: str) -> Response:
        """Facts and products; what the host is called and gets is not for itself to say."""
        require_own(request, uuid)
        body = await read_body(request, gateway.settings.passed_bytes)
        harmless = await _harmless(front, uuid, body)
        answer = await pass_whole(front, request, f"/consumers/{uuid}", uuid, harmless)
        return await _seen(front, uuid, answer)

    @router.get(f"{PREFIX}/consumers/{{uuid}}/certificates/serials")
    async def serials(request: Request, uuid: str) -> Response:
        """Asked every few hours: how Candlepin and we know that a host is there."""
        require_own(request, uuid)
        path = f"/consumers/{uuid}/certificates/serials"
        return await _seen(front, uuid, await pass_whole(front, request, path, uuid))

    @router.put(f"{PREFIX}/consumers/{{uuid}}/checkin")
    async def check_in(request: Request, uuid: str) -> Response:
        """Of older clients; Candlepin has no such call, so its own word that it is there counts."""
        require_own(request, uuid)
        answer = await _seen(front, uuid, await candlepins_word(front, request, uuid))
        return Response(status_code=204) if answer.status_code == 200 else answer

    @router.delete(f"{PREFIX}/consumers/{{uuid}}")
    async def unregister(request: Request, uuid: str) -> Response:
        require_own(request, uuid)
        answer = await candlepins_word(front, request, uuid, method="DELETE")
        if answer.status_code in _GONE:
            async with gateway.transaction() as session:
                await consumers.forget(session, uuid)
            log.info("the consumer %s has unregistered", uuid)
        return answer

    return router


def _owner_and_keys(request: Request) -> tuple[str, list[str]]:
    query = request.query_params
    owner = query.get("owner", "")
    keys = [one for one in query.get("activation_keys", "").split(",") if one]
    if not keys:
        raise Refusal(400, "hosts register with activation keys, and none was given")
    if not all(_NAME.fullmatch(one) for one in (owner, *keys)):
        raise Refusal(400, "organization and activation keys are letters, digits, - and _")
    return owner, keys


async def _registered(front: Front, asked: _Asked, owner: str, keys: list[str]) -> Consumer:
    gateway = front.gateway
    async with gateway.transaction() as session:
        registration = await consumers.admit(
            session,
            candlepin_url=front.candlepin.settings.url,
            name=asked.name,
            owner=owner,
            keys=keys,
            at=gateway.clock(),
        )
    registration, consumer = await _made(front, registration, asked)
    async with gateway.transaction() as session:
        await consumers.registered(session, registration, gateway.clock())
        await keep_facts(session, registration.host_id, "rhsm", asked.facts, gateway.clock())
    log.info("%s is registered as %s", registration.name, registration.uuid)
    return consumer


async def _made(
    front: Front, registration: Registration, asked: _Asked
) -> tuple[Registration, Consumer]:
    """The consumer in Candlepin, which is asked with no transaction open."""
    candlepin = front.candlepin
    for _ in range(_TRIES):
        there: Consumer | Deleted | None = None
        if not registration.fresh:
            there = await candlepin.consumer(registration.uuid)
        if isinstance(there, Deleted):
            async with front.gateway.transaction() as session:
                registration = await consumers.renew(session, registration, front.gateway.clock())
            continue
        if isinstance(there, Consumer):
            return registration, await _refreshed(front, registration, there, asked)
        new = NewConsumer(
            uuid=registration.uuid,
            name=registration.name,
            facts=asked.facts,
            more=asked.handed_on(),
        )
        made = await candlepin.register(
            new,
            owner=registration.owner,
            keys=[registration.key],
            environments=registration.environments,
        )
        return registration, made
    raise Refusal(503, f"the consumer of {registration.name} is deleted as often as it is made")


async def _refreshed(
    front: Front, registration: Registration, there: Consumer, asked: _Asked
) -> Consumer:
    """The host installs anew: it is the same consumer, with what it is now."""
    changes: dict[str, Any] = {"facts": asked.facts, **asked.handed_on()}
    wanted = registration.environments
    if there.environment_ids != wanted:
        changes["environments"] = [{"id": one} for one in wanted]
    await front.candlepin.update_consumer(there.uuid, changes)
    return there


async def _harmless(front: Front, uuid: str, body: bytes) -> bytes:
    """What a host changes of itself, spelt anew: so that Candlepin reads what was judged here.

    Raises:
        Refusal: 400, it is no object; 403, it does.
    """
    wanted = from_json(body, passed_on=True)
    if not isinstance(wanted, dict):
        raise Refusal(400, "the body is not a JSON object")
    others = sorted(one for one in _OTHERS_SAY if wanted.get(one) is not None)
    if others:
        raise Refusal(403, f"{', '.join(others)} of a host are for its host group to say")
    if wanted.get("name") is not None:
        async with front.gateway.transaction() as session:
            known = await consumers.by_uuid(session, uuid)
        if known is not None and known.host.name != wanted["name"]:
            raise Refusal(403, f"the consumer of {known.host.name} keeps its name")
    return json.dumps(wanted).encode()


async def _seen(front: Front, uuid: str, answer: Response) -> Response:
    """Candlepin knows the host, which was here just now."""
    if answer.status_code == 200:
        async with front.gateway.transaction() as session:
            await consumers.check_in(session, uuid, front.gateway.clock())
    return answer
