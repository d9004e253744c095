"""Waves: all at a glance, and one with its batches and hosts; ``new_wave`` has the form."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from gateway.answers import Refusal
from gateway.operators.console.pages import fragment, page, path_of, redirect
from gateway.operators.context import Operators
from gateway.operators.sessions import Signed, SignedForm, SignedIn, form_value
from inventory import acts_on_waves, wave_views
from inventory.models import Role
from inventory.rights import Actor
from inventory.wave_rows import WaveDetail, WaveRow

__all__ = ["A_PAGE", "wave_pages", "wave_pieces"]

A_PAGE = 100
"""Hosts of a wave on a page."""
_WAVES = 50
_SAID = {
    "pause": "is paused; hosts under way go on",
    "go_on": "goes on",
    "cancel": "is cancelled; hosts under way go on",
}


def wave_pages(gateway: Operators) -> APIRouter:
    """``/waves`` and ``/waves/…``; a wave is never called ``new``."""
    router = APIRouter()

    @router.get("/waves")
    async def listed(
        request: Request, who: Signed, before: Annotated[int | None, Query(lt=2**31)] = None
    ) -> Response:
        async with gateway.transaction() as session:
            found = await wave_views.overview(session, who.actor.scope, before=before, limit=_WAVES)
        return page(
            *(gateway, request, "waves.html.j2", who),
            found=found,
            before=before,
            may=who.actor.may(Role.OPERATOR),
        )

    @router.get("/waves/{name}")
    async def one(
        request: Request, name: str, who: Signed, after: Annotated[int, Query(lt=2**31)] = -1
    ) -> Response:
        async with gateway.transaction() as session:
            detail = await wave_views.detail(
                session, who.actor.scope, name, after=after, limit=A_PAGE
            )
        return page(
            *(gateway, request, "wave.html.j2", who),
            detail=detail,
            wave=detail.wave,
            may=_may(who.actor, detail.wave),
            after=after,
        )

    @router.post("/waves/{name}")
    async def change(name: str, who: SignedForm, do: Annotated[str, Form()] = "") -> Response:
        act = {
            "pause": acts_on_waves.pause,
            "go_on": acts_on_waves.go_on,
            "cancel": acts_on_waves.cancel,
        }.get(do)
        if act is None:
            raise Refusal(422, "this form says not what is to be done: load the page again")
        async with gateway.transaction() as session:
            await act(session, who.actor, name, at=gateway.clock())
        return redirect(gateway, f"/waves/{path_of(name)}", said=f"{name} {_SAID[do]}", who=who)

    return router


def wave_pieces(who: SignedIn, detail: WaveDetail) -> list[str]:
    """The pieces of a wave's open page that may have changed."""
    values: dict[str, Any] = {"detail": detail, "wave": detail.wave}
    may = _may(who.actor, detail.wave)
    return [
        fragment("wave_now.html.j2", **values),
        fragment("wave_actions.html.j2", **values, may=may, form=form_value(who.secret)),
        *(fragment("wave_host.html.j2", one=one) for one in detail.hosts),
    ]


def _may(actor: Actor, wave: WaveRow) -> dict[str, bool]:
    """Which buttons there are: what a wave in this state lets somebody with this role do."""
    steers = actor.may(Role.OPERATOR)
    return {what: steers and wave.state in states for what, states in acts_on_waves.MAY_BE.items()}
