"""Undoes what builds have changed outside, and lets go of hosts of which nothing is left there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from sqlmodel import col, select

from integrations.errors import OutsideError
from inventory import builds, consumers, effects, hosts
from inventory.arrows import Phase
from inventory.context import Arrival, BuildContext
from inventory.database import AsyncSession
from inventory.life import Event, HostState
from inventory.models import Build, BuildOutcome, Effect, EffectState, Host
from tasks.boot import BOOT_FILE
from tasks.company import Company, Problem, Seen, each, each_arrival, require_claim, step
from tasks.keepers import UNDOABLE, keeper_of
from tasks.means import means
from tasks.places import proxy_named_in
from tasks.road import Restored, restore

__all__ = [
    "boot_servers_of",
    "undo_everything",
    "undo_former_records",
    "undo_late_writes",
]

_MOST = 500
_OUTCOMES = {
    Phase.CANCEL: BuildOutcome.CANCELLED,
    Phase.DECOMMISSION: BuildOutcome.RETIRED,
}


def _records(found: Iterable[Effect]) -> list[list[Effect]]:
    """Effects by the record that they are on, the one that was made last first."""
    by_record: dict[tuple[str, str, str], list[Effect]] = {}
    for one in found:
        by_record.setdefault((one.system, one.place, one.key), []).append(one)
    return sorted(by_record.values(), key=lambda made: made[-1].id, reverse=True)


async def _standing(session: AsyncSession, company: Company, build: Build) -> list[Effect]:
    """What is to be undone: since it was last in operation, or of all its life if it leaves."""
    found = await effects.standing(session, build.host_id)
    if company.phase is not Phase.CANCEL:
        return found
    # With what held builds have made that this one took over.
    given_up = await builds.since_operation(session, build)
    return [one for one in found if one.build_id in given_up]


async def systems_of(company: Company) -> list[str]:
    """The systems in which its hosts have something to be undone, in the order of undoing."""
    found: set[str] = set()
    async with means().sessions() as session:
        rows = await session.exec(select(Build).where(col(Build.id).in_(company.builds)))
        for build in rows:
            found |= {one.system for one in await _standing(session, company, build)}
    return [one for one in UNDOABLE if one in found]


@task(**{**step("Undo records"), "task_run_name": "Undo {system} · {company}"})
async def undo_records(company: Company, system: str) -> Company:
    """Restore what was there before the builds of these hosts, where it is still ours."""
    return await each_arrival(company, (), partial(_undo, company, system))


async def _undo(company: Company, system: str, arrival: Arrival) -> Seen:
    async with means().sessions() as session:
        found = await _standing(session, company, arrival.build)
    words = [
        (await _undo_one(arrival.build.id, arrival.host, made)).words
        for made in _records(one for one in found if one.system == system)
    ]
    return Seen("; ".join(words) or f"nothing to undo in {system}")


async def _undo_one(build: UUID | None, host: Host, made: list[Effect]) -> Restored:
    keeper = await keeper_of(made[-1])
    if keeper is None:
        restored = Restored(f"{made[-1].key} is left: it belongs to the host group", left=True)
        async with means().sessions.begin() as session:
            await effects.leave(session, made, restored.words)
    else:
        restored = await restore(build, keeper, made)
        if made[-1].system == consumers.SYSTEM:
            async with means().sessions.begin() as session:
                await consumers.forget(session, made[-1].key.removeprefix(consumers.effect_key("")))
    say = get_run_logger().warning if restored.left else get_run_logger().info
    say("%s: %s %s", host.name, made[-1].system, restored.words)
    return restored


async def undo_everything(company: Company) -> None:
    """Undo all that is to be undone for these hosts, show it, and let go of those without rest."""
    going = company
    for system in await systems_of(company):
        going = await undo_records(going, system)
    await list_undone(company)
    await let_go(going)


async def boot_servers_of(company: Company) -> list[str]:
    """Names of the proxies that hold boot files which builds of these hosts have relied on."""
    async with means().sessions() as session:
        found = await session.exec(
            select(Effect.place)
            .join(Build, col(Build.id) == col(Effect.build_id))
            .where(
                col(Build.host_id).in_(
                    select(Build.host_id).where(col(Build.id).in_(company.builds))
                ),
                Effect.system == BOOT_FILE,
                col(Effect.state) != EffectState.UNDONE,
            )
            .distinct()
        )
        return sorted(proxy_named_in(one)[0] for one in found)


@task(**step("Let go of the hosts"))
async def let_go(company: Company) -> Company:
    """Close their builds: nothing that they changed outside is left."""
    return await each_arrival(company, (), partial(_let_go, company))


async def _let_go(company: Company, arrival: Arrival) -> Seen:
    m = means()
    async with m.sessions.begin() as session:
        host = await hosts.lock_host(session, arrival.build.host_id)
        await require_claim(session, arrival.build.id)
        if host.state not in (HostState.CANCELLING, HostState.DECOMMISSIONING):
            return Seen(f"the host is {host.state} already")
        found = await _standing(session, company, arrival.build)
        if open_still := [one for one in found if one.system in UNDOABLE]:
            raise Problem(
                f"{open_still[0].system} {open_still[0].key} is not undone yet",
                "Retry: what came meanwhile is undone then.",
            )
        # Boot files are many hosts', and go when no build needs them.
        orders = [one for one in found if one.system != BOOT_FILE]
        await effects.leave(session, orders, "an order that was given cannot be taken back")
        if not _still_reserved(await effects.standing(session, host.id)):
            await hosts.release_address(session, host.id)
        await hosts.move(session, host, Event.RECORDS_GONE, m.clock())
        await builds.close_build(session, arrival.build, _OUTCOMES[company.phase], m.clock())
    return Seen(f"nothing of its {'build' if company.phase is Phase.CANCEL else 'life'} is left")


def _still_reserved(found: Iterable[Effect]) -> bool:
    """Whether an earlier build of the host has its address reserved still."""
    return any(one.system == effects.DHCP and one.after is not None for one in found)


@dataclass(frozen=True)
class _Row:
    """One undone effect, as the run's artifact shows it."""

    host: str
    system: str
    place: str
    key: str
    became: str
    seen: str


@task(name="List what was undone", persist_result=False)
async def list_undone(company: Company) -> None:
    """Show each effect of these hosts, and what became of it, as a table of the run."""
    rows: list[_Row] = []
    async with means().sessions() as session:
        found = await session.exec(select(Build).where(col(Build.id).in_(company.builds)))
        names = {one.build: one.host for one in company.travellers}
        for build in found:
            made = await effects.of_build(session, build.id)
            if company.phase is Phase.DECOMMISSION:
                made = await effects.of_host(session, build.host_id)
            rows += [
                _Row(names[build.id], one.system, one.place, one.key, one.state, one.seen)
                for one in reversed(made)
            ]
    count = Counter(one.became for one in rows)
    words = ", ".join(f"{number} {state}" for state, number in sorted(count.items()))
    await acreate_table_artifact(
        key=f"{company.phase.value}-effects",
        table=[vars(one) for one in rows],
        description=f"What became of each effect: {words or 'there were none'}",
    )


@task(**step("Undo what earlier builds left elsewhere"))
async def undo_former_records(company: Company) -> Company:
    """Take away records of a host's earlier builds that its new one does without.

    Such as its former name, or its reservation in the subnet that it has left.
    """
    return await each(company, (), _undo_former)


async def _undo_former(context: BuildContext) -> Seen:
    async with means().sessions() as session:
        found = await effects.standing(session, context.host.id)
    mine = {(one.system, one.place, one.key) for one in found if one.build_id == context.build.id}
    former = [
        one
        for one in found
        if one.system in UNDOABLE and (one.system, one.place, one.key) not in mine
    ]
    words = [
        (await _undo_one(context.build.id, context.host, made)).words for made in _records(former)
    ]
    return Seen("; ".join(words) or "its earlier builds have left nothing elsewhere")


@task(name="Undo what was written late", persist_result=False)
async def undo_late_writes() -> None:
    """Undo what slow workers wrote for builds that were given up before the write arrived."""
    m = means()
    async with m.sessions() as session:
        found = await effects.late(session, UNDOABLE, _MOST)
        rows = await session.exec(
            select(Build.id, Host)
            .join(Host, col(Host.id) == col(Build.host_id))
            .where(col(Build.id).in_([one.build_id for one in found]))
        )
        owners = dict(rows.all())
    for made in _records(found):
        try:
            await _undo_one(None, owners[made[-1].build_id], made)
        except (OutsideError, Problem) as error:
            # Looked at again at the next turn; nothing but it waits for this.
            get_run_logger().warning("%s: %s", owners[made[-1].build_id].name, error)
