"""The fleet: all hosts, where they are, and what wants a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from sqlmodel import col, select
from starlette.responses import Response

from gateway.operators.console.pages import page
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed
from inventory import fleet, wave_views
from inventory.database import AsyncSession
from inventory.fleet import Wanted
from inventory.life import HostState
from inventory.models import Site, Subnet
from inventory.rights import Actor, own_groups

__all__ = ["fleet_routes"]

_A_PAGE = 100


@dataclass(frozen=True)
class _Choices:
    """What the filters offer: only what somebody may see."""

    host_group: list[str]
    site: list[str]
    subnet: list[str]


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
            waves = await wave_views.unfinished(session, scope)
            choices = await _choices(session, who.actor)
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
            waves=waves,
            states=list(HostState),
            wanted=kept,
            filtered=bool(query),
            # No number in the counts is of hosts by two filters, or by another.
            counted=set(query) in (set(), {"state"}, {"trouble"}),
            choices=choices,
            more=more,
            after=after,
        )

    return router


async def _choices(session: AsyncSession, actor: Actor) -> _Choices:
    limited = actor.scope.sites
    sites = list(await session.exec(select(Site.name).order_by(Site.name)))
    subnets = await session.exec(
        select(Subnet.name, Site.name)
        .join(Site, col(Site.id) == col(Subnet.site_id))
        .order_by(Subnet.name)
    )
    return _Choices(
        host_group=await own_groups(session, actor),
        site=[one for one in sites if not limited or one in limited],
        subnet=[subnet for subnet, site in subnets if not limited or site in limited],
    )
