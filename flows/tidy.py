"""What is kept for a while only: once a day, what has had its time is deleted."""

from __future__ import annotations

from prefect import flow, get_run_logger

from flows.parameters import Days
from tasks.tidy import forget_events, forget_profile_changes, forget_puppet_reports

__all__ = ["tidy"]

_NAME = "tidy · reports of {report_days} days, changes of {profile_days} days stay"


@flow(name="tidy", flow_run_name=_NAME, retries=0, persist_result=False)
async def tidy(report_days: Days = 30, profile_days: Days = 365, event_days: Days = 30) -> None:
    """Delete older reports of Puppet but each host's newest, changes of profiles, and events.

    Args:
        report_days: How many days Puppet's reports are kept.
        profile_days: How many days it is kept how a host's packages have changed.
        event_days: How many days events of hosts are kept; those that a webhook is owed stay.
    """
    gone = await forget_puppet_reports(report_days)
    changes = await forget_profile_changes(profile_days)
    told = await forget_events(event_days)
    get_run_logger().info("%d reports of Puppet were older than %d days", gone, report_days)
    get_run_logger().info("%d changes of profiles were older than %d days", changes, profile_days)
    get_run_logger().info("%d events were older than %d days", told, event_days)
