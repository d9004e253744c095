"""Turns what is due into flow runs, and gives the runs of dead workers to the living.

It works from what is stored: a claim is written first, then the run is created with the claim's
key. A crash between the two loses nothing, and a duplicate starts nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelled, Scheduled
from sqlmodel import col, select

from deployments.lease import Lease
from deployments.plans import start_plans
from inventory import builds, claims, wave_advance
from inventory.arrows import Phase
from inventory.database import CHANNEL_CALLBACKS, DATABASE_ERRORS, AsyncSession, Sessions, notify
from inventory.due import Due, due, settle_callbacks
from inventory.life import ForbiddenTransition
from inventory.listening import Listener
from inventory.models import Build, Claim, Host, HostGroup, now
from tasks.naming import run_name, run_tags

__all__ = ["Dispatcher"]

_log = logging.getLogger(__name__)

MOST_TOGETHER = 50
"""Hosts that travel in one run."""
MOST_AT_ONCE = 500
"""Builds of a phase that one round looks at; the rest waits for the next."""
LEASE = timedelta(seconds=10)
"""A worker that has not renewed its lease for so long is dead."""
RENEW_SECONDS = 3.0
ROUND_SECONDS = 2.0
"""Between two rounds when nothing is heard; what is notified is seen to at once."""
FORGOTTEN = timedelta(seconds=8)
"""A claim that nobody has taken up for so long is looked into."""
LOOK = timedelta(seconds=4)
"""Between two such looks. With FORGOTTEN and a round, what a dead worker left goes on in 15 s."""
_MOST_RUNS = 200
"""That Prefect tells of in one answer."""


@dataclass
class Dispatcher:
    """Beside each worker, in its process. Any number of them may work on one inventory.

    Args:
        sessions: the inventory.
        client: Prefect's API.
        deployments: where runs of each phase are created.
        worker: name of the lease of this process' worker.
        created: called after runs were created, so that the worker beside looks at once.
        clock: the present.
        running: the flow runs in this process; claims that none of them has are taken up again.
        lease: told of each renewal.
        plans: the deployment that makes the plans which people ask for; None: nobody may ask.
    """

    sessions: Sessions
    client: PrefectClient
    deployments: Mapping[Phase, UUID]
    worker: str
    created: Callable[[], Awaitable[None]]
    clock: Callable[[], datetime] = now
    running: Callable[[], frozenset[UUID]] | None = None
    lease: Lease = field(default_factory=lambda: Lease(LEASE.total_seconds()))
    plans: UUID | None = None
    _forgotten_at: datetime | None = field(default=None, init=False)

    async def keep_lease(self) -> None:
        """Renew the lease for as long as this runs."""
        while True:
            asked_at = self.lease.now()
            try:
                async with self.sessions.begin() as session:
                    await claims.renew(session, self.worker, LEASE)
                self.lease.renewed(asked_at)
            except DATABASE_ERRORS as error:
                _log.warning("the lease of %s is not renewed: %s", self.worker, error)
            await asyncio.sleep(RENEW_SECONDS)

    async def run(self, listener: Listener) -> None:
        """Work rounds until cancelled; a round that fails is tried again at the next."""
        while True:
            try:
                await self.round()
            except (*DATABASE_ERRORS, httpx.HTTPError, PrefectHTTPStatusError) as error:
                _log.warning("this round of the dispatcher failed and is repeated: %r", error)
            await listener.wait(ROUND_SECONDS)

    async def round(self) -> None:
        """Take waves on, claim what is due, create the runs, and see to the claims of the dead."""
        await self._advance_waves()
        async with self.sessions.begin() as session:
            claimed = await self._claim(session, await due(session, MOST_AT_ONCE))
            await settle_callbacks(session, claimed, self.clock())
            buried = await claims.bury(session, self.clock())
            if self.running is not None:
                buried += await claims.abandoned(session, self.worker, self.running(), self.clock())
        companies = {one.company for one in buried}
        for company in companies:
            _log.warning("company %s was left by a dead worker or run; it goes on here", company)
        await self._start()
        if self.plans is not None and await start_plans(self.sessions, self.client, self.plans):
            await self.created()
        await self._revive(one for one in buried if one.flow_run_id is not None)
        await self._look_after_forgotten()

    async def _advance_waves(self) -> None:
        """Order the next hosts of waves; what fails there keeps no host from its run."""
        try:
            async with self.sessions.begin() as session:
                await wave_advance.advance(session, self.clock())
        except Exception:
            _log.exception("waves are not taken on in this round; it is tried again at the next")

    async def _claim(self, session: AsyncSession, found: Iterable[Due]) -> dict[Phase, set[UUID]]:
        together: dict[tuple[Phase, int | None], list[UUID]] = defaultdict(list)
        for one in found:
            together[one.phase, one.subnet].append(one.build)
        claimed: dict[Phase, set[UUID]] = defaultdict(set)
        for (phase, _), waiting in together.items():
            for first in range(0, len(waiting), MOST_TOGETHER):
                group = waiting[first : first + MOST_TOGETHER]
                claimed[phase] |= await claims.claim(
                    session, phase, group, company=uuid4(), at=self.clock()
                )
        return claimed

    async def _start(self) -> None:
        """Create a run for each company that has none; a refused one keeps no other waiting."""
        async with self.sessions() as session:
            rows = await session.exec(
                select(Claim.company, Claim.phase, Host.name, HostGroup.name)
                .join(Build, col(Build.id) == col(Claim.build_id))
                .join(Host, col(Host.id) == col(Build.host_id))
                .outerjoin(HostGroup, col(HostGroup.id) == col(Build.host_group_id))
                .where(col(Claim.ended_at).is_(None), col(Claim.flow_run_id).is_(None))
                .order_by(col(Claim.id))
            )
            companies: dict[UUID, tuple[Phase, list[str]]] = {}
            groups: dict[UUID, set[str]] = defaultdict(set)
            for company, phase, name, group in rows:
                companies.setdefault(company, (Phase(phase), []))[1].append(name)
                groups[company] |= {group} if group else set()
        created, missing = False, set[Phase]()
        for company, (phase, names) in companies.items():
            if phase in missing:
                continue
            try:
                await self._create_run(company, phase, names, groups[company])
                created = True
            except PrefectHTTPStatusError as error:
                if not error.response.is_client_error:
                    raise
                if error.response.status_code == httpx.codes.NOT_FOUND:
                    missing.add(phase)
                _log.warning("hosts wait for their run of %s: %s", phase, _refusal(error))
        if created:
            await self.created()

    async def _create_run(
        self, company: UUID, phase: Phase, names: list[str], groups: set[str]
    ) -> None:
        run = await self.client.create_flow_run_from_deployment(
            self.deployments[phase],
            name=run_name(phase, names),
            parameters={"hosts": names, "company": str(company)},
            tags=run_tags(names, groups),
            idempotency_key=str(company),
        )
        async with self.sessions.begin() as session:
            await claims.set_flow_run(session, company, run.id)

    async def _revive(self, left: Iterable[Claim]) -> None:
        runs = {one.flow_run_id for one in left if one.flow_run_id is not None}
        for run in runs:
            try:
                state = (await self.client.read_flow_run(run)).state
                if state is not None and state.is_paused():
                    continue  # a person has suspended it: whoever resumes it lets it go on
                if state is not None and _is_unwanted(state):
                    await self._hold_cancelled(run, state)
                    continue
                await self.client.set_flow_run_state(
                    run, Scheduled(message="Its worker died; goes on elsewhere."), force=True
                )
            except ObjectNotFound:
                await self._forget_run(run)
        if runs:
            await self.created()

    async def _look_after_forgotten(self) -> None:
        """See to claims whose run was cancelled, lost or deleted before a worker took it up."""
        at = self.clock()
        if self._forgotten_at is not None and timedelta() <= at - self._forgotten_at < LOOK:
            return  # unless the clock was set back
        self._forgotten_at = at
        async with self.sessions() as session:
            waiting = await claims.unstarted(session, FORGOTTEN, at)
        wanted = sorted({one.flow_run_id for one in waiting if one.flow_run_id is not None})
        for first in range(0, len(wanted), _MOST_RUNS):
            await self._look_into(wanted[first : first + _MOST_RUNS], waiting, at)

    async def _look_into(self, wanted: list[UUID], waiting: Iterable[Claim], at: datetime) -> None:
        mine = FlowRunFilter(id=FlowRunFilterId(any_=wanted))
        found = {one.id: one for one in await self.client.read_flow_runs(flow_run_filter=mine)}
        for run_id in wanted:
            run = found.get(run_id)
            if run is None:
                await self._forget_run(run_id)
            elif run.state is None or _is_left(run.state, at):
                await self._revive(one for one in waiting if one.flow_run_id == run_id)

    async def _hold_cancelled(self, run_id: UUID, state: State[Any]) -> None:
        """A run that a person cancelled before it began, or whose worker died before it could stop.

        Prefect is told first: if it is away the claims are still there to be looked into again.
        """
        if state.is_cancelling():
            await self.client.set_flow_run_state(
                run_id,
                Cancelled(message="Cancelled by a person when its worker had died."),
                force=True,
            )
        async with self.sessions.begin() as session:
            for one in await _claims_of(session, run_id):
                try:
                    await builds.hold(
                        session,
                        await session.get_one(Build, one.build_id),
                        step=None,
                        reason=f"its {one.phase} run was cancelled in Prefect",
                        advice="Retry when the cause is gone.",
                        at=self.clock(),
                    )
                except ForbiddenTransition as error:
                    _log.warning("not held: %s", error)
                await claims.end(session, [one.build_id], one.company, self.clock())

    async def _forget_run(self, run_id: UUID) -> None:
        """A run that was deleted: its hosts are claimed anew, and get another run.

        Not left to what is due: the callback that was the cause is settled.
        """
        company = uuid4()
        async with self.sessions.begin() as session:
            for one in await _claims_of(session, run_id):
                await claims.end(session, [one.build_id], one.company, self.clock())
                await claims.claim(
                    session, one.phase, [one.build_id], company=company, at=self.clock()
                )
            # Its run is made in the next round.
            await notify(session, CHANNEL_CALLBACKS)


def _is_left(state: State[Any], at: datetime) -> bool:
    """Whether a run whose claim no worker has is in nobody's hands.

    One that waits for its turn is scheduled; a worker that takes it makes it pending, then running,
    and then takes up its claims at once; one that is to cancel it does so at its next look. If it
    stays so, that worker has died in between.
    """
    passing = state.is_pending() or state.is_running() or state.is_cancelling()
    return state.is_final() or (passing and at - state.timestamp > FORGOTTEN)


def _refusal(error: PrefectHTTPStatusError) -> str:
    """Why Prefect makes no run of a deployment, and what a person can do about it."""
    if error.response.status_code == httpx.codes.NOT_FOUND:
        return (
            "its deployment was deleted in Prefect; "
            "restart the workers, which register their deployments again"
        )
    return f"Prefect refuses it: {error}"


def _is_unwanted(state: State[Any]) -> bool:
    """Whether a person has cancelled the run: it must not go on anywhere."""
    return state.is_cancelled() or state.is_cancelling()


async def _claims_of(session: AsyncSession, run_id: UUID) -> list[Claim]:
    """Those that no worker has: one that lives and has them sees to its run itself."""
    found = await session.exec(
        select(Claim).where(
            col(Claim.flow_run_id) == run_id,
            col(Claim.ended_at).is_(None),
            col(Claim.worker).is_(None),
        )
    )
    return list(found)
