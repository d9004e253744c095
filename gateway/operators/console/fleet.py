"""The fleet: all hosts, where they are, and what wants a person."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from sqlmodel import select
from starlette.responses import Response

from gateway.operators.console.pages import page
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed
from inventory import fleet
from inventory.database import AsyncSession
from inventory.fleet import Wanted
from inventory.life import HostState
from inventory.models import HostGroup, Site, Subnet
from inventory.scope import Scope

__all__ = ["fleet_routes"]

_A_PAGE = 100


def fleet_routes(gateway: Operators) -> APIRouter:
    """``/``: the first page."""
    router = APIRouter()

    @router.get("/")
    async def hosts(
        request: Request,
        who: Signed,
        text: Annotated[str, Query(max_length=253)] = "",
        state: str = "",
        host_group: str = "",
        site: str = "",
        subnet: str = "",
        trouble: bool = False,
        after: str = "",
    ) -> Response:
        states = frozenset({HostState(state)}) if state in set(HostState) else frozenset()
        wanted = Wanted(text, states, host_group, site, subnet, None, trouble)
        scope = who.actor.scope
        async with gateway.transaction() as session:
            found = await fleet.page(session, scope, wanted, after=after, limit=_A_PAGE)
            counts = await fleet.counts(session, scope)
            choices = await _choices(session, scope)
        kept = {
            "text": text,
            "state": state,
            "host_group": host_group,
            "site": site,
            "subnet": subnet,
            "trouble": "true" if trouble else "",
        }
        query = {name: value for name, value in kept.items() if value}
        more = urlencode({**query, "after": found.next}) if found.next else ""
        return page(
            gateway,
            request,
            "fleet.html.j2",
            who,
            rows=found.rows,
            counts=counts,
            states=list(HostState),
            wanted=kept,
            filtered=bool(query),
            choices=choices,
            more=more,
            after=after,
        )

    return router


async def _choices(session: AsyncSession, scope: Scope) -> dict[str, list[str]]:
    """What the filters offer."""
    groups = list(await session.exec(select(HostGroup.name).order_by(HostGroup.name)))
    sites = list(await session.exec(select(Site.name).order_by(Site.name)))
    subnets = list(await session.exec(select(Subnet.name).order_by(Subnet.name)))
    return {
        "host_group": [one for one in groups if scope.admits(None, one) or not scope.host_groups],
        "site": [one for one in sites if not scope.sites or one in scope.sites],
        "subnet": subnets,
    }
