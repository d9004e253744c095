"""Discovery rules over the API: read, tried, kept, and explained for a host."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from gateway.operators.context import Operators
from gateway.operators.once import IdempotencyKey, once
from gateway.operators.sessions import Asking
from inventory import acts_on_rules, rights, rule_book, rule_trials
from inventory.database import AsyncSession
from inventory.rule_book import RuleRow
from inventory.rule_draft import RuleDraft
from inventory.rule_trials import RuleVerdict, Trial

__all__ = ["rule_routes"]


class Trying(BaseModel):
    """A rule as it would be."""

    model_config = ConfigDict(extra="forbid")

    draft: RuleDraft
    replaces: Annotated[
        str | None, Field(description="Name of the rule that it would be a change of.")
    ] = None
    most: Annotated[int, Field(ge=1, le=1000, description="Hosts that it is tried with.")] = 200


def rule_routes(gateway: Operators) -> APIRouter:
    """``/rules``, and ``/hosts/{name}/rules``."""
    router = APIRouter(tags=["rules"])

    @router.get("/rules")
    async def list_rules(_: Asking) -> list[RuleRow]:
        """All rules in the order in which they are weighed, also those out of use."""
        async with gateway.transaction() as session:
            return await rule_book.list_rules(session)

    @router.post("/rules", status_code=201, response_model=RuleRow)
    async def add_rule(
        draft: RuleDraft, request: Request, actor: Asking, key: IdempotencyKey = None
    ) -> Response:
        """Keep a new rule; hosts that wait are weighed by it within ten minutes."""

        async def work(session: AsyncSession) -> RuleRow:
            return await acts_on_rules.add(session, actor, draft, at=gateway.clock())

        return await once(gateway, request, actor, key, work, 201)

    @router.post("/rules/try")
    async def try_rule(wish: Trying, actor: Asking) -> Trial:
        """What a rule would do with the hosts that are there; nothing is touched."""
        async with gateway.transaction() as session:
            return await acts_on_rules.try_draft(
                session, actor, wish.draft, replaces=wish.replaces, most=wish.most
            )

    # Names of rules may have slashes.
    @router.put("/rules/{name:path}")
    async def change_rule(name: str, draft: RuleDraft, actor: Asking) -> RuleRow:
        """Make a rule what is sent, its name too."""
        async with gateway.transaction() as session:
            return await acts_on_rules.change(session, actor, name, draft, at=gateway.clock())

    @router.delete("/rules/{name:path}", status_code=204)
    async def remove_rule(name: str, actor: Asking) -> None:
        """Take a rule away; its hosts stay what they are."""
        async with gateway.transaction() as session:
            await acts_on_rules.remove(session, actor, name, at=gateway.clock())

    @router.get("/hosts/{name}/rules")
    async def explain_rules(name: str, actor: Asking) -> list[RuleVerdict]:
        """Which rule takes a host and which does not, in order, and why."""
        async with gateway.transaction() as session:
            host = await rights.own_host(session, actor, name)
            return await rule_trials.explain(session, host)

    return router
