"""Discovered hosts: what they are, which rule would take them, and one button for many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from gateway.operators.console.host import groups_of
from gateway.operators.console.pages import page, redirect
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed, SignedForm
from inventory import acts, fleet
from inventory.errors import InventoryError
from inventory.fleet import FleetRow, Wanted
from inventory.hardware import HardwareRow, hardware_of
from inventory.life import HostState
from inventory.models import Host, Role
from inventory.rule_trials import RuleVerdict, explain

__all__ = ["discovered_pages"]

_A_PAGE = 50
_NAMED = 10


@dataclass(frozen=True)
class Found:
    """One discovered host."""

    row: FleetRow
    hardware: list[HardwareRow]
    rules: list[RuleVerdict]

    @property
    def chosen(self) -> RuleVerdict | None:
        """The rule that would take it."""
        return next((one for one in self.rules if one.chosen), None)


def discovered_pages(gateway: Operators) -> APIRouter:
    """``/discovered``."""
    router = APIRouter()

    @router.get("/discovered")
    async def discovered(request: Request, who: Signed, after: str = "") -> Response:
        wanted = Wanted(states=frozenset({HostState.DISCOVERED}))
        async with gateway.transaction() as session:
            shown = await fleet.page(session, who.actor.scope, wanted, after=after, limit=_A_PAGE)
            found = [
                Found(
                    row,
                    await hardware_of(session, row.id),
                    await explain(session, await session.get_one(Host, row.id)),
                )
                for row in shown.rows
            ]
            groups = await groups_of(session, who.actor)
        return page(
            gateway,
            request,
            "discovered.html.j2",
            who,
            found=found,
            groups=groups,
            more=shown.next,
            may=who.actor.may(Role.OPERATOR),
        )

    @router.post("/discovered/provision")
    async def provision(
        who: SignedForm,
        host_group: Annotated[str, Form()],
        host: Annotated[list[str] | None, Form()] = None,
    ) -> Response:
        goes: list[str] = []
        refused: list[str] = []
        async with gateway.transaction() as session:
            for name in sorted(host or []):
                try:
                    async with session.begin_nested():
                        made = await acts.provision(
                            session, who.actor, name, host_group, at=gateway.clock()
                        )
                    goes.append(made.name)
                except InventoryError as error:
                    refused.append(str(error))
        listed = ", ".join(goes[:_NAMED])
        said = [f"{len(goes)} on the way as {host_group}: {listed}"] if goes else []
        said += refused[:_NAMED]
        return redirect(
            gateway, "/discovered", said="\n".join(said) or "no host was chosen", who=who
        )

    return router
