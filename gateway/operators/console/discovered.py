"""Discovered hosts: what they are made of, which rule takes them and why, and what they become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from sqlmodel import col, select
from starlette.responses import Response

from gateway.answers import Refusal
from gateway.operators.console.forms import NOT_REFUSED, Refused, refusal_of
from gateway.operators.console.pages import FORM, fragment, page, redirect
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed, SignedForm, SignedIn
from inventory import acts, fleet, machines, rights, rule_trials
from inventory.acts import Provisioned
from inventory.allowed import Act, may_ask
from inventory.database import AsyncSession
from inventory.errors import InventoryError
from inventory.fleet import FleetRow, Wanted
from inventory.life import HostState
from inventory.machines import Machine, named_values
from inventory.models import Host
from inventory.rights import Actor
from inventory.rule_trials import RuleVerdict, size_words

__all__ = ["discovered_pages", "discovered_piece"]

_A_PAGE = 50
_NAMED = 10


@dataclass(frozen=True)
class _Found:
    """A discovered host as its card shows it."""

    row: FleetRow
    known: Mapping[str, Any]
    """By the names that rules use."""
    chosen: RuleVerdict | None
    verdicts: list[RuleVerdict]


def discovered_pages(gateway: Operators) -> APIRouter:
    """``/discovered``."""
    router = APIRouter()

    @router.get("/discovered")
    async def listed(
        request: Request,
        who: Signed,
        text: Annotated[str, Query(max_length=253)] = "",
        after: str = "",
    ) -> Response:
        return await _show(gateway, request, who, text, after)

    @router.post("/discovered/provision")
    async def provision(
        request: Request,
        who: SignedForm,
        host_group: Annotated[str, Form()] = "",
        host: Annotated[list[str] | None, Form(max_length=_A_PAGE)] = None,
        name: Annotated[str, Form(max_length=253)] = "",
        text: Annotated[str, Form(max_length=253)] = "",
        after: Annotated[str, Form()] = "",
    ) -> Response:
        names = list(dict.fromkeys(host or []))
        try:
            told = await _provision(gateway, who, names, host_group, name.strip())
        except (InventoryError, Refusal) as error:
            refused = await refusal_of(request, "provision", error)
            return await _show(gateway, request, who, text, after, refused)
        return redirect(gateway, "/discovered", said=_told(told, host_group), who=who)

    return router


async def _provision(
    gateway: Operators, who: SignedIn, names: list[str], group: str, called: str
) -> Provisioned:
    if called and len(names) != 1:
        raise Refusal(
            422,
            f"the name {called} is for one host, and {len(names)} were chosen: choose one, or "
            "leave the name empty",
        )
    at = gateway.clock()
    async with gateway.transaction() as session:
        if not called:
            return await acts.provision_all(session, who.actor, names, group, at=at)
        await acts.provision(session, who.actor, names[0], group, as_name=called, at=at)
        return Provisioned(names, {})


async def _show(
    gateway: Operators,
    request: Request,
    who: SignedIn,
    text: str,
    after: str,
    refused: Refused = NOT_REFUSED,
) -> Response:
    shown = await _shown(gateway, who.actor, text, after)
    return page(gateway, request, "discovered.html.j2", who, refused=refused, **shown)


async def discovered_piece(gateway: Operators, actor: Actor, text: str, after: str) -> str:
    """A page of hosts as open pages get it, with ``FORM`` in its form."""
    shown = await _shown(gateway, actor, text, after)
    return fragment("discovered_hosts.html.j2", form=FORM, **shown)


async def _shown(gateway: Operators, actor: Actor, text: str, after: str) -> dict[str, Any]:
    wanted = Wanted(text, frozenset({HostState.DISCOVERED}))
    async with gateway.transaction() as session:
        found = await fleet.page(session, actor.scope, wanted, after=after, limit=_A_PAGE)
        return {
            "hosts": await _judged(session, list(found.rows)),
            "groups": await rights.own_groups(session, actor),
            "may": may_ask(actor, Act.PROVISION),
            "text": text,
            "after": after,
            "more": urlencode({"text": text, "after": found.next}) if found.next else "",
            "live": urlencode({"text": text, "after": after}),
            "size": size_words,
        }


async def _judged(session: AsyncSession, rows: list[FleetRow]) -> list[_Found]:
    ids = [one.id for one in rows]
    known = await machines.machines_of(session, ids)
    found = await session.exec(select(Host).where(col(Host.id).in_(ids)))
    verdicts = await rule_trials.explain_all(session, list(found))
    return [
        _Found(
            one,
            named_values(known.get(one.id, Machine())),
            next((each for each in verdicts.get(one.id, []) if each.chosen), None),
            verdicts.get(one.id, []),
        )
        for one in rows
    ]


def _told(result: Provisioned, group: str) -> str:
    lines = []
    if result.selected:
        names = sorted(result.selected)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        verb = "becomes" if len(names) == 1 else "become"
        lines.append(f"{', '.join(names[:_NAMED])}{more} {verb} {group}")
    if result.refused:
        lines.append(f"{len(result.refused)} refused:")
        lines += list(result.refused.values())[:_NAMED]
    return "\n".join(lines) or "no host was chosen"
