"""Deletes what has been kept long enough."""

from __future__ import annotations

from datetime import timedelta

from prefect import task

from inventory import events
from inventory.profiles import forget_changes
from inventory.puppet import forget_reports
from tasks.means import means

__all__ = ["forget_events", "forget_profile_changes", "forget_puppet_reports"]


@task(name="Forget old reports of Puppet", persist_result=False)
async def forget_puppet_reports(days: int) -> int:
    """Delete handled reports that are older; each host keeps its newest. Says how many went."""
    m = means()
    async with m.sessions.begin() as session:
        return await forget_reports(session, m.clock() - timedelta(days=days))


@task(name="Forget how profiles of packages have changed", persist_result=False)
async def forget_profile_changes(days: int) -> int:
    """Delete changes of profiles that are older; the profiles stay. Says how many went."""
    m = means()
    async with m.sessions.begin() as session:
        return await forget_changes(session, m.clock() - timedelta(days=days))


@task(name="Forget old events", persist_result=False)
async def forget_events(days: int) -> int:
    """Delete events that are older, but for those that a webhook is owed. Says how many went."""
    m = means()
    # Where nobody follows them nobody has published them.
    published = events.MOST_AT_ONCE
    while published == events.MOST_AT_ONCE:
        async with m.sessions.begin() as session:
            published = await events.publish(session, m.clock())
    async with m.sessions.begin() as session:
        return await events.forget(session, m.clock() - timedelta(days=days))
