"""Discovery rules: in the order in which they are weighed, tried before they are kept."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from gateway.operators.console.host import groups_of
from gateway.operators.console.pages import page, redirect
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed, SignedForm, SignedIn
from inventory import acts_on_rules, rights, rule_book
from inventory.database import AsyncSession
from inventory.errors import BadRule
from inventory.models import ManagedBy, ProvisionWhen, Role
from inventory.rule_draft import RuleDraft, read_draft
from inventory.rule_trials import Trial, try_rule

__all__ = ["rule_pages"]

Text = Annotated[str, Form(max_length=2000)]
_EMPTY: dict[str, Any] = {
    "name": "",
    "priority": 100,
    "condition": "",
    "host_group": "",
    "host_name": "",
    "host_limit": 0,
    "enabled": True,
    "provision": ProvisionWhen.AT_ONCE.value,
    "windows": "",
    "time_zone": "UTC",
}


def rule_pages(gateway: Operators) -> APIRouter:
    """``/rules``."""
    router = APIRouter()

    @router.get("/rules")
    async def listed(request: Request, who: Signed) -> Response:
        async with gateway.transaction() as session:
            found = await rule_book.list_rules(session)
        may = who.actor.may(Role.OPERATOR)
        return page(gateway, request, "rules.html.j2", who, rules=found, may=may)

    async def form(
        request: Request,
        who: SignedIn,
        values: dict[str, Any],
        *,
        name: str,
        wrong: str = "",
        trial: Trial | None = None,
        status: int = 200,
    ) -> Response:
        async with gateway.transaction() as session:
            groups = await groups_of(session, who.actor)
            ours = True
            if name:
                row = await rule_book.rule_named(session, name)
                ours = row.managed_by is ManagedBy.OPERATOR
        return page(
            gateway,
            request,
            "rule.html.j2",
            who,
            status=status,
            rule=values,
            name=name,
            groups=groups,
            ways=list(ProvisionWhen),
            wrong=wrong,
            trial=trial,
            may=ours and who.actor.may(Role.OPERATOR),
            ours=ours,
        )

    @router.get("/rules/rule")
    async def one(request: Request, who: Signed, name: str = "") -> Response:
        values = dict(_EMPTY)
        if name:
            async with gateway.transaction() as session:
                draft = (await rule_book.rule_named(session, name)).draft
            values = draft.model_dump(mode="json") | {"windows": "\n".join(draft.windows)}
        return await form(request, who, values, name=name)

    @router.post("/rules/rule")
    async def keep(
        request: Request,
        who: SignedForm,
        do: Annotated[str, Form()],
        was: Text = "",
        name: Text = "",
        priority: Text = "100",
        condition: Text = "",
        host_group: Text = "",
        host_name: Text = "",
        host_limit: Text = "0",
        provision: Text = ProvisionWhen.AT_ONCE.value,
        windows: Text = "",
        time_zone: Text = "UTC",
        enabled: Annotated[bool, Form()] = False,
    ) -> Response:
        rights.require(who.actor, Role.OPERATOR)
        at = gateway.clock()
        if do == "remove":
            async with gateway.transaction() as session:
                had = await acts_on_rules.remove(session, who.actor, was, at=at)
            said = f"the rule {was} is gone; {had} hosts that it had stay what they are"
            return redirect(gateway, "/rules", said=said, who=who)
        typed = {
            "name": name.strip(),
            "priority": priority,
            "condition": condition.strip(),
            "host_group": host_group,
            "host_name": host_name.strip(),
            "host_limit": host_limit,
            "enabled": enabled,
            "provision": provision,
            "windows": windows,
            "time_zone": time_zone.strip(),
        }
        try:
            draft = read_draft({**typed, "windows": _lines(windows)})
            if do == "try":
                async with gateway.transaction() as session:
                    trial = await try_rule(session, draft, replaces=was or None)
                return await form(request, who, typed, name=was, trial=_seen(trial, who))
            async with gateway.transaction() as session:
                await _keep(session, who, was, draft, at)
        except BadRule as error:
            return await form(request, who, typed, name=was, wrong=str(error), status=422)
        return redirect(gateway, "/rules", said=f"the rule {draft.name} is kept", who=who)

    return router


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


async def _keep(
    session: AsyncSession, who: SignedIn, was: str, draft: RuleDraft, at: datetime
) -> None:
    if was:
        await acts_on_rules.change(session, who.actor, was, draft, at=at)
    else:
        await acts_on_rules.add(session, who.actor, draft, at=at)


def _seen(trial: Trial, who: SignedIn) -> Trial:
    """A trial names hosts of all sites: whoever is limited sees how many only."""
    if who.actor.scope.everything:
        return trial
    return Trial([], trial.more + len(trial.hosts))
