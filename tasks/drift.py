"""Compares what is really there with what should be and what we wrote; repairs what is ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from uuid import UUID

import sqlalchemy as sa
from prefect import get_run_logger, task
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from integrations.errors import OutsideError
from inventory import builds, hosts
from inventory.context import BuildContext, contexts
from inventory.database import AsyncSession, is_passing, wait_outside
from inventory.life import HostState
from inventory.models import Build, BuildOutcome, Drift, Effect, EffectState, Host
from tasks.company import Problem
from tasks.keepers import UNDOABLE, keeper_of
from tasks.means import means
from tasks.road import ensure, is_ours, restore
from tasks.survey import Finding, Judgement, Wanted, in_operation, look_at

__all__ = ["sweep"]

_AT_ONCE = 50
"""Hosts that are looked at at the same time; each system has its own limit besides."""
_REPAIRED_AT_ONCE = 8
"""Each holds one connection to our database, for its lock, and needs another one beside it: more
would wait for each other, and with them the lease of this worker."""


@task(name="Compare what is there with what should be", persist_result=False)
async def sweep(*, repair: bool) -> list[Finding]:
    """Look at all hosts that nobody is working on; keeps and returns what is not right.

    Args:
        repair: put right what is ours: what is missing or changed is written again, what leaked is
            removed. What is somebody else's is never touched.
    """
    m = means()
    async with m.sessions() as session:
        found = await contexts(session, await _settled(session))
        leaks = await _possible_leaks(session)
        names = await _names(session, leaks)
    gate = asyncio.Semaphore(_AT_ONCE)
    repairs = asyncio.Semaphore(_REPAIRED_AT_ONCE) if repair else None
    looked = await asyncio.gather(
        *(_host(one, gate, repairs) for one in found.values()),
        *(_leak(names[made[-1].build_id], made, gate, repairs) for made in leaks),
    )
    wrong = [one for some in looked for one in some]
    async with m.sessions.begin() as session:
        await session.exec(sa.delete(Drift))
        session.add_all(Drift(found_at=m.clock(), **one.model_dump()) for one in wrong)
    for one in wrong:
        get_run_logger().warning("%s: %s %s: %s", one.host, one.system, one.key, one.words)
    return wrong


async def _settled(session: AsyncSession) -> list[UUID]:
    """The newest builds of hosts in operation: of others somebody sees to what they have."""
    found = await session.exec(
        select(Build.id)
        .join(Host, col(Host.id) == col(Build.host_id))
        .where(col(Host.state) == HostState.IN_OPERATION)
        .distinct(col(Build.host_id))
        .order_by(col(Build.host_id), col(Build.generation).desc())
    )
    return list(found)


async def _host(
    context: BuildContext, gate: asyncio.Semaphore, repairs: asyncio.Semaphore | None
) -> list[Finding]:
    async with gate:
        name = context.host.name
        try:
            wanted = await in_operation(context)
        except Problem as error:
            return [_unreadable(name, str(error))]
        wrong = []
        for one in wanted:
            found = await look_at(name, one)
            if repairs is not None and found.judgement in (Judgement.MISSING, Judgement.CHANGED):
                async with repairs:
                    found = await _repaired(context, one, found)
            if found.judgement is not Judgement.RIGHT:
                wrong.append(found)
        return wrong


async def _repaired(context: BuildContext, wanted: Wanted, found: Finding) -> Finding:
    if not wanted.exact or not wanted.there:
        return found  # only the host itself can make it
    try:
        async with means().sessions.begin() as session:
            # Locked while we write, or a build of this host could begin and write meanwhile.
            await wait_outside(session)
            host = await hosts.lock_host(session, context.host.id)
            if host.state is not HostState.IN_OPERATION:
                return found  # somebody works on it by now
            await ensure(context.build.id, wanted.keeper, wanted.record, claimed=False)
    except Exception as error:
        if not isinstance(error, OutsideError) and not is_passing(error):
            raise
        return found.model_copy(update={"words": f"{found.words}; not repaired: {error}"})
    get_run_logger().info("%s: %s %s is put right", found.host, found.system, found.key)
    return found.model_copy(update={"judgement": Judgement.RIGHT})


async def _possible_leaks(session: AsyncSession) -> list[list[Effect]]:
    """Effects of builds that are gone, by record, where no build that lives relies on the record.

    Also those that were undone: what is there again after that was written late.
    """
    other = aliased(Effect)
    living = aliased(Build)
    gone = (BuildOutcome.CANCELLED, BuildOutcome.RETIRED)
    relied_on = sa.exists().where(
        col(other.build_id) == col(living.id),
        col(other.system) == col(Effect.system),
        col(other.place) == col(Effect.place),
        col(other.key) == col(Effect.key),
        col(other.state).not_in((EffectState.UNDONE, EffectState.LEFT)),
        sa.or_(col(living.closed_at).is_(None), col(living.outcome) == BuildOutcome.IN_OPERATION),
    )
    found = await session.exec(
        select(Effect)
        .join(Build, col(Build.id) == col(Effect.build_id))
        .where(
            col(Build.outcome).in_(gone),
            col(Effect.system).in_(UNDOABLE),
            col(Effect.state) != EffectState.LEFT,
            col(Effect.after).is_not(None),
            ~relied_on,
        )
        .order_by(col(Effect.id))
    )
    by_record: dict[tuple[str, str, str], list[Effect]] = {}
    for one in found:
        by_record.setdefault((one.system, one.place, one.key), []).append(one)
    return list(by_record.values())


async def _names(session: AsyncSession, leaks: Iterable[list[Effect]]) -> dict[UUID, str]:
    ids = [made[-1].build_id for made in leaks]
    rows = await session.exec(
        select(Build.id, Host.name)
        .join(Host, col(Host.id) == col(Build.host_id))
        .where(col(Build.id).in_(ids))
    )
    return dict(rows.all())


async def _leak(
    host: str, made: list[Effect], gate: asyncio.Semaphore, repairs: asyncio.Semaphore | None
) -> list[Finding]:
    """A record of builds that are gone: whether it is there, and still as we wrote it."""
    last = made[-1]
    m = means()
    async with gate:
        found = Finding(
            host=host,
            system=last.system,
            place=last.place,
            key=last.key,
            judgement=Judgement.LEAKED,
            words="",
        )
        try:
            keeper = await keeper_of(last)
            if keeper is None or last.after is None:
                return []
            async with m.admission.gate(keeper.system, keeper.place):
                there = await keeper.read(keeper.recall(last.key, last.after))
            if there is None or not await is_ours(m, keeper, there):
                return []
            words = f"a build that is gone has left {keeper.owner(there)}"
            if repairs is not None:
                async with repairs, m.sessions.begin() as session:
                    await wait_outside(session)
                    build = await session.get_one(Build, last.build_id)
                    await hosts.lock_host(session, build.host_id)
                    if await builds.current_build(session, build.host_id) is not None:
                        return []  # its host is built anew by now, and may need the record
                    restored = await restore(None, keeper, made)
                get_run_logger().info("%s: %s: %s", host, words, restored.words)
                return []
        except Exception as error:
            if not isinstance(error, OutsideError | Problem) and not is_passing(error):
                raise
            return [
                found.model_copy(update={"judgement": Judgement.UNREADABLE, "words": f"{error}"})
            ]
        return [found.model_copy(update={"words": words})]


def _unreadable(host: str, words: str) -> Finding:
    return Finding(
        host=host,
        system="",
        place="",
        key="",
        judgement=Judgement.UNREADABLE,
        words=words,
    )
