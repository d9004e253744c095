"""Content from upstream into Pulp: on a schedule, and when somebody asks."""

from __future__ import annotations

from collections.abc import Awaitable

from prefect import flow, get_run_logger, runtime

from flows.parameters import SomeNames
from integrations.errors import OutsideError
from tasks.company import Problem
from tasks.content import (
    places,
    remove_unneeded_boot_files,
    remove_unneeded_pins,
    synchronise,
    trees_named,
)
from tasks.repositories import compare_all_repositories

__all__ = ["sync_content"]


def _called() -> str:
    return f"sync-content · {', '.join(runtime.flow_run.parameters.get('trees') or ['all trees'])}"


@flow(name="sync-content", flow_run_name=_called, retries=0, persist_result=False)
async def sync_content(trees: SomeNames = ()) -> None:
    """Bring install trees in Pulp up to date; builds that are under way keep theirs.

    What fails for one tree, one Pulp or one boot server keeps no other from its turn; the run fails
    at its end, and says all that has failed.

    Args:
        trees: Names of install trees; empty: all that Pulp gets from somewhere.
    """
    failed: dict[str, Exception] = {}

    async def attempt(what: str, work: Awaitable[object]) -> None:
        try:
            await work
        except (OutsideError, Problem) as error:
            get_run_logger().error("%s: %s", what, error)
            failed[what] = error

    for tree in await trees_named(list(trees)):
        await attempt(f"tree {tree}", synchronise(tree))
    tidied = await places()
    for pulp in tidied.pulps:
        await attempt(f"pins in Pulp {pulp}", remove_unneeded_pins(pulp))
    for proxy in tidied.proxies:
        await attempt(f"boot files at {proxy}", remove_unneeded_boot_files(proxy))
    await attempt("reported repositories", compare_all_repositories())
    if failed:
        told = "; ".join(f"{what}: {error}" for what, error in failed.items())
        raise Problem(told, "Mend what is named, then start sync-content again.") from next(
            iter(failed.values())
        )
