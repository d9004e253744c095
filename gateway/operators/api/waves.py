"""Waves over the API: started, looked at, and held up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from gateway.operators.context import Operators
from gateway.operators.once import IdempotencyKey, once
from gateway.operators.sessions import Asking
from inventory import acts_on_waves, wave_views
from inventory.database import AsyncSession
from inventory.models import Wave
from inventory.rights import Actor
from inventory.wave_draft import MOST_HOSTS, Draft
from inventory.wave_rows import WaveDetail, WavePage, WaveRow

__all__ = ["wave_routes"]

_A_PAGE = 100
_Name = Annotated[str, Field(max_length=253)]
_Limit = Annotated[int, Field(ge=0, lt=2**31)]
_After = Annotated[
    int, Query(ge=-1, lt=2**31, description="Position after which the page of hosts begins.")
]


class NewWave(BaseModel):
    """Many hosts that are to become a host group, and how carefully."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=63, description="Lower-case letters, digits and -.")]
    host_group: Annotated[str, Field(min_length=1, description="Name of the host group.")]
    hosts: Annotated[
        list[_Name],
        Field(min_length=1, max_length=MOST_HOSTS, description="In the order of their turn."),
    ]
    canary: Annotated[int, Field(ge=1, lt=2**31, description="Hosts of the first batch.")] = 1
    growth: Annotated[
        float, Field(ge=1, description="How many times as large as the one before a batch is.")
    ] = 2.0
    largest: Annotated[_Limit, Field(description="Hosts of a batch at most; 0: no limit.")] = 0
    failure_share: Annotated[
        float, Field(ge=0, le=1, description="Stop when more than this share has failed.")
    ] = 0.1
    per_subnet: Annotated[
        _Limit, Field(description="Hosts under way at a time in the subnet; 0: no limit.")
    ] = 0
    per_boot_server: Annotated[_Limit, Field(description="Likewise at the boot server.")] = 0
    per_pulp: Annotated[_Limit, Field(description="Likewise at the Pulp.")] = 0
    rebuild: Annotated[
        bool,
        Field(
            description="Hosts that have a system may be in it: they are installed anew, and what "
            "is on their disks is lost."
        ),
    ] = False

    def draft(self) -> Draft:
        """As the inventory takes it."""
        values = self.model_dump()
        return Draft(**{**values, "hosts": tuple(self.hosts)})


def wave_routes(gateway: Operators) -> APIRouter:
    """``/waves``."""
    router = APIRouter(tags=["waves"])

    async def steer(
        act: Callable[..., Awaitable[Wave]],
        name: str,
        request: Request,
        actor: Actor,
        key: str | None,
    ) -> Response:
        async def work(session: AsyncSession) -> WaveRow:
            await act(session, actor, name, at=gateway.clock())
            return await _row(session, actor, name)

        return await once(gateway, request, actor, key, work)

    @router.get("/waves")
    async def list_waves(
        actor: Asking,
        before: Annotated[
            int | None, Query(lt=2**31, description="Id of the wave before which the page begins.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = _A_PAGE,
    ) -> WavePage:
        """Waves, the newest first."""
        async with gateway.transaction() as session:
            return await wave_views.overview(session, actor.scope, before=before, limit=limit)

    @router.post("/waves", status_code=201, response_model=WaveRow)
    async def start_wave(
        wish: NewWave, request: Request, actor: Asking, key: IdempotencyKey = None
    ) -> Response:
        """Start a wave; its canary is ordered at once. If one host cannot be in it, none is."""

        async def work(session: AsyncSession) -> WaveRow:
            await acts_on_waves.start(session, actor, wish.draft(), at=gateway.clock())
            return await _row(session, actor, wish.name)

        return await once(gateway, request, actor, key, work, 201)

    @router.get("/waves/{name}")
    async def get_wave(
        name: str,
        actor: Asking,
        after: _After = -1,
        limit: Annotated[int, Query(ge=1, le=1000)] = _A_PAGE,
    ) -> WaveDetail:
        """One wave with its batches, and a page of its hosts in the order of their turn."""
        async with gateway.transaction() as session:
            return await wave_views.detail(session, actor.scope, name, after=after, limit=limit)

    @router.post("/waves/{name}/pause", response_model=WaveRow)
    async def pause_wave(
        name: str, request: Request, actor: Asking, key: IdempotencyKey = None
    ) -> Response:
        """Order no more hosts for now; those under way go on."""
        return await steer(acts_on_waves.pause, name, request, actor, key)

    @router.post("/waves/{name}/go-on", response_model=WaveRow)
    async def go_on_with_wave(
        name: str, request: Request, actor: Asking, key: IdempotencyKey = None
    ) -> Response:
        """Let a paused or stopped wave go on; after a stop the failures so far count no more."""
        return await steer(acts_on_waves.go_on, name, request, actor, key)

    @router.post("/waves/{name}/cancel", response_model=WaveRow)
    async def cancel_wave(
        name: str, request: Request, actor: Asking, key: IdempotencyKey = None
    ) -> Response:
        """Let the hosts go that are not ordered yet; those under way go on."""
        return await steer(acts_on_waves.cancel, name, request, actor, key)

    return router


async def _row(session: AsyncSession, actor: Actor, name: str) -> WaveRow:
    return (await wave_views.detail(session, actor.scope, name, limit=1)).wave
