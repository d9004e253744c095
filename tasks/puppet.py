"""Arrows 31 to 34: what Puppet's agents have reported, told to us or kept by their server."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from prefect import get_run_logger, task
from sqlmodel import select

from integrations.errors import OutsideError
from integrations.puppet import (
    BadReport,
    ReportStore,
    Stored,
    identify,
    read_report,
    verdict,
)
from inventory import callbacks, hosts, steps
from inventory.context import BuildContext
from inventory.models import CallbackKind, Puppet
from inventory.puppet import keep_puppet_facts, keep_report, known_reports
from tasks.company import Company, Problem, Seen, each, step
from tasks.means import means

__all__ = ["collect_reports", "judge_puppet"]

_OVERLAP = timedelta(minutes=10)
"""What the server wrote shortly before the last look is looked at again: clocks differ."""
_FIRST_LOOK = timedelta(days=1)
_ADVICE = "See the manifests and the host's log, let the agent run again; then retry."


@task(**step("Judge Puppet's first report", 33, 34))
async def judge_puppet(company: Company) -> Company:
    """Say whether Puppet has made the host what it is to be."""
    return await each(company, (33, 34), _judge)


async def _judge(context: BuildContext) -> Seen:
    name = context.host.name
    async with means().sessions() as session:
        told = await callbacks.latest(session, context.build.id, CallbackKind.PUPPET_REPORT)
    if told is None:
        raise Problem(f"Puppet has told nothing of {name} yet", "Run the agent; then retry.")
    try:
        report = await asyncio.to_thread(read_report, told.body.encode())
    except BadReport as error:
        raise Problem(f"Puppet's report of {name} cannot be read: {error}", _ADVICE) from error
    said = verdict(report)
    if not said.configured:
        raise Problem(f"Puppet has not configured {name}: {said.reason}", _ADVICE)
    m = means()
    async with m.sessions.begin() as session:
        # Without facts there is no catalog; they may have been lost, or the host's clock be wrong.
        seen = "Puppet has compiled a catalog from them"
        await steps.imply(session, context.build.id, (31, 32), seen=seen, at=m.clock())
    return Seen(f"{said.reason}, told by Puppet {told.remote}")


@task(name="Collect what Puppet servers have kept (33, 34)", persist_result=False)
async def collect_reports() -> int:
    """Keep reports, and first facts, that were told while nobody listened; says how many reports.

    A Puppet server tells once. Where its own store can be read, what it told while the gateway was
    away is found there.
    """
    m = means()
    async with m.sessions() as session:
        readable = await session.exec(select(Puppet).where(Puppet.vardir != None))  # noqa: E711
        puppets = list(readable)
    found = 0
    for puppet in puppets:
        try:
            found += await _collect(puppet, ReportStore(Path(puppet.vardir or "")))
        except OutsideError as error:
            get_run_logger().warning(str(error))
    return found


async def _collect(puppet: Puppet, store: ReportStore) -> int:
    m = means()
    began = m.clock()
    since = puppet.collected_at - _OVERLAP if puppet.collected_at else began - _FIRST_LOOK
    by_host: dict[str, list[Stored]] = {}
    for one in await store.all_reports(since):
        by_host.setdefault(one.certname, []).append(one)
    found = 0
    for certname, reports in by_host.items():
        found += await _collect_host(puppet, store, certname, reports)
    async with m.sessions.begin() as session:
        (await session.get_one(Puppet, puppet.id)).collected_at = began
    return found


async def _collect_host(
    puppet: Puppet, store: ReportStore, certname: str, reports: list[Stored]
) -> int:
    m = means()
    named: dict[str, Stored] = {}
    for one in reports:
        try:
            named[identify(one.body).key] = one
        except BadReport as error:
            get_run_logger().warning("a report of %s is passed over: %s", certname, error)
    async with m.sessions.begin() as session:
        host = await hosts.host_by_name(session, certname)
        if host is None:
            return 0
        missed = named.keys() - await known_reports(session, host.id, named.keys())
        for key in missed:
            one = named[key]
            body = one.body.decode(errors="replace")
            await keep_report(
                session,
                host,
                key,
                body,
                source=puppet.name,
                at=m.clock(),
                told_at=one.written,
            )
    if missed:
        await _collect_facts(puppet, store, host.id, certname)
    return len(missed)


async def _collect_facts(puppet: Puppet, store: ReportStore, host_id: int, certname: str) -> None:
    facts = await store.facts(certname)
    if facts is None:
        return
    m = means()
    async with m.sessions.begin() as session:
        host = await hosts.lock_host(session, host_id)
        source = f"what Puppet {puppet.name} has kept"
        await keep_puppet_facts(
            session, host, facts.values, collected=facts.timestamp, source=source, at=m.clock()
        )
