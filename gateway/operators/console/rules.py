"""Discovery rules: seen at a glance, written in a form, and tried before they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.datastructures import FormData
from starlette.responses import Response

from gateway.answers import Refusal
from gateway.operators.console.pages import page, path_of, redirect
from gateway.operators.context import Operators
from gateway.operators.refusals import status_of
from gateway.operators.sessions import Signed, SignedForm, SignedIn
from inventory import acts_on_rules, rights, rule_book
from inventory.errors import BadRule, InventoryError
from inventory.machines import NAMES
from inventory.models import ManagedBy, ProvisionWhen, Role
from inventory.rights import Actor
from inventory.rule_book import RuleRow
from inventory.rule_draft import RuleDraft, read_draft
from inventory.rule_trials import Trial

__all__ = ["rule_pages"]

_TRIED = 200
"""Hosts that a rule is tried with: what a person looks through, and others need not wait for."""
_FIELDS = (
    *("name", "priority", "condition", "host_group", "host_name", "host_limit"),
    *("enabled", "provision", "windows", "time_zone"),
)
_EMPTY = {
    **dict.fromkeys(_FIELDS, ""),
    "priority": "100",
    "host_limit": "0",
    "enabled": "true",
    "provision": "at_once",
    "time_zone": "UTC",
}
Typed = Mapping[str, str]
"""What stands in the form, field by field."""


def rule_pages(gateway: Operators) -> APIRouter:
    """``/rules``; names of rules may have slashes."""
    router = APIRouter()

    @router.get("/rules")
    async def listed(request: Request, who: Signed) -> Response:
        async with gateway.transaction() as session:
            rows = await rule_book.list_rules(session)
        changeable = {one.draft.name for one in rows if _changeable(who.actor, one)}
        return page(
            *(gateway, request, "rules.html.j2", who),
            rows=rows,
            changeable=changeable,
            may=_may_add(who.actor),
        )

    @router.get("/rules/new")
    async def new(request: Request, who: Signed) -> Response:
        rights.require(who.actor, Role.OPERATOR)
        return await _form(gateway, request, who, None, _EMPTY)

    @router.post("/rules/new")
    async def add(request: Request, who: SignedForm) -> Response:
        return await _done(gateway, request, who, None)

    @router.get("/rules/{name:path}")
    async def one(request: Request, name: str, who: Signed) -> Response:
        async with gateway.transaction() as session:
            row = await rule_book.rule_named(session, name)
        return await _form(gateway, request, who, row, _typed(row.draft))

    @router.post("/rules/{name:path}")
    async def change(request: Request, name: str, who: SignedForm) -> Response:
        async with gateway.transaction() as session:
            row = await rule_book.rule_named(session, name)
        return await _done(gateway, request, who, row)

    return router


async def _done(
    gateway: Operators, request: Request, who: SignedIn, was: RuleRow | None
) -> Response:
    """What the pressed button wants; what was typed stays where it is refused."""
    sent = await request.form()
    match sent.get("do"):
        case "enable" | "disable" as do if was is not None:
            return await _switch(gateway, who, was.draft.name, do)
        case "remove" if was is not None:
            async with gateway.transaction() as session:
                freed = await acts_on_rules.remove(
                    session, who.actor, was.draft.name, at=gateway.clock()
                )
            said = f"{was.draft.name} is removed; {freed} hosts had a place in it, and stay"
            return redirect(gateway, "/rules", said=said, who=who)
        case "try" | "save" as do:
            pass
        case _:
            raise Refusal(422, "this form says not what is to be done: load the page again")
    typed = _sent(sent)
    try:
        draft = read_draft(_values(typed))
        async with gateway.transaction() as session:
            if do == "try":
                replaces = was.draft.name if was else None
                trial = await acts_on_rules.try_draft(
                    session, who.actor, draft, replaces=replaces, most=_TRIED
                )
            elif was is None:
                await acts_on_rules.add(session, who.actor, draft, at=gateway.clock())
            else:
                await acts_on_rules.change(
                    session, who.actor, was.draft.name, draft, at=gateway.clock()
                )
    except BadRule as error:
        listed = [f"{what.replace('_', ' ')}: {why}" for what, why in error.problems]
        return await _form(gateway, request, who, was, typed, problems=listed, status=422)
    except InventoryError as error:
        status = status_of(error)
        return await _form(gateway, request, who, was, typed, problems=[str(error)], status=status)
    if do == "try":
        return await _form(gateway, request, who, was, typed, trial=trial)
    return redirect(gateway, "/rules", said=f"{draft.name} is kept", who=who)


async def _switch(
    gateway: Operators, who: SignedIn, name: str, do: Literal["enable", "disable"]
) -> Response:
    enabled = do == "enable"
    async with gateway.transaction() as session:
        # Locked first, so that a change at this moment is not undone.
        await rule_book.own_rule(session, name)
        row = await rule_book.rule_named(session, name)
        draft = row.draft.model_copy(update={"enabled": enabled})
        await acts_on_rules.change(session, who.actor, name, draft, at=gateway.clock())
    said = f"{name} is {'in use' if enabled else 'out of use'} now"
    return redirect(gateway, "/rules", said=said, who=who)


def _sent(form: FormData) -> Typed:
    said = {name: form.get(name, "") for name in _FIELDS}
    return {name: value if isinstance(value, str) else "" for name, value in said.items()}


def _typed(draft: RuleDraft) -> Typed:
    values = draft.model_dump(mode="json")
    return {
        **{name: str(values[name]) for name in _FIELDS},
        "enabled": "true" if draft.enabled else "",
        "windows": "\n".join(draft.windows),
    }


def _values(typed: Typed) -> dict[str, Any]:
    """What was typed as a draft's fields; numbers that are none stay as they are, to be refused."""
    lines = [one.strip() for one in typed["windows"].splitlines() if one.strip()]
    return {
        **typed,
        # Browsers send lines with CR LF.
        "condition": "\n".join(typed["condition"].splitlines()).strip(),
        "name": typed["name"].strip(),
        "enabled": typed["enabled"] == "true",
        "windows": tuple(lines),
    }


def _may_add(actor: Actor) -> bool:
    return actor.may(Role.OPERATOR) and not actor.scope.sites


def _changeable(actor: Actor, row: RuleRow) -> bool:
    by_hand = row.managed_by is ManagedBy.OPERATOR
    return by_hand and acts_on_rules.may_touch(actor, row.draft.host_group)


async def _form(
    gateway: Operators,
    request: Request,
    who: SignedIn,
    was: RuleRow | None,
    typed: Typed,
    *,
    trial: Trial | None = None,
    problems: list[str] | None = None,
    status: int = 200,
) -> Response:
    async with gateway.transaction() as session:
        groups = await rights.own_groups(session, who.actor)
    return page(
        *(gateway, request, "rule.html.j2", who),
        status=status,
        was=was,
        action=f"/rules/{path_of(was.draft.name)}" if was else "/rules/new",
        typed=typed,
        # The one that a rule has stays, also for who may not make hosts into it.
        groups=sorted({*groups, typed["host_group"]} - {""}),
        whens=list(ProvisionWhen),
        names=NAMES,
        trial=trial,
        problems=problems or [],
        from_file=was is not None and was.managed_by is ManagedBy.SITE_FILE,
        may_try=who.actor.may(Role.OPERATOR),
        may_save=_changeable(who.actor, was) if was else _may_add(who.actor),
    )
