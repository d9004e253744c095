"""Hosts over the API: looking at them, and all that can be asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from gateway.answers import Refusal
from gateway.operators.context import Operators
from gateway.operators.once import IdempotencyKey, once
from gateway.operators.sessions import Asking
from inventory import acts, builds, fleet, plans, retries, rights
from inventory.database import AsyncSession
from inventory.fleet import Counts, FleetRow, Wanted
from inventory.host_view import (
    ArrowDetail,
    FactsView,
    HostView,
    arrow_detail,
    facts_of,
    host_view,
)
from inventory.life import HostState
from inventory.plans import PlanView
from inventory.retries import Held

__all__ = ["host_routes"]

Name = Annotated[str, Field(max_length=253)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Provision(_Body):
    """What a host is to become."""

    host_group: Annotated[str, Field(min_length=1, description="Name of the host group.")]
    name: Annotated[Name, Field(description="Name that it gets; empty keeps what it has.")] = ""


class Planned(_Body):
    """What a host would become."""

    host_group: Annotated[str, Field(description="Empty keeps its own.")] = ""


class Rebuild(Planned):
    """What a host is to become anew."""

    name: Annotated[Name, Field(description="Name that it gets; empty keeps what it has.")] = ""


class Cancel(_Body):
    """Why a build is given up."""

    why: Annotated[str, Field(max_length=1000)] = ""


class Retry(_Body):
    """Which held hosts go on."""

    hosts: Annotated[list[Name], Field(min_length=1, max_length=1000)]


@dataclass(frozen=True)
class HostPage:
    """Some hosts by name."""

    hosts: list[FleetRow]
    next: str | None
    """Ask again with this as ``after``; null: there are no more."""


@dataclass(frozen=True)
class Ordered:
    """A host after something was asked of it."""

    name: str
    state: HostState


@dataclass(frozen=True)
class RetryAnswer:
    """What became of hosts that were to go on."""

    goes: dict[str, str | None]
    """By name: the phase that is run again; null: the host is waited for anew."""
    refused: dict[str, str]
    """By name: why it cannot."""


@dataclass(frozen=True)
class CountsAnswer:
    """How many hosts are where."""

    by_state: dict[HostState, int]
    in_trouble: int
    all: int


def host_routes(gateway: Operators) -> APIRouter:
    """All paths below ``/hosts``, and what concerns many of them."""
    router = APIRouter(tags=["hosts"])

    @router.get("/hosts")
    async def list_hosts(
        actor: Asking,
        text: Annotated[str, Query(max_length=253, description="Part of name, MAC or IP.")] = "",
        state: Annotated[list[HostState] | None, Query()] = None,
        host_group: str = "",
        site: str = "",
        subnet: str = "",
        held_at: Annotated[int | None, Query(ge=1, le=34)] = None,
        in_trouble: bool = False,
        after: Annotated[str, Query(description="Name after which the page begins.")] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> HostPage:
        """Hosts by name; those that have gone only with ``state=retired``."""
        wanted = Wanted(text, frozenset(state or ()), host_group, site, subnet, held_at, in_trouble)
        async with gateway.transaction() as session:
            page = await fleet.page(session, actor.scope, wanted, after=after, limit=limit)
        return HostPage(list(page.rows), page.next)

    @router.get("/counts")
    async def get_counts(actor: Asking) -> CountsAnswer:
        """How many hosts are where."""
        async with gateway.transaction() as session:
            found: Counts = await fleet.counts(session, actor.scope)
        return CountsAnswer(found.by_state, found.in_trouble, found.all)

    @router.get("/hosts/{name}")
    async def get_host(name: str, actor: Asking) -> HostView:
        """One host, with the thirty-four arrows of its latest build."""
        async with gateway.transaction() as session:
            found = await rights.own_host(session, actor, name)
            return await host_view(session, actor.scope, found)

    @router.get("/hosts/{name}/facts")
    async def get_facts(name: str, actor: Asking) -> list[FactsView]:
        """What a host has told of itself, by source."""
        async with gateway.transaction() as session:
            found = await rights.own_host(session, actor, name)
            return await facts_of(session, found.id)

    @router.get("/hosts/{name}/arrows/{number}")
    async def get_arrow(
        name: str, number: int, actor: Asking, generation: int | None = None
    ) -> ArrowDetail:
        """One arrow: what was sent, what came back, and what it changed outside."""
        async with gateway.transaction() as session:
            found = await rights.own_host(session, actor, name)
            build = await builds.of_generation(session, found.id, generation)
            if build is None or not 1 <= number <= 34:
                raise Refusal(404, f"{name} has no such build, or there is no arrow {number}")
            return await arrow_detail(session, build, number)

    @router.get("/held")
    async def list_held(actor: Asking) -> list[Held]:
        """Held hosts by step and reason, most hosts first."""
        async with gateway.transaction() as session:
            return await retries.held(session, actor.scope)

    @router.post("/hosts/{name}/provision", status_code=202, response_model=Ordered)
    async def provision_host(
        name: str, wish: Provision, request: Request, actor: Asking, key: IdempotencyKey = None
    ) -> Response:
        """Provision a host: its run starts at once."""

        async def work(session: AsyncSession) -> Ordered:
            found = await acts.provision(
                session, actor, name, wish.host_group, as_name=wish.name, at=gateway.clock()
            )
            return Ordered(found.name, found.state)

        return await once(gateway, request, actor, key, work, 202)

    @router.post("/hosts/{name}/rebuild", status_code=202, response_model=Ordered)
    async def rebuild_host(
        name: str, wish: Rebuild, request: Request, actor: Asking, key: IdempotencyKey = None
    ) -> Response:
        """Install a host anew: what is on its disk is lost."""

        async def work(session: AsyncSession) -> Ordered:
            found = await acts.rebuild(
                session, actor, name, wish.host_group, as_name=wish.name, at=gateway.clock()
            )
            return Ordered(found.name, found.state)

        return await once(gateway, request, actor, key, work, 202)

    @router.post("/hosts/{name}/cancel", status_code=202, response_model=Ordered)
    async def cancel_host(
        name: str, wish: Cancel, request: Request, actor: Asking, key: IdempotencyKey = None
    ) -> Response:
        """Give a host's build up, and undo what it has changed outside."""

        async def work(session: AsyncSession) -> Ordered:
            found = await acts.cancel(session, actor, name, why=wish.why, at=gateway.clock())
            return Ordered(found.name, found.state)

        return await once(gateway, request, actor, key, work, 202)

    @router.post("/hosts/{name}/decommission", status_code=202, response_model=Ordered)
    async def decommission_host(
        name: str, request: Request, actor: Asking, key: IdempotencyKey = None
    ) -> Response:
        """Let a host go for good: all that there is of it outside is taken away."""

        async def work(session: AsyncSession) -> Ordered:
            found = await acts.decommission(session, actor, name, at=gateway.clock())
            return Ordered(found.name, found.state)

        return await once(gateway, request, actor, key, work, 202)

    @router.post("/retry", status_code=202, response_model=RetryAnswer)
    async def retry_hosts(
        wish: Retry, request: Request, actor: Asking, key: IdempotencyKey = None
    ) -> Response:
        """Let held hosts go on at their unfinished step; each by itself."""

        async def work(session: AsyncSession) -> RetryAnswer:
            told = await acts.retry(session, actor, wish.hosts, at=gateway.clock())
            return RetryAnswer(dict(told.goes), dict(told.refused))

        return await once(gateway, request, actor, key, work, 202)

    @router.post("/hosts/{name}/plan", status_code=202, response_model=PlanView)
    async def ask_plan(
        name: str, wish: Planned, request: Request, actor: Asking, key: IdempotencyKey = None
    ) -> Response:
        """Ask what provisioning a host would create, change and leave; nothing is touched."""

        async def work(session: AsyncSession) -> PlanView:
            return await plans.ask(session, actor, name, group=wish.host_group, at=gateway.clock())

        return await once(gateway, request, actor, key, work, 202)

    @router.get("/hosts/{name}/plans/{number}")
    async def get_plan(name: str, number: int, actor: Asking) -> PlanView:
        """What became of a plan that was asked for; ``done_at`` is null until there is one."""
        async with gateway.transaction() as session:
            found = await rights.own_host(session, actor, name)
            answer = await plans.of_host(session, found.id, number)
            if answer is None:
                raise Refusal(404, f"nobody has asked for a plan {number} of {name}")
            return answer

    return router
