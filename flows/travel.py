"""Who travels in a flow run: takes up the claims at its start, settles every host at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from prefect import get_client, get_run_logger, runtime
from sqlmodel import col, select

from flows.showing import Settled, show_outcomes, show_page
from inventory import acts, builds, claims, hosts, orders, retries
from inventory.allowed import MAY_BE_PROVISIONED
from inventory.arrows import Phase
from inventory.database import CHANNEL_CALLBACKS, AsyncSession, is_passing, notify
from inventory.errors import InventoryError, NotReady
from inventory.life import ForbiddenTransition, HostState
from inventory.models import Build, Door, Host, HostGroup, OnFailure, Role
from inventory.needs import needs_of
from inventory.rights import Actor
from tasks import departures
from tasks.company import Company, NothingDone, Problem, Traveller, advice
from tasks.means import means
from tasks.naming import run_name, run_tags

__all__ = ["IN_PREFECT", "Wish", "travelling"]

IN_PREFECT = "a run started in Prefect"
"""Who has asked for what a run orders that no dispatcher made."""


@dataclass(frozen=True)
class Wish:
    """What a run that a person started asks for; the dispatcher's runs ask for nothing."""

    host_group: str = ""
    """Name of the group; empty keeps the host's own."""
    name: str = ""
    """Full or short name for a single host; empty keeps what it has."""
    asked_by: str = ""
    """Who asked."""


@asynccontextmanager
async def travelling(
    phase: Phase, hosts_named: Sequence[str], company: UUID | None, wish: Wish | None = None
) -> AsyncIterator[Company]:
    """Take hosts through a phase; each is settled at the end, whatever happens.

    A host that failed in company goes on in a run of its own. When nothing more can be done for
    anybody, each host is held with its own reason, and the run fails; to retry the run in Prefect
    lets them go on at the step that failed. Where only our own database was away nobody is held:
    the claims stay, and the dispatcher sees that no run of this worker has them any more.

    Args:
        phase: which.
        hosts_named: full names, as given to the flow.
        company: of the claims that were made for this run; None: a person started it, and the
            run makes its own.
        wish: what that person asked for.

    Raises:
        InventoryError: a host or group is unknown, or cannot be provisioned now.
    """
    own, left = UUID(runtime.flow_run.id), departures.watch()
    try:
        party = await _gather(phase, hosts_named, company or own, own, wish or Wish())
    except InventoryError:
        if company is None:
            await _name_run(own, run_name(phase, hosts_named), run_tags(hosts_named, ()))
        raise
    try:
        # Within, because the hosts are claimed by now: whatever fails here must let go of them.
        if company is None:
            # Those named where nobody travels: the run has nothing to do, and says for whom.
            named = party.hosts or hosts_named
            tags = run_tags(named, await _groups(party))
            await _name_run(own, run_name(phase, named), tags)
        await show_page(party)
        yield party
    except NothingDone as error:
        if error.passing:
            raise  # the dispatcher beside finds the hosts abandoned, and lets them go on
        faults = {one.build: fault for one, fault in error.failed.items()}
        settled = await _hold(party, faults, error.numbers, error.what, may_undo=True)
        await show_outcomes(party, left, settled)
        raise
    except asyncio.CancelledError:
        if means().leaving.is_set():
            raise
        stopped = Problem("the flow run was cancelled", "Retry when the cause is gone.")
        await asyncio.shield(_hold(party, dict.fromkeys(party.builds, stopped), ()))
        raise
    except Exception as error:
        if is_passing(error):
            raise
        settled = await _hold(party, dict.fromkeys(party.builds, error), (), may_undo=True)
        await show_outcomes(party, left, settled)
        raise
    else:
        await _end(party)
        await show_outcomes(party, left, {})


async def _gather(
    phase: Phase, named: Sequence[str], company: UUID, run: UUID, wish: Wish
) -> Company:
    m = means()
    async with m.sessions.begin() as session:
        taken = await claims.adopt(session, company, m.worker, run)
        if not taken:
            ready = await _ready(session, phase, company, named, wish)
            await claims.claim(session, phase, ready, company=company, at=m.clock())
            taken = await claims.adopt(session, company, m.worker, run)
        names = await session.exec(
            select(Build.id, Host.name)
            .join(Host)
            .where(col(Build.id).in_([one.build_id for one in taken]))
            .order_by(Host.name)
        )
        travellers = tuple(Traveller(build=build, host=name) for build, name in names)
        ids = [one.build for one in travellers]
        needs, again = await needs_of(session, ids), await builds.any_again(session, ids)
    party = Company(id=company, phase=phase, travellers=travellers, needs=needs, again=again)
    logger = get_run_logger()
    if travellers:
        logger.info("on the way: %s", ", ".join(one.host for one in travellers))
    else:
        logger.info("nothing to do: these hosts are through this phase, or travel in another run")
    return party


async def _ready(
    session: AsyncSession, phase: Phase, company: UUID, named: Iterable[str], wish: Wish
) -> list[UUID]:
    """The builds of hosts that a person sends through a phase."""
    m = means()
    ready = []
    again = await claims.travelled(session, company)
    if again:
        # The run is retried: its hosts may have other names by now, and the wish is granted.
        chosen, wish = again, Wish()
    else:
        chosen = [await hosts.named(session, name) for name in named]
    called_off = await claims.called_off(session, company)
    for host in chosen:
        if host.id in called_off:
            continue
        if wish.asked_by:
            await _grant(session, phase, host, wish)
        build = await builds.current_build(session, host.id)
        if build is None:
            continue
        if host.state is HostState.HELD and await retries.phase_to_resume(session, build) is phase:
            # Runs that the dispatcher makes adopt their claims: this one a person has started.
            who = Actor(wish.asked_by or IN_PREFECT, Door.PREFECT, Role.ADMIN)
            await acts.resume(session, who, host, build, at=m.clock())
        if await retries.may_run(session, host, build, phase):
            ready.append(build.id)
    return ready


async def _grant(session: AsyncSession, phase: Phase, host: Host, wish: Wish) -> None:
    """Order what a person who started the run wishes for its hosts."""
    at = means().clock()
    who = Actor(wish.asked_by, Door.PREFECT, Role.ADMIN)
    match phase:
        case Phase.INCEPTION if wish.host_group:
            await orders.group_named(session, wish.host_group)
            if host.state in MAY_BE_PROVISIONED:
                await acts.provision(
                    session, who, host.name, wish.host_group, as_name=wish.name, at=at
                )
        case Phase.CANCEL:
            await acts.cancel(session, who, host.name, at=at)
        case Phase.DECOMMISSION:
            await acts.decommission(session, who, host.name, at=at)


async def _hold(
    party: Company,
    faults: dict[UUID, Exception],
    numbers: tuple[int, ...],
    what: str = "",
    *,
    may_undo: bool = False,
) -> dict[UUID, Settled]:
    """Hold hosts, each with its own reason; or give their builds up, if their group says so."""
    m = means()
    settled: dict[UUID, Settled] = {}
    async with m.sessions.begin() as session:
        # Hosts before claims, and in one order, as whoever cancels or retries them locks them.
        of_builds = select(Build.host_id).where(col(Build.id).in_(faults))
        for host_id in sorted(await session.exec(of_builds)):
            await hosts.lock_host(session, host_id)
        ours = await claims.still_ours(session, faults, party.id, m.worker)
        for build_id in ours:
            build = await session.get_one(Build, build_id)
            try:
                if may_undo and await _undoes(session, party.phase, build):
                    at_step = f" at {numbers[0]}" if numbers else ""
                    host = await session.get_one(Host, build.host_id)
                    why = f"its inception failed{at_step}: {faults[build_id]}"
                    await orders.cancel(session, host, why=why, at=m.clock())
                    settled[build_id] = Settled(
                        "given up, and being undone", what, faults[build_id]
                    )
                    continue
                await builds.hold(
                    session,
                    build,
                    step=numbers[0] if numbers else None,
                    reason=str(faults[build_id]),
                    advice=advice(faults[build_id]),
                    at=m.clock(),
                )
                settled[build_id] = Settled("held", what, faults[build_id])
            except (ForbiddenTransition, NotReady) as error:
                get_run_logger().warning("not held: %s", error)
        # With that, or a worker that dies in between would leave hosts both held and under way.
        await _let_go(session, party)
    return settled


async def _undoes(session: AsyncSession, phase: Phase, build: Build) -> bool:
    if phase is not Phase.INCEPTION or build.host_group_id is None:
        return False
    group = await session.get_one(HostGroup, build.host_group_id)
    return group.on_failure is OnFailure.UNDO


async def _end(party: Company) -> None:
    async with means().sessions.begin() as session:
        await _let_go(session, party)


async def _let_go(session: AsyncSession, party: Company) -> None:
    m = means()
    await claims.let_go(session, party.builds, party.id, m.worker, m.clock())
    # A callback that came meanwhile has waited for this.
    await notify(session, CHANNEL_CALLBACKS)


async def _groups(party: Company) -> set[str]:
    async with means().sessions() as session:
        groups = await session.exec(
            select(HostGroup.name)
            .join(Build, col(Build.host_group_id) == col(HostGroup.id))
            .where(col(Build.id).in_(party.builds))
        )
        return set(groups)


async def _name_run(run: UUID, name: str, tags: Iterable[str]) -> None:
    async with get_client() as client:
        kept = sorted({*tags, *runtime.flow_run.tags})
        await client.update_flow_run(run, name=name, tags=kept)
