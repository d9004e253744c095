"""Install trees in Pulp: synchronised, published and served; what no build needs is taken away."""

from __future__ import annotations

import time

from prefect import get_run_logger, task
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from sqlmodel import col, select

from integrations.errors import Unsupported
from integrations.pulp import Progress
from inventory import builds, effects
from inventory.database import AsyncSession
from inventory.models import InstallTree, Proxy, Pulp
from tasks.boot import BOOT_FILE, boot_place
from tasks.company import RETRY, Problem
from tasks.means import means

__all__ = ["remove_unneeded_boot_files", "remove_unneeded_pins", "synchronise", "trees_named"]

_EVERY_SECONDS = 1.0
"""Between two updates of a progress bar: each is a request to Prefect's server."""


@task(name="Choose the trees", persist_result=False)
async def trees_named(names: list[str]) -> list[str]:
    """The trees of these names; without names, all that Pulp gets from somewhere.

    Raises:
        Problem: there is no such tree, or nothing to synchronise it from.
    """
    async with means().sessions() as session:
        found = await session.exec(
            select(InstallTree.name)
            .where(col(InstallTree.remote).is_not(None))
            .order_by(InstallTree.name)
        )
        known = list(found)
    if unknown := sorted(set(names) - set(known)):
        raise Problem(
            f"these trees have no remote in Pulp: {', '.join(unknown)}",
            f"Trees that have one: {', '.join(known) or 'none'}; see the site file.",
        )
    return names or known


@task(name="Synchronise the tree", task_run_name="{tree}", **RETRY)
async def synchronise(tree: str) -> str:
    """Bring a tree in Pulp up to date and serve it; unchanged content makes no new version."""
    m = means()
    async with m.sessions() as session:
        wanted, row = await _tree(session, tree)
    pulp = await m.pulps.of(row)
    remote = await pulp.ensure_remote(wanted.name, wanted.remote or "")
    repository = await pulp.ensure_repository(wanted.name)
    bar = _Bar(tree)
    synced = await pulp.sync(repository, remote, bar.show)
    publication = await pulp.ensure_publication(synced.version)
    await pulp.ensure_distribution(wanted.name, wanted.base_path or "", publication)
    await bar.full()
    said = "is new" if synced.changed else "is as before"
    sentence = f"{tree}: version {synced.version.number} {said}, served at {wanted.base_path}"
    get_run_logger().info(sentence)
    return sentence


async def _tree(session: AsyncSession, name: str) -> tuple[InstallTree, Pulp]:
    found = await session.exec(
        select(InstallTree, Pulp)
        .join(Pulp, col(Pulp.id) == col(InstallTree.pulp_id))
        .where(InstallTree.name == name)
    )
    return found.one()


class _Bar:
    """A progress bar in Prefect's UI for one sync."""

    def __init__(self, tree: str) -> None:
        self._tree = tree
        self._id: object | None = None
        self._shown_at = 0.0

    async def show(self, lines: tuple[Progress, ...]) -> None:
        """Show how far all lines together are, at most once a second."""
        if time.monotonic() - self._shown_at < _EVERY_SECONDS:
            return
        counted = [line for line in lines if line.total]
        total = sum(line.total or 0 for line in counted)
        done = sum(line.done for line in counted)
        await self._set(100 * done / total if total else 0.0)

    async def full(self) -> None:
        """Say that it is served."""
        await self._set(100.0)

    async def _set(self, percent: float) -> None:
        self._shown_at = time.monotonic()
        if self._id is None:
            self._id = await acreate_progress_artifact(
                progress=percent, description=f"{self._tree} into Pulp"
            )
        else:
            await aupdate_progress_artifact(self._id, progress=percent)  # type: ignore[arg-type]


@task(name="Remove pins that no build needs", **RETRY)
async def remove_unneeded_pins() -> int:
    """Let go of publications that only ended builds have used; says how many."""
    m = means()
    removed = 0
    async with m.sessions() as session:
        pulps = (await session.exec(select(Pulp))).all()
    for row in pulps:
        pulp = await m.pulps.of(row)
        pins = await pulp.pins()
        # A build that is choosing one of them at this moment is not yet among these: what was
        # needed a while ago is left alone.
        young = m.clock() - m.deadlines.pin_rest
        async with m.sessions() as session:
            needed = await builds.pins_in_use(session, young)
        for pin in pins:
            if pin.base_path not in needed and pin.created < young:
                await pulp.unpin(pin.base_path)
                removed += 1
    return removed


@task(name="Remove boot files that no build needs", **RETRY)
async def remove_unneeded_boot_files() -> int:
    """Take kernels and initrds of ended builds from the boot servers; says how many."""
    m = means()
    removed: set[tuple[str, str]] = set()
    async with m.sessions() as session:
        proxies = (await session.exec(select(Proxy))).all()
    for proxy in proxies:
        place = boot_place(proxy)
        async with m.sessions() as session:
            left = await effects.unneeded(session, BOOT_FILE, place)
        for effect in left:
            if (place, effect.key) not in removed:
                try:
                    await m.proxies.of(proxy).remove_boot_file(effect.key)
                except Unsupported:
                    break  # an upstream proxy keeps them all
                removed.add((place, effect.key))
            async with m.sessions.begin() as session:
                await effects.undone(session, effect.id, m.clock())
    return len(removed)
