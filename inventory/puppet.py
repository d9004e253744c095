"""What Puppet tells of hosts, pushed or pulled: facts and reports, kept as they came."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from inventory import callbacks, steps
from inventory.arrows import Evidence
from inventory.builds import current_build, stage
from inventory.database import AsyncSession
from inventory.hosts import keep_facts
from inventory.life import HostState
from inventory.models import Build, Callback, CallbackKind, Host

__all__ = ["adopt_reports", "forget_reports", "keep_puppet_facts", "keep_report", "known_reports"]

_INSTALLED = 27
_RUNS_ITSELF = frozenset({HostState.INSTALLED, HostState.FIRST_BOOT})


async def keep_puppet_facts(
    session: AsyncSession,
    host: Host,
    values: Mapping[str, Any],
    *,
    collected: datetime | None,
    source: str,
    at: datetime,
) -> None:
    """Keep a host's facts; the first ones of its installed system are arrows 31 and 32.

    Args:
        session: in the caller's transaction.
        host: whose.
        values: the facts.
        collected: when, by the host's own clock.
        source: where they were seen, as the evidence has it.
        at: the present.
    """
    await keep_facts(session, host.id, "puppet", values, at)
    build = await _running(session, host)
    # Puppet still has the facts of a former life of the name, and tells them until it has new ones.
    if build is None or (collected is not None and collected < build.opened_at):
        return
    when = f", collected at {collected:%H:%M:%S}" if collected else ""
    await steps.finish(
        session,
        build.id,
        (31, 32),
        evidence=Evidence.OBSERVED,
        seen=f"{len(values)} facts from {source}{when}",
        at=at,
    )


async def keep_report(
    session: AsyncSession,
    host: Host,
    key: str,
    body: str,
    *,
    source: str,
    at: datetime,
    told_at: datetime | None = None,
) -> bool:
    """Keep a report; whoever waits for it is woken, and nobody where nobody does.

    Args:
        session: in the caller's transaction.
        host: whose.
        key: tells it from the host's other reports: its ``transaction_uuid``.
        body: as received.
        source: name of the Puppet that told, or kept, it.
        at: the present.
        told_at: when Puppet was told; None: now. A report that is older than the system that runs
            now says nothing of it.

    Returns:
        False if it was known already.
    """
    build = await _running(session, host)
    if build is not None and told_at is not None:
        installed = (await steps.states(session, [build.id]))[build.id][_INSTALLED].ended_at
        if installed is None or told_at < installed:
            build = None
    kept = await callbacks.keep(
        session,
        kind=CallbackKind.PUPPET_REPORT,
        key=_key(host.id, key),
        host_id=host.id,
        build_id=build.id if build else None,
        remote=source,
        body=body,
        at=at,
        handled=build is None,
    )
    return kept is not None


async def adopt_reports(session: AsyncSession, build: Build, *, since: datetime) -> None:
    """Let a build wait no more for reports that came before anybody knew that its system runs.

    Args:
        session: in the caller's transaction, which holds the host's lock.
        build: open; its system has just been heard of for the first time.
        since: when that system was started; an earlier report is a former system's.
    """
    await session.exec(
        sa.update(Callback)
        .where(
            col(Callback.host_id) == build.host_id,
            col(Callback.kind) == CallbackKind.PUPPET_REPORT,
            col(Callback.build_id).is_(None),
            col(Callback.received_at) >= since,
        )
        .values(build_id=build.id, handled_at=None)
        .execution_options(synchronize_session=False)
    )


async def known_reports(session: AsyncSession, host_id: int, keys: Collection[str]) -> set[str]:
    """Which of a host's reports are kept already, by their keys."""
    ours = {_key(host_id, key): key for key in keys}
    found = await session.exec(select(Callback.key).where(col(Callback.key).in_(list(ours))))
    return {ours[key] for key in found}


async def forget_reports(session: AsyncSession, before: datetime) -> int:
    """Delete reports that are older; each host keeps its newest. Says how many went."""
    newer = aliased(Callback)
    replaced = sa.exists().where(
        col(newer.host_id) == col(Callback.host_id),
        col(newer.kind) == CallbackKind.PUPPET_REPORT,
        col(newer.id) > col(Callback.id),
    )
    gone = await session.exec(
        sa.delete(Callback).where(
            col(Callback.kind) == CallbackKind.PUPPET_REPORT,
            col(Callback.handled_at).is_not(None),
            col(Callback.received_at) < before,
            replaced,
        )
    )
    return int(gone.rowcount)


async def _running(session: AsyncSession, host: Host) -> Build | None:
    """The open build of a host that runs its own system; what comes before is of a former one."""
    # Most of what Puppet tells is of hosts in operation, hundreds a second: that costs no question.
    if host.state not in _RUNS_ITSELF | {HostState.HELD}:
        return None
    build = await current_build(session, host.id)
    if build is None:
        return None
    return build if stage(host, build) in _RUNS_ITSELF else None


def _key(host_id: int, key: str) -> str:
    return f"puppet:{host_id}:{key}"
