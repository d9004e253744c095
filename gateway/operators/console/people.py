"""People as admins see them, and what is everybody's own: password, tokens, sign-ins."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Request
from sqlmodel import select
from starlette.responses import Response

from gateway.answers import Refusal
from gateway.operators.console.forms import NOT_REFUSED, Refused, refusal_of
from gateway.operators.console.pages import page, redirect
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed, SignedForm, SignedIn, keep_cookie
from inventory import acts_on_people, people, rights
from inventory.acts_on_people import Rights
from inventory.errors import InventoryError, NotSignedIn
from inventory.models import HostGroup, Role, Site
from inventory.rights import Actor

__all__ = ["people_pages"]

Chosen = Annotated[list[str] | None, Form()]


def people_pages(gateway: Operators) -> APIRouter:
    """``/people`` for admins, ``/account`` for everybody."""
    router = APIRouter()
    _of_admins(router, gateway)
    _of_oneself(router, gateway)
    return router


def _of_admins(router: APIRouter, gateway: Operators) -> None:
    @router.get("/people")
    async def listed(request: Request, who: Signed) -> Response:
        return await _show_people(gateway, request, who)

    @router.post("/people")
    async def add(
        request: Request,
        who: SignedForm,
        name: Annotated[str, Form()],
        role: Annotated[Role, Form()],
        sites: Chosen = None,
        host_groups: Chosen = None,
    ) -> Response:
        password = people.new_password()
        wanted = Rights(role, sites or (), host_groups or ())
        try:
            async with gateway.transaction() as session:
                await acts_on_people.add(
                    session, who.actor, name, wanted, password=password, at=gateway.clock()
                )
        except InventoryError as error:
            refused = await refusal_of(request, "add", error)
            return await _show_people(gateway, request, who, refused)
        # On a page and not by a redirect: a secret has no business in a cookie.
        return page(
            gateway,
            request,
            "secret.html.j2",
            who,
            title=f"{name} may sign in",
            what=f"Password of {name}",
            secret=password,
            back="/people",
        )

    @router.post("/people/{name}")
    async def change(
        request: Request,
        name: str,
        who: SignedForm,
        role: Annotated[Role, Form()],
        sites: Chosen = None,
        host_groups: Chosen = None,
        disabled: Annotated[bool, Form()] = False,
    ) -> Response:
        wanted = Rights(role, sites or (), host_groups or ())
        try:
            async with gateway.transaction() as session:
                await acts_on_people.change(
                    session, who.actor, name, wanted, disabled=disabled, at=gateway.clock()
                )
        except InventoryError as error:
            refused = await refusal_of(request, f"change {name}", error)
            return await _show_people(gateway, request, who, refused)
        return redirect(gateway, "/people", said=f"{name} was changed", who=who)

    @router.post("/people/{name}/password")
    async def another_password(request: Request, name: str, who: SignedForm) -> Response:
        password = people.new_password()
        async with gateway.transaction() as session:
            rights.require(who.actor, Role.ADMIN, everywhere=True)
            await acts_on_people.set_password(
                session, who.actor, name, password, at=gateway.clock()
            )
        return page(
            gateway,
            request,
            "secret.html.j2",
            who,
            title=f"{name} has another password",
            what=f"Password of {name}",
            secret=password,
            back="/people",
        )


async def _show_people(
    gateway: Operators, request: Request, who: SignedIn, refused: Refused = NOT_REFUSED
) -> Response:
    rights.require(who.actor, Role.ADMIN, everywhere=True)
    async with gateway.transaction() as session:
        found = await people.everybody(session)
        sites = list(await session.exec(select(Site.name).order_by(Site.name)))
        groups = list(await session.exec(select(HostGroup.name).order_by(HostGroup.name)))
    # Of somebody who has gone there is no form any more to say it beside.
    forms = {"add", *(f"change {one.name}" for one in found)}
    return page(
        *(gateway, request, "people.html.j2", who),
        people=found,
        sites=sites,
        groups=groups,
        roles=list(Role),
        forms=forms,
        refused=refused,
    )


async def _show_account(
    gateway: Operators, request: Request, who: SignedIn, refused: Refused = NOT_REFUSED
) -> Response:
    async with gateway.transaction() as session:
        tokens = await people.tokens_of(session, _id(who.actor))
    allowed = [one for one in Role if who.actor.may(one)]
    return page(
        *(gateway, request, "account.html.j2", who),
        tokens=tokens,
        roles=allowed,
        refused=refused,
    )


def _of_oneself(router: APIRouter, gateway: Operators) -> None:
    @router.get("/account")
    async def account(request: Request, who: Signed) -> Response:
        return await _show_account(gateway, request, who)

    @router.post("/account/password")
    async def own_password(
        request: Request,
        who: SignedForm,
        old: Annotated[str, Form(max_length=1024)],
        new: Annotated[str, Form(max_length=1024)],
    ) -> Response:
        at = gateway.clock()
        try:
            person = await people.by_password(gateway.sessions, who.actor.name, old)
            async with gateway.transaction() as session:
                await acts_on_people.set_password(session, who.actor, person.name, new, at=at)
                secret = await people.sign_in(session, person, at)
        except NotSignedIn:
            wrong = Refusal(403, "the present password is not right")
            refused = await refusal_of(request, "password", wrong)
            return await _show_account(gateway, request, who, refused)
        except InventoryError as error:
            refused = await refusal_of(request, "password", error)
            return await _show_account(gateway, request, who, refused)
        # Every browser was signed out: this one gets in again.
        answer = redirect(gateway, "/account")
        keep_cookie(gateway, answer, secret)
        return answer

    @router.post("/account/tokens")
    async def add_token(
        request: Request,
        who: SignedForm,
        name: Annotated[str, Form()],
        role: Annotated[Role, Form()],
        days: Annotated[int, Form(ge=1, le=3650)] = 90,
    ) -> Response:
        try:
            async with gateway.transaction() as session:
                token = await acts_on_people.add_token(
                    session,
                    who.actor,
                    who.actor.name,
                    name,
                    role,
                    lasts=timedelta(days=days),
                    at=gateway.clock(),
                )
        except InventoryError as error:
            refused = await refusal_of(request, "token", error)
            return await _show_account(gateway, request, who, refused)
        return page(
            gateway,
            request,
            "secret.html.j2",
            who,
            title=f"A token for {name}",
            what="Token",
            secret=token,
            back="/account",
        )

    @router.post("/account/tokens/remove")
    async def remove_token(who: SignedForm, name: Annotated[str, Form()]) -> Response:
        async with gateway.transaction() as session:
            await acts_on_people.remove_token(
                session, who.actor, who.actor.name, name, at=gateway.clock()
            )
        return redirect(gateway, "/account", said=f"{name} opens nothing any more", who=who)


def _id(actor: Actor) -> int:
    if actor.person_id is None:
        raise Refusal(403, "only people have tokens")
    return actor.person_id
