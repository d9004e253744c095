"""The form that starts a wave: its hosts are found, chosen or typed, and nothing typed is lost."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request
from sqlmodel import select
from starlette.datastructures import FormData
from starlette.responses import Response

from gateway.answers import Refusal
from gateway.operators.console.pages import page, path_of, redirect
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed, SignedForm, SignedIn
from inventory import acts_on_waves, fleet, rights
from inventory.errors import BadWave, UnfitHosts, UnknownGroup, WaveExists
from inventory.fleet import Wanted
from inventory.life import HostState
from inventory.models import Role, Site
from inventory.wave_draft import Draft

__all__ = ["new_wave_pages"]

_MOST_FOUND = 1000
_NAMED = 50
"""Hosts whose reasons are shown at a time."""
_EMPTY = {
    **dict.fromkeys(("name", "host_group", "hosts", "rebuild"), ""),
    **dict.fromkeys(("find_text", "find_group", "find_site"), ""),
    "find_state": HostState.DISCOVERED.value,
    "canary": "1",
    "growth": "2",
    "failures": "10",
    **dict.fromkeys(("largest", "per_subnet", "per_boot_server", "per_pulp"), "0"),
}
_TITLES = {
    "canary": "hosts of the canary",
    "growth": "growth",
    "largest": "largest batch",
    "failures": "failures of a hundred",
    "per_subnet": "limit in the subnet",
    "per_boot_server": "limit at the boot server",
    "per_pulp": "limit at the Pulp",
}
_STATES = (
    HostState.DISCOVERED,
    HostState.HELD,
    HostState.CANCELLED,
    HostState.IN_OPERATION,
)
Typed = Mapping[str, str]
"""What stands in the form, field by field."""


def new_wave_pages(gateway: Operators) -> APIRouter:
    """``/waves/new``; put before ``/waves/{name}``."""
    router = APIRouter()

    @router.get("/waves/new")
    async def new(request: Request, who: Signed) -> Response:
        rights.require(who.actor, Role.OPERATOR)
        return await _form(gateway, request, who, _EMPTY)

    @router.post("/waves/new")
    async def done(request: Request, who: SignedForm) -> Response:
        rights.require(who.actor, Role.OPERATOR)
        sent = await request.form()
        typed = _sent(sent)
        match sent.get("do"):
            case "choose":
                # From another page, where hosts were ticked.
                names = [one for one in sent.getlist("host") if isinstance(one, str)]
                chosen = {**_EMPTY, "host_group": typed["host_group"], "hosts": "\n".join(names)}
                return await _form(gateway, request, who, chosen)
            case "find":
                return await _find(gateway, request, who, typed)
            case "start":
                return await _start(gateway, request, who, typed)
            case _:
                raise Refusal(422, "this form says not what is to be done: load the page again")

    return router


async def _start(gateway: Operators, request: Request, who: SignedIn, typed: Typed) -> Response:
    try:
        draft = _read(typed)
        async with gateway.transaction() as session:
            await acts_on_waves.start(session, who.actor, draft, at=gateway.clock())
    except BadWave as error:
        return await _form(gateway, request, who, typed, list(error.problems), 422)
    except UnfitHosts as error:
        reasons = list(error.reasons.values())
        more = [f"and {len(reasons) - _NAMED} more"] if len(reasons) > _NAMED else []
        problems = [f"{len(reasons)} of its hosts cannot be in it:", *reasons[:_NAMED], *more]
        return await _form(gateway, request, who, typed, problems, 409)
    except (UnknownGroup, WaveExists) as error:
        return await _form(gateway, request, who, typed, [str(error)], 409)
    said = f"{draft.name} runs with {len(draft.hosts)} hosts"
    return redirect(gateway, f"/waves/{path_of(draft.name)}", said=said, who=who)


async def _find(gateway: Operators, request: Request, who: SignedIn, typed: Typed) -> Response:
    """Put the hosts that are found behind those that stand in the list."""
    state = typed["find_state"]
    states = frozenset({HostState(state)} if state in set(HostState) else _STATES)
    wanted = Wanted(typed["find_text"], states, typed["find_group"], typed["find_site"])
    async with gateway.transaction() as session:
        found = await fleet.page(session, who.actor.scope, wanted, after="", limit=_MOST_FOUND)
    listed = _names(typed["hosts"])
    fresh = [one.name for one in found.rows if one.name not in set(listed)]
    told = f"{len(fresh)} hosts were added to the list"
    if found.next:
        told += f"; more than {_MOST_FOUND} are like this: find the others by part of their name"
    grown = {**typed, "hosts": "\n".join([*listed, *fresh])}
    return await _form(gateway, request, who, grown, told=told)


def _read(typed: Typed) -> Draft:
    """What was typed, as a draft; what is no number is refused with its field's title.

    Raises:
        BadWave: all fields that cannot be read.
    """
    problems: list[str] = []

    def whole(field: str) -> int:
        try:
            return int(typed[field])
        except ValueError:
            problems.append(f"{_TITLES[field]}: {typed[field]!r} is no whole number")
            return 0

    def real(field: str) -> float:
        try:
            return float(typed[field])
        except ValueError:
            problems.append(f"{_TITLES[field]}: {typed[field]!r} is no number")
            return 0

    draft = Draft(
        name=typed["name"].strip(),
        host_group=typed["host_group"],
        hosts=tuple(_names(typed["hosts"])),
        canary=whole("canary"),
        growth=real("growth"),
        largest=whole("largest"),
        failure_share=real("failures") / 100,
        per_subnet=whole("per_subnet"),
        per_boot_server=whole("per_boot_server"),
        per_pulp=whole("per_pulp"),
        rebuild=typed["rebuild"] == "true",
    )
    if problems:
        raise BadWave(problems)
    return draft


def _names(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _sent(form: FormData) -> dict[str, str]:
    said = {name: form.get(name, "") for name in _EMPTY}
    return {name: value if isinstance(value, str) else "" for name, value in said.items()}


async def _form(
    gateway: Operators,
    request: Request,
    who: SignedIn,
    typed: Typed,
    problems: list[str] | None = None,
    status: int = 200,
    *,
    told: str = "",
) -> Response:
    limited = who.actor.scope.sites
    async with gateway.transaction() as session:
        groups = await rights.own_groups(session, who.actor)
        sites = list(await session.exec(select(Site.name).order_by(Site.name)))
    return page(
        *(gateway, request, "wave_new.html.j2", who),
        status=status,
        typed=typed,
        titles=_TITLES,
        groups=groups,
        sites=[one for one in sites if not limited or one in limited],
        states=_STATES,
        count=len(_names(typed["hosts"])),
        problems=problems or [],
        told=told,
    )
