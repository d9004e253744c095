"""What Candlepin's double does with organizations: environments, keys, content, jobs."""

from __future__ import annotations

from uuid import uuid4

from starlette.responses import JSONResponse, Response

from lab.doubles.candlepin_state import (
    Call,
    Object,
    Refusal,
    Routes,
    State,
    environment_of,
    nested,
    owner_of,
    stamps,
)

__all__ = ["ROUTES"]

_KEY_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


async def _get_owner(state: State, call: Call, key: str) -> Response:
    return JSONResponse(owner_of(state, key))


async def _create_owner(state: State, call: Call) -> Response:
    wanted = call.object()
    key = wanted.get("key")
    if not key or key in state.owners:
        raise Refusal(400, f"An owner with key {key} already exists" if key else "No key")
    made = {
        **stamps(),
        "id": uuid4().hex,
        "key": key,
        "displayName": wanted.get("displayName"),
        "contentPrefix": wanted.get("contentPrefix"),
        "contentAccessMode": wanted.get("contentAccessMode") or "entitlement",
        "contentAccessModeList": wanted.get("contentAccessModeList"),
        "parentOwner": None,
    }
    return _keep(state, state.owners, key, made)


async def _delete_owner(state: State, call: Call, key: str) -> Response:
    owner_of(state, key)
    if not state.faults.drops:
        del state.owners[key]
        for kept in (state.environments, state.keys, state.consumers):
            for ident in [one for one, it in kept.items() if it["owner"]["key"] == key]:
                del kept[ident]
    return Response(status_code=204)


async def _get_environment(state: State, call: Call, ident: str) -> Response:
    return JSONResponse(environment_of(state, ident))


async def _list_environments(state: State, call: Call, key: str) -> Response:
    owner_of(state, key)
    name = call.query.get("name")
    return JSONResponse(
        [
            one
            for one in state.environments.values()
            if one["owner"]["key"] == key and name in (None, one["name"])
        ]
    )


async def _create_environment(state: State, call: Call, key: str) -> Response:
    owner, wanted = owner_of(state, key), call.object()
    if wanted["id"] in state.environments:
        raise Refusal(400, f"Environment {wanted['id']} already exists")  # assumed
    made = {
        **stamps(),
        "id": wanted["id"],
        "name": wanted["name"],
        "type": None,
        "description": wanted.get("description"),
        "contentPrefix": None,
        "owner": nested(owner),
        "environmentContent": [],
    }
    return _keep(state, state.environments, wanted["id"], made)


async def _delete_environment(state: State, call: Call, ident: str) -> Response:
    environment_of(state, ident)
    if not state.faults.drops:
        del state.environments[ident]
    return Response(status_code=204)


async def _list_keys(state: State, call: Call, key: str) -> Response:
    owner_of(state, key)
    name = call.query.get("name")
    return JSONResponse(
        [
            one
            for one in state.keys.values()
            if one["owner"]["key"] == key and name in (None, one["name"])
        ]
    )


async def _create_key(state: State, call: Call, key: str) -> Response:
    owner, name = owner_of(state, key), call.object().get("name") or ""
    if not name or not set(name) <= _KEY_LETTERS:
        said = 'must be alphanumeric or include the characters "-" or "_".'
        raise Refusal(400, f'The activation key name "{name}" {said}')
    taken = [one["name"] for one in state.keys.values() if one["owner"]["key"] == key]
    if name in taken:
        said = f'The activation key name "{name}" is already in use for owner {key}'
        raise Refusal(400, said)
    made = {
        **stamps(),
        "id": uuid4().hex,
        "name": name,
        "description": None,
        "owner": nested(owner),
        "releaseVer": {"releaseVer": None},
        "serviceLevel": None,
        "autoAttach": None,
        "pools": [],
        "products": [],
        "contentOverrides": [],
    }
    return _keep(state, state.keys, made["id"], made)


async def _delete_key(state: State, call: Call, ident: str) -> Response:
    if ident not in state.keys:
        raise Refusal(404, f"ActivationKey with id {ident} could not be found.")
    if not state.faults.drops:
        del state.keys[ident]
    return Response(status_code=204)


async def _get_content(state: State, call: Call, key: str, ident: str) -> Response:
    found = state.contents.get((key, ident))
    if found is None:
        raise Refusal(404, f"Content with ID {ident} could not be found.")
    return JSONResponse(found)


async def _create_content(state: State, call: Call, key: str) -> Response:
    owner_of(state, key)
    made = {**stamps(), "uuid": uuid4().hex, **call.object()}
    state.contents[key, made["id"]] = made
    return JSONResponse(made)


async def _promote(state: State, call: Call, ident: str) -> Response:
    environment = environment_of(state, ident)
    wanted = [one["contentId"] for one in call.body]
    there = {one["contentId"] for one in environment["environmentContent"]}
    if taken := there & set(wanted):
        said = f"The content with id {min(taken)} has already been promoted"
        raise Refusal(409, f"{said} in this environment.")
    environment["environmentContent"] += [{"contentId": one, "enabled": True} for one in wanted]
    return JSONResponse(_job(state, "Regenerate Environment Certificates"))


async def _demote(state: State, call: Call, ident: str) -> Response:
    environment, gone = environment_of(state, ident), set(call.query.getlist("content"))
    environment["environmentContent"] = [
        one for one in environment["environmentContent"] if one["contentId"] not in gone
    ]
    return JSONResponse(_job(state, "Regenerate Environment Certificates"))


def _job(state: State, name: str) -> Object:
    ident = uuid4().hex
    state.jobs[ident] = {
        **stamps(),
        "id": ident,
        "key": "RegenEnvEntitlementCertsJob",
        "name": name,
        "group": None,
        "state": "CREATED",
        "previousState": None,
        "startTime": None,
        "endTime": None,
        "attempts": 0,
        "maxAttempts": 1,
        "statusPath": f"/jobs/{ident}",
        "resultData": None,
    }
    return state.jobs[ident]


async def _get_job(state: State, call: Call, ident: str) -> Response:
    job = state.jobs.get(ident)
    if job is None:
        raise Refusal(404, f"No job status found with ID {ident}")
    last = "FAILED" if state.faults.failing_jobs else "FINISHED"
    following = {"CREATED": "QUEUED", "QUEUED": "RUNNING", "RUNNING": last}
    if (following_state := following.get(job["state"])) is not None:
        job["previousState"], job["state"] = job["state"], following_state
        if following_state == "FAILED":
            job["resultData"] = {"message": "the lab wants it so"}
    return JSONResponse(job)


def _keep(state: State, kept: dict[str, Object], key: str, made: Object) -> Response:
    if not state.faults.drops:
        kept[key] = made
    return JSONResponse(made)


ROUTES: Routes = {
    ("POST", "owners"): _create_owner,
    ("GET", "owners/*"): _get_owner,
    ("DELETE", "owners/*"): _delete_owner,
    ("GET", "owners/*/environments"): _list_environments,
    ("POST", "owners/*/environments"): _create_environment,
    ("GET", "owners/*/activation_keys"): _list_keys,
    ("POST", "owners/*/activation_keys"): _create_key,
    ("POST", "owners/*/content"): _create_content,
    ("GET", "owners/*/content/*"): _get_content,
    ("DELETE", "activation_keys/*"): _delete_key,
    ("GET", "environments/*"): _get_environment,
    ("DELETE", "environments/*"): _delete_environment,
    ("POST", "environments/*/content"): _promote,
    ("DELETE", "environments/*/content"): _demote,
    ("GET", "jobs/*"): _get_job,
}
"""Handlers by method and path."""
