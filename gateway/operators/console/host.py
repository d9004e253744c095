"""One host: its sequence diagram, lit up as it happens, and what can be done with it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.operators.console.diagram import draw
from gateway.operators.console.forms import NOT_REFUSED, Refused
from gateway.operators.console.pages import FORM, fragment, page
from gateway.operators.console.reports import judged
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed, SignedIn
from inventory import audit, builds, fleet, plans, profiles, repositories, rights
from inventory.allowed import Act, offered
from inventory.arrow_views import arrows_of
from inventory.arrows import arrow
from inventory.database import AsyncSession
from inventory.errors import UnknownHost
from inventory.fleet import FleetRow
from inventory.hardware import hardware_of
from inventory.host_reports import facts_at, reports_of
from inventory.host_view import (
    BuildView,
    HostView,
    host_view,
)
from inventory.models import Build, Host
from inventory.overview import effects_of_host
from inventory.rights import Actor

__all__ = ["host_pages", "host_pieces", "show_host"]

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


async def host_pieces(gateway: Operators, actor: Actor, host_id: int) -> list[str]:
    """The pieces of an open host's page that may have changed, with ``FORM`` in their forms.

    Raises:
        UnknownHost: it is not theirs to see any more.
    """
    async with gateway.transaction() as session:
        there = await session.get(Host, host_id)
        if there is None:
            raise UnknownHost(str(host_id))
        host = await rights.own_host(session, actor, there.name)
        (row,) = await fleet.rows(session, actor.scope, [host_id])
        now = await _now(session, row, await builds.latest_build(session, host_id))
        groups = await rights.own_groups(session, actor)
        plan = await plans.latest(session, host_id)
        may = await _offered(session, actor, host)
    prefect_url = gateway.settings.prefect_url.rstrip("/")
    pieces = [
        fragment("host_now.html.j2", **now),
        fragment("host_actions.html.j2", row=row, may=may, groups=groups, form=FORM),
    ]
    if plan is not None:
        pieces.append(fragment("host_plan.html.j2", plan=plan, prefect_url=prefect_url))
    return pieces


def host_pages(gateway: Operators) -> APIRouter:
    """``/hosts/…``; what is done there is in ``host_acts``."""
    router = APIRouter()

    @router.get("/hosts/{name}")
    async def show(
        request: Request, name: str, who: Signed, generation: int | None = None
    ) -> Response:
        return await show_host(gateway, request, who, name, generation=generation)

    return router


async def show_host(
    gateway: Operators,
    request: Request,
    who: SignedIn,
    name: str,
    *,
    generation: int | None = None,
    refused: Refused = NOT_REFUSED,
) -> Response:
    """The page of a host.

    Args:
        gateway: whose inventory.
        request: what is asked for.
        who: looks.
        name: of the host.
        generation: of the build that is looked at; None: the newest.
        refused: a form of this page that was refused.

    Raises:
        UnknownHost: there is none, or not for them.
    """
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
            "facts": await facts_at(session, host.id),
            "plan": await plans.latest(session, host.id),
            "groups": await rights.own_groups(session, actor),
            "audit": await audit.entries(
                session, actor.scope, about=f"host {host.name}", limit=_ENTRIES
            ),
        }
        reports = await reports_of(session, host.id)
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
        reports=await judged(reports, host.name),
        refused=refused,
        **found,
        **now,
    )
