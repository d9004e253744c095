"""Webhooks for admins: who outside is told, what became of it, and sending it once more."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from sqlmodel import select
from starlette.responses import Response

from gateway.operators.console.forms import NOT_REFUSED, Refused, refusal_of
from gateway.operators.console.pages import page, path_of, redirect
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed, SignedForm, SignedIn
from inventory import acts_on_webhooks, deliveries, webhooks
from inventory.errors import InventoryError
from inventory.events import KINDS
from inventory.models import HostGroup, Site
from inventory.webhooks import Wanted

__all__ = ["webhook_pages"]

Chosen = Annotated[list[str] | None, Form()]
Name = Annotated[str, Form(max_length=1000)]


def webhook_pages(gateway: Operators) -> APIRouter:
    """``/webhooks``; forms hold the name, which may be anything."""
    router = APIRouter()

    @router.get("/webhooks")
    async def listed(request: Request, who: Signed, deliveries_of: str = "") -> Response:
        return await _show(gateway, request, who, deliveries_of)

    @router.post("/webhooks")
    async def add(
        request: Request,
        who: SignedForm,
        name: Name,
        url: Annotated[str, Form(max_length=2000)],
        kinds: Chosen = None,
        sites: Chosen = None,
        host_groups: Chosen = None,
    ) -> Response:
        key = gateway.settings.secret_key
        limits = (tuple(kinds or ()), tuple(sites or ()), tuple(host_groups or ()))
        try:
            async with gateway.transaction() as session:
                made, secret = await acts_on_webhooks.add(
                    session,
                    who.actor,
                    name,
                    Wanted(url.strip(), *limits),
                    key=key.get_secret_value() if key else "",
                    at=gateway.clock(),
                )
                title = f"{made.name} is told from now on"
        except InventoryError as error:
            refused = await refusal_of(request, "add", error)
            return await _show(gateway, request, who, refused=refused)
        # On a page and not by a redirect: a secret has no business in a cookie.
        return page(
            *(gateway, request, "secret.html.j2", who),
            title=title,
            what="What its deliveries are signed with",
            secret=secret,
            back="/webhooks",
        )

    @router.post("/webhooks/enabled")
    async def switch(
        who: SignedForm, name: Name, enabled: Annotated[bool, Form()] = False
    ) -> Response:
        async with gateway.transaction() as session:
            await acts_on_webhooks.set_enabled(
                session, who.actor, name, enabled, at=gateway.clock()
            )
        said = f"{name} is told {'from now on' if enabled else 'nothing for now'}"
        return redirect(gateway, "/webhooks", said=said, who=who)

    @router.post("/webhooks/remove")
    async def remove(who: SignedForm, name: Name) -> Response:
        async with gateway.transaction() as session:
            await acts_on_webhooks.remove(session, who.actor, name, at=gateway.clock())
        return redirect(gateway, "/webhooks", said=f"{name} is told nothing more", who=who)

    @router.post("/webhooks/redeliver")
    async def redeliver(
        who: SignedForm, name: Name, delivery: Annotated[list[int] | None, Form()] = None
    ) -> Response:
        async with gateway.transaction() as session:
            count = await acts_on_webhooks.redeliver(
                session, who.actor, name, delivery, at=gateway.clock()
            )
        one = "delivery is" if count == 1 else "deliveries are"
        said = f"{count} {one} tried once more"
        back = f"/webhooks?deliveries_of={path_of(name)}"
        return redirect(gateway, back, said=said, who=who)

    return router


async def _show(
    gateway: Operators,
    request: Request,
    who: SignedIn,
    deliveries_of: str = "",
    refused: Refused = NOT_REFUSED,
) -> Response:
    acts_on_webhooks.require_admin(who.actor)
    async with gateway.transaction() as session:
        found = await webhooks.list_all(session)
        sent = await deliveries.of_webhook(session, deliveries_of) if deliveries_of else []
        sites = list(await session.exec(select(Site.name).order_by(Site.name)))
        groups = list(await session.exec(select(HostGroup.name).order_by(HostGroup.name)))
    return page(
        *(gateway, request, "webhooks.html.j2", who),
        webhooks=found,
        deliveries_of=deliveries_of,
        sent=sent,
        kinds=KINDS,
        sites=sites,
        groups=groups,
        has_key=gateway.settings.secret_key is not None,
        refused=refused,
    )
