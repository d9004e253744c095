"""Content from upstream into Pulp: on a schedule, and when somebody asks."""

from __future__ import annotations

from prefect import flow, get_run_logger

from integrations.errors import OutsideError
from tasks.company import Problem
from tasks.content import (
    remove_unneeded_boot_files,
    remove_unneeded_pins,
    synchronise,
    trees_named,
)

__all__ = ["sync_content"]


@flow(name="sync-content", retries=0, persist_result=False)
async def sync_content(trees: list[str] | None = None) -> None:
    """Bring install trees in Pulp up to date; builds that are under way keep theirs.

    Args:
        trees: Names of install trees; empty: all that Pulp gets from somewhere.
    """
    failed: list[Exception] = []
    for tree in await trees_named(trees or []):
        try:
            await synchronise(tree)
        except (OutsideError, Problem) as error:
            # One tree that cannot be had must not keep the others from being brought up to date.
            get_run_logger().error("%s: %s", tree, error)
            failed.append(error)
    await remove_unneeded_pins()
    await remove_unneeded_boot_files()
    if failed:
        raise failed[0]
