"""What Candlepin's double does with consumers: registration, certificates, and what hosts ask."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from lab.doubles.candlepin_state import (
    Call,
    Object,
    Refusal,
    Routes,
    State,
    certificate_document,
    environment_of,
    gone,
    nested,
    owner_of,
    stamp,
    stamps,
    texts,
)

__all__ = ["ROUTES"]

_LISTED = frozenset(
    {
        "id", "uuid", "name", "username", "entitlementStatus", "serviceLevel", "role", "usage",
        "addOns", "systemPurposeStatus", "releaseVer", "owner", "entitlementCount", "lastCheckin",
        "installedProducts", "canActivate", "capabilities", "hypervisorId", "contentTags",
        "autoheal", "contentAccessMode", "type", "href", "created", "updated",
    }
)  # fmt: skip
"""What lists show of a consumer: without facts, environments and identity."""


def _consumer(state: State, uuid: str) -> Object:
    if uuid in state.deleted:
        raise gone(uuid)
    found = state.consumers.get(uuid)
    if found is None:
        raise Refusal(404, f"Unit with ID {uuid} could not be found.")
    return found


async def _get_consumer(state: State, call: Call, uuid: str) -> Response:
    return JSONResponse(_consumer(state, uuid))


async def _list_consumers(state: State, call: Call, key: str) -> Response:
    owner_of(state, key)
    facts = [one.partition(":")[::2] for one in call.query.getlist("fact")]
    found = [
        one
        for one in state.consumers.values()
        if one["owner"]["key"] == key
        and all(one["facts"].get(name) == value for name, value in facts)
    ]
    page, size = int(call.query.get("page", 1)), int(call.query.get("per_page", 1000))
    listed = [
        {name: value for name, value in one.items() if name in _LISTED}
        for one in found[(page - 1) * size : page * size]
    ]
    return JSONResponse(listed, headers={"X-Total-Count": str(len(found))})


async def _create_consumer(state: State, call: Call) -> Response:
    key = call.query.get("owner")
    keys = _asked_keys(state, call)
    if keys and not key:
        raise Refusal(400, "Org required to register with activation keys.")
    if key not in state.owners:
        raise Refusal(401, f"Organization {key} does not exist.")
    return _register(state, call, state.owners[key], keys, [])


async def _create_consumer_in(state: State, call: Call, idents: str) -> Response:
    environments = [environment_of(state, one) for one in idents.split(",")]
    owner = owner_of(state, environments[0]["owner"]["key"])
    return _register(state, call, owner, _asked_keys(state, call), environments)


def _asked_keys(state: State, call: Call) -> list[str]:
    return [one for one in call.query.get("activation_keys", "").split(",") if one]


def _register(
    state: State, call: Call, owner: Object, keys: list[str], environments: list[Object]
) -> Response:
    mine = {one["name"]: one for one in state.keys.values() if one["owner"]["key"] == owner["key"]}
    if keys and not set(keys) & set(mine):
        raise Refusal(401, "None of the activation keys specified exist for this org.")
    wanted = call.object()
    uuid, name = wanted.get("uuid") or str(uuid4()), wanted.get("name")
    if not name:
        raise Refusal(400, "System name cannot be empty")  # assumed
    if uuid in state.consumers or uuid in state.deleted:
        raise Refusal(400, f"A unit with the UUID {uuid} is there already")  # assumed
    used = [mine[one] for one in keys if one in mine]
    made = _made_consumer(state, wanted, uuid, name, owner, environments, used)
    state.consumers[uuid] = made
    state.registered.append(uuid)
    return JSONResponse(made)


def _made_consumer(
    state: State,
    wanted: Object,
    uuid: str,
    name: str,
    owner: Object,
    environments: list[Object],
    keys: list[Object],
) -> Object:
    return {
        **stamps(),
        "id": uuid4().hex,
        "uuid": uuid,
        "name": name,
        "username": None,
        "entitlementStatus": "disabled",
        "serviceLevel": wanted.get("serviceLevel") or "",
        "role": wanted.get("role") or "",
        "usage": wanted.get("usage") or "",
        "addOns": wanted.get("addOns") or [],
        "systemPurposeStatus": "disabled",
        "releaseVer": {"releaseVer": None},
        "owner": nested(owner),
        "environment": environments[0] if environments else None,
        "environments": environments or None,
        "entitlementCount": 0,
        "facts": texts(wanted.get("facts") or {}),
        "lastCheckin": None,
        "installedProducts": wanted.get("installedProducts"),
        "canActivate": False,
        "capabilities": [],
        "hypervisorId": None,
        "contentTags": wanted.get("contentTags") or [],
        "autoheal": True,
        "contentAccessMode": None,
        "type": {**stamps(), "id": "1000", "label": "system", "manifest": False},
        "idCert": certificate_document(state.ca.identity(uuid, name, owner["key"])),
        "guestIds": [],
        "href": f"/consumers/{uuid}",
        "activationKeys": [
            {"activationKeyId": one["id"], "activationKeyName": one["name"]} for one in keys
        ],
    }


async def _update_consumer(state: State, call: Call, uuid: str) -> Response:
    consumer, wanted = _consumer(state, uuid), call.object()
    if (facts := wanted.get("facts")) is not None:
        consumer["facts"] = texts(facts)
    if (environments := wanted.get("environments")) is not None:
        consumer["environments"] = [environment_of(state, one["id"]) for one in environments]
    for name in ("installedProducts", "releaseVer", "guestIds", "serviceLevel", "role"):
        if wanted.get(name) is not None:
            consumer[name] = wanted[name]
    if call.who is not None and call.who.consumer == uuid:
        consumer["lastCheckin"] = stamp(datetime.now(UTC))
    return Response(status_code=200)


async def _regenerate(state: State, call: Call, uuid: str) -> Response:
    consumer = _consumer(state, uuid)
    issued = state.ca.identity(uuid, consumer["name"], consumer["owner"]["key"])
    consumer["idCert"] = certificate_document(issued)
    return JSONResponse(consumer)


async def _delete_consumer(state: State, call: Call, uuid: str) -> Response:
    _consumer(state, uuid)
    if not state.faults.drops:
        del state.consumers[uuid]
        state.deleted.add(uuid)
    return Response(status_code=204)


async def _serials(state: State, call: Call, uuid: str) -> Response:
    consumer = _consumer(state, uuid)
    if call.who is not None and call.who.consumer == uuid:
        consumer["lastCheckin"] = stamp(datetime.now(UTC))
    return JSONResponse([{"serial": one["serial"]["serial"]} for one in _access(state, uuid)])


async def _certificates(state: State, call: Call, uuid: str) -> Response:
    _consumer(state, uuid)
    return JSONResponse(_access(state, uuid))


def _access(state: State, uuid: str) -> list[Object]:
    if uuid not in state.accesses:
        owner = state.consumers[uuid]["owner"]["key"]
        state.accesses[uuid] = certificate_document(state.ca.content_access(uuid, owner))
    return [state.accesses[uuid]]


async def _accessible_content(state: State, call: Call, uuid: str) -> Response:
    _consumer(state, uuid)
    (access,) = _access(state, uuid)
    head, mark, tail = access["cert"].partition("-----BEGIN ENTITLEMENT DATA-----")
    listing = {str(access["serial"]["serial"]): [head, mark + tail]}
    return JSONResponse({"contentListing": listing, "lastUpdate": access["created"]})


async def _overrides(state: State, call: Call, uuid: str) -> Response:
    _consumer(state, uuid)
    return JSONResponse([])


async def _release(state: State, call: Call, uuid: str) -> Response:
    return JSONResponse(_consumer(state, uuid)["releaseVer"])


async def _consumer_owner(state: State, call: Call, uuid: str) -> Response:
    return JSONResponse(state.owners[_consumer(state, uuid)["owner"]["key"]])


async def _packages(state: State, call: Call, uuid: str) -> Response:
    raise Refusal(501, "Consumer package profile uploads are not implemented")


ROUTES: Routes = {
    ("GET", "owners/*/consumers"): _list_consumers,
    ("POST", "environments/*/consumers"): _create_consumer_in,
    ("POST", "consumers"): _create_consumer,
    ("GET", "consumers/*"): _get_consumer,
    ("PUT", "consumers/*"): _update_consumer,
    ("POST", "consumers/*"): _regenerate,
    ("DELETE", "consumers/*"): _delete_consumer,
    ("GET", "consumers/*/certificates"): _certificates,
    ("GET", "consumers/*/certificates/serials"): _serials,
    ("GET", "consumers/*/accessible_content"): _accessible_content,
    ("GET", "consumers/*/content_overrides"): _overrides,
    ("GET", "consumers/*/release"): _release,
    ("GET", "consumers/*/owner"): _consumer_owner,
    ("PUT", "consumers/*/packages"): _packages,
}
"""Handlers by method and path."""
