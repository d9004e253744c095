"""One host: its sequence diagram, lit up as it happens, and what can be done with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from gateway.answers import Refusal
from gateway.operators.console.diagram import draw, stands
from gateway.operators.console.held import told
from gateway.operators.console.pages import fragment, page, path_of, redirect
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed, SignedForm, SignedIn, form_value
from inventory import acts, audit, builds, plans, profiles, repositories, rights
from inventory.allowed import Act, offered
from inventory.arrow_views import arrows_of
from inventory.arrows import arrow
from inventory.database import AsyncSession
from inventory.fleet import FleetRow
from inventory.hardware import hardware_of
from inventory.host_view import (
    BuildView,
    HostView,
    Record,
    arrow_detail,
    facts_of,
    host_view,
)
from inventory.models import Build, Host
from inventory.overview import effects_of_host
from inventory.rights import Actor

__all__ = ["host_pages", "host_pieces"]

_ENTRIES = 20


async def _offered(session: AsyncSession, actor: Actor, host: Host) -> frozenset[Act]:
    return offered(actor, host, await builds.current_build(session, host.id))


async def _now(
    session: AsyncSession, row: FleetRow, build: Build | None, older: BuildView | None = None
) -> dict[str, Any]:
    """What the live part of the page shows; of an older build, how that ended."""
    arrows = () if build is None else await arrows_of(session, build)
    return {
        "row": row,
        "diagram": draw(arrows) if arrows else None,
        "held_label": arrow(row.held_step).label if row.held_step else "",
        "older": older,
    }


def _older(view: HostView, build: Build | None) -> BuildView | None:
    """The build that is looked at, if the host has had another since."""
    if build is None or build.generation == view.builds[0].generation:
        return None
    return next(one for one in view.builds if one.generation == build.generation)


async def host_pieces(gateway: Operators, who: SignedIn, host_id: int) -> list[str]:
    """The pieces of an open host's page that may have changed.

    Raises:
        UnknownHost: it is not theirs to see any more.
    """
    async with gateway.transaction() as session:
        name = (await session.get_one(Host, host_id)).name
        host = await rights.own_host(session, who.actor, name)
        view = await host_view(session, who.actor.scope, host)
        now = await _now(session, view.row, await builds.latest_build(session, host_id))
        groups = await rights.own_groups(session, who.actor)
        plan = await plans.latest(session, host_id)
        may = await _offered(session, who.actor, host)
    prefect_url = gateway.settings.prefect_url.rstrip("/")
    pieces = [
        fragment("host_now.html.j2", **now),
        fragment(
            "host_actions.html.j2",
            row=view.row,
            may=may,
            groups=groups,
            form=form_value(who.secret),
        ),
    ]
    if plan is not None:
        pieces.append(fragment("host_plan.html.j2", plan=plan, prefect_url=prefect_url))
    return pieces


def host_pages(gateway: Operators) -> APIRouter:
    """``/hosts/…``."""
    router = APIRouter()
    _looking(router, gateway)
    _acting(router, gateway)
    return router


def _looking(router: APIRouter, gateway: Operators) -> None:
    @router.get("/hosts/{name}")
    async def show(
        request: Request, name: str, who: Signed, generation: int | None = None
    ) -> Response:
        actor = who.actor
        async with gateway.transaction() as session:
            host = await rights.own_host(session, actor, name)
            view = await host_view(session, actor.scope, host)
            generations = [one.generation for one in view.builds]
            if generation is not None and generation not in generations:
                return page(
                    *(gateway, request, "no_build.html.j2", who),
                    status=404,
                    name=host.name,
                    generation=generation,
                    generations=generations,
                )
            build = await builds.of_generation(session, host.id, generation)
            older = _older(view, build)
            found: dict[str, Any] = {
                "hardware": await hardware_of(session, host.id),
                "effects": await effects_of_host(session, host.id),
                "repositories": await repositories.of_host(session, host.id),
                "profiles": await profiles.of_host(session, host.id),
                "packages": await profiles.packages_of(session, host.id),
                "plan": await plans.latest(session, host.id),
                "groups": await rights.own_groups(session, actor),
                "audit": await audit.entries(
                    session, actor.scope, about=f"host {host.name}", limit=_ENTRIES
                ),
            }
            now = await _now(session, view.row, build, older)
            may = frozenset() if older else await _offered(session, actor, host)
        return page(
            gateway,
            request,
            "host.html.j2",
            who,
            view=view,
            generation=build.generation if build else None,
            may=may,
            **found,
            **now,
        )

    @router.get("/hosts/{name}/arrows/{number}")
    async def one_arrow(
        request: Request, name: str, number: int, who: Signed, generation: int | None = None
    ) -> Response:
        async with gateway.transaction() as session:
            host = await rights.own_host(session, who.actor, name)
            build = await builds.of_generation(session, host.id, generation)
            if build is None or not 1 <= number <= 34:
                raise Refusal(404, f"{name} has no such build, or there is no arrow {number}")
            detail = await arrow_detail(session, build, number)
        records = [_shown(one) for one in detail.records]
        return page(
            gateway,
            request,
            "arrow.html.j2",
            who,
            name=host.name,
            detail=detail,
            stands=stands(detail.arrow),
            records=records,
        )

    @router.get("/hosts/{name}/facts")
    async def facts(request: Request, name: str, who: Signed) -> Response:
        async with gateway.transaction() as session:
            host = await rights.own_host(session, who.actor, name)
            found = await facts_of(session, host.id)
        told_facts = [
            {"source": one.source, "received_at": one.received_at, "text": _text(one.values)}
            for one in found
        ]
        return page(gateway, request, "facts.html.j2", who, name=host.name, facts=told_facts)


def _acting(router: APIRouter, gateway: Operators) -> None:
    def back(name: str, who: SignedIn, said: str) -> Response:
        return redirect(gateway, f"/hosts/{path_of(name)}", said=said, who=who)

    @router.post("/hosts/{name}/retry")
    async def retry(name: str, who: SignedForm) -> Response:
        async with gateway.transaction() as session:
            result = await acts.retry(session, who.actor, [name], at=gateway.clock())
        return back(name, who, told(result))

    @router.post("/hosts/{name}/provision")
    async def provision(
        name: str,
        who: SignedForm,
        host_group: Annotated[str, Form()],
        as_name: Annotated[str, Form(alias="name", max_length=253)] = "",
    ) -> Response:
        async with gateway.transaction() as session:
            host = await acts.provision(
                session,
                who.actor,
                name,
                host_group,
                as_name=as_name.strip().lower(),
                at=gateway.clock(),
            )
        return back(host.name, who, f"{host.name} is on its way as {host_group}")

    @router.post("/hosts/{name}/rebuild")
    async def rebuild(
        name: str, who: SignedForm, host_group: Annotated[str, Form()] = ""
    ) -> Response:
        async with gateway.transaction() as session:
            host = await acts.rebuild(
                session, who.actor, name, group=host_group, at=gateway.clock()
            )
        return back(host.name, who, f"{host.name} is built anew")

    @router.post("/hosts/{name}/cancel")
    async def cancel(
        name: str, who: SignedForm, why: Annotated[str, Form(max_length=1000)] = ""
    ) -> Response:
        async with gateway.transaction() as session:
            host = await acts.cancel(session, who.actor, name, why=why, at=gateway.clock())
        return back(host.name, who, f"{host.name} is given up; what it has changed is undone")

    @router.post("/hosts/{name}/decommission")
    async def decommission(
        name: str, who: SignedForm, typed: Annotated[str, Form()] = ""
    ) -> Response:
        if typed.strip().lower() != name.lower():
            raise Refusal(422, f"nothing was done: to let {name} go, type its name")
        async with gateway.transaction() as session:
            host = await acts.decommission(session, who.actor, name, at=gateway.clock())
        return back(host.name, who, f"{host.name} leaves; what there is of it is taken away")

    @router.post("/hosts/{name}/plan")
    async def plan(name: str, who: SignedForm, host_group: Annotated[str, Form()] = "") -> Response:
        async with gateway.transaction() as session:
            asked = await plans.ask(session, who.actor, name, group=host_group, at=gateway.clock())
        return back(asked.host, who, "the plan is being made; nothing is touched")


@dataclass(frozen=True)
class _ShownRecord:
    """A change outside with its values as text."""

    record: Record
    before: str
    after: str


def _shown(record: Record) -> _ShownRecord:
    return _ShownRecord(record, _text(record.before), _text(record.after))


def _text(values: Mapping[str, Any] | None) -> str:
    """A record as people read it: files as they are, the rest as JSON."""
    if values is None:
        return "(nothing)"
    if set(values) >= {"text"}:
        rest = {name: value for name, value in values.items() if name != "text"}
        return f"{json.dumps(rest, indent=2, ensure_ascii=False)}\n\n{values['text']}"
    return json.dumps(values, indent=2, ensure_ascii=False)
