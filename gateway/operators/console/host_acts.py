"""What is done to one host by the buttons of its page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from gateway.answers import Refusal
from gateway.operators.console.forms import refusal_of
from gateway.operators.console.held import told
from gateway.operators.console.host import show_host
from gateway.operators.console.pages import path_of, redirect
from gateway.operators.context import Operators
from gateway.operators.sessions import SignedForm, SignedIn
from inventory import acts, plans
from inventory.allowed import Act
from inventory.database import AsyncSession
from inventory.errors import InventoryError

__all__ = ["host_acts_routes"]

Work = Callable[[AsyncSession], Awaitable[tuple[str, str]]]
"""Does what was asked; says how the host is called now, and what came of it."""
Group = Annotated[str, Form(max_length=1000)]


def host_acts_routes(gateway: Operators) -> APIRouter:
    """All that forms send to ``/hosts/…``."""
    router = APIRouter()
    _onward(router, gateway)
    _away(router, gateway)
    return router


async def _done(
    gateway: Operators, request: Request, who: SignedIn, name: str, act: Act, work: Work
) -> Response:
    """Do it and go back to the host's page; where it is refused, that page says why."""
    try:
        async with gateway.transaction() as session:
            now_called, said = await work(session)
    except (InventoryError, Refusal) as error:
        refused = await refusal_of(request, act, error)
        return await show_host(gateway, request, who, name, refused=refused)
    return redirect(gateway, f"/hosts/{path_of(now_called)}", said=said, who=who)


def _onward(router: APIRouter, gateway: Operators) -> None:
    @router.post("/hosts/{name}/retry")
    async def retry(request: Request, name: str, who: SignedForm) -> Response:
        async def work(session: AsyncSession) -> tuple[str, str]:
            result = await acts.retry(session, who.actor, [name], at=gateway.clock())
            if result.refused:
                raise Refusal(409, told(result))
            return name, told(result)

        return await _done(gateway, request, who, name, Act.RETRY, work)

    @router.post("/hosts/{name}/provision")
    async def provision(
        request: Request,
        name: str,
        who: SignedForm,
        host_group: Group = "",
        as_name: Annotated[str, Form(alias="name", max_length=253)] = "",
    ) -> Response:
        async def work(session: AsyncSession) -> tuple[str, str]:
            called = as_name.strip().lower()
            host = await acts.provision(
                session, who.actor, name, host_group, as_name=called, at=gateway.clock()
            )
            return host.name, f"{host.name} is on its way as {host_group}"

        return await _done(gateway, request, who, name, Act.PROVISION, work)

    @router.post("/hosts/{name}/rebuild")
    async def rebuild(
        request: Request, name: str, who: SignedForm, host_group: Group = ""
    ) -> Response:
        async def work(session: AsyncSession) -> tuple[str, str]:
            host = await acts.rebuild(
                session, who.actor, name, group=host_group, at=gateway.clock()
            )
            return host.name, f"{host.name} is built anew"

        return await _done(gateway, request, who, name, Act.REBUILD, work)

    @router.post("/hosts/{name}/plan")
    async def plan(
        request: Request, name: str, who: SignedForm, host_group: Group = ""
    ) -> Response:
        async def work(session: AsyncSession) -> tuple[str, str]:
            asked = await plans.ask(session, who.actor, name, group=host_group, at=gateway.clock())
            return asked.host, "the plan is being made; nothing is touched"

        return await _done(gateway, request, who, name, Act.PLAN, work)


def _away(router: APIRouter, gateway: Operators) -> None:
    @router.post("/hosts/{name}/cancel")
    async def cancel(
        request: Request,
        name: str,
        who: SignedForm,
        why: Annotated[str, Form(max_length=1000)] = "",
    ) -> Response:
        async def work(session: AsyncSession) -> tuple[str, str]:
            host = await acts.cancel(session, who.actor, name, why=why, at=gateway.clock())
            return host.name, f"{host.name} is given up; what it has changed is undone"

        return await _done(gateway, request, who, name, Act.CANCEL, work)

    @router.post("/hosts/{name}/decommission")
    async def decommission(
        request: Request,
        name: str,
        who: SignedForm,
        typed: Annotated[str, Form(max_length=1000)] = "",
    ) -> Response:
        async def work(session: AsyncSession) -> tuple[str, str]:
            if typed.strip().lower() != name.lower():
                raise Refusal(422, f"nothing was done: to let {name} go, type its name")
            host = await acts.decommission(session, who.actor, name, at=gateway.clock())
            return host.name, f"{host.name} leaves; what there is of it is taken away"

        return await _done(gateway, request, who, name, Act.DECOMMISSION, work)
