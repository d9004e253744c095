"""Deletes what has been kept long enough."""

from __future__ import annotations

from datetime import timedelta

from prefect import task

from inventory.profiles import forget_changes
from inventory.puppet import forget_reports
from tasks.means import means

__all__ = ["forget_profile_changes", "forget_puppet_reports"]


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
