"""What hosts need while they are on their own: one flow, whose cost grows with their trouble."""

from __future__ import annotations

from prefect import flow, get_run_logger

from tasks.attend import hold_overdue, mark_slow
from tasks.certificates import settle_certificates
from tasks.puppet import collect_reports
from tasks.undo import undo_late_writes
from tasks.waves import show_waves

__all__ = ["attend"]


@flow(name="attend", flow_run_name="attend · all hosts", retries=0, persist_result=False)
async def attend() -> None:
    """Sign hosts that wait for it, look for lost reports, hold hosts whose deadline has passed.

    A host that is held is told of with what was awaited and what was seen last; one that is slower
    than its kind usually is, is marked long before.
    """
    await settle_certificates()
    await undo_late_writes()
    # Before anybody is held for a report that Puppet has and we have not.
    await collect_reports()
    for sentence in (*await hold_overdue(), *await mark_slow()):
        get_run_logger().warning(sentence)
    # Last, and without a word of failure to the rest: it only shows.
    await show_waves()
