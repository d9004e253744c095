"""What is kept for a while only: once a day, what has had its time is deleted."""

from __future__ import annotations

from prefect import flow, get_run_logger

from flows.parameters import Days
from tasks.tidy import forget_profile_changes, forget_puppet_reports

__all__ = ["tidy"]

_NAME = "tidy · reports of {report_days} days, changes of {profile_days} days stay"


@flow(name="tidy", flow_run_name=_NAME, retries=0, persist_result=False)
async def tidy(report_days: Days = 30, profile_days: Days = 365) -> None:
    """Delete Puppet's reports, but for each host's newest, and changes of profiles that are older.

    Args:
        report_days: How many days Puppet's reports are kept.
        profile_days: How many days it is kept how a host's packages have changed.
    """
    gone = await forget_puppet_reports(report_days)
    changes = await forget_profile_changes(profile_days)
    get_run_logger().info("%d reports of Puppet were older than %d days", gone, report_days)
    get_run_logger().info("%d changes of profiles were older than %d days", changes, profile_days)
