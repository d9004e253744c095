"""Hosts that are late: one scheduled flow, at a cost that grows with their trouble."""

from __future__ import annotations

from prefect import flow, get_run_logger

from tasks.attend import hold_overdue

__all__ = ["attend"]


@flow(name="attend", retries=0, persist_result=False)
async def attend() -> None:
    """Hold hosts whose deadline has passed, saying what was awaited and what was seen last."""
    for sentence in await hold_overdue():
        get_run_logger().warning(sentence)
