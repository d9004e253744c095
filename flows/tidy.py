"""What is kept for a while only: once a day, what has had its time is deleted."""

from __future__ import annotations

from prefect import flow, get_run_logger

from tasks.tidy import forget_puppet_reports

__all__ = ["tidy"]


@flow(name="tidy", retries=0, persist_result=False)
async def tidy(report_days: int = 30) -> None:
    """Delete Puppet's reports that are older, but for the newest of each host.

    Args:
        report_days: How many days Puppet's reports are kept.
    """
    gone = await forget_puppet_reports(report_days)
    get_run_logger().info("%d reports of Puppet were older than %d days", gone, report_days)
