"""Install trees in Pulp: synchronised, published and served; what no build needs is taken away."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from sqlmodel import col, select

from integrations.errors import Unsupported
from integrations.pulp import Progress
from inventory import builds, effects, guard
from inventory.database import AsyncSession, wait_outside
from inventory.models import InstallTree, Proxy, Pulp
from tasks.boot import BOOT_FILE, boot_file_lock, boot_place
from tasks.company import RETRY, Problem
from tasks.means import means
from tasks.trees import pin_lock

__all__ = [
    "Places",
    "places",
    "remove_unneeded_boot_files",
    "remove_unneeded_pins",
    "share_done",
    "synchronise",
    "trees_named",
    "under_way",
]

_EVERY_SECONDS = 1.0
"""Between two updates of a progress bar: each is a request to Prefect's server."""


@dataclass(frozen=True)
class Places:
    """Names of all that is tidied."""

    pulps: tuple[str, ...]
    proxies: tuple[str, ...]


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
    said = "is new" if synced.changed else "is as before"
    sentence = f"version {synced.version.number} {said}, served at {wanted.base_path}"
    await bar.full(sentence)
    get_run_logger().info("%s: %s", tree, sentence)
    return f"{tree}: {sentence}"


async def _tree(session: AsyncSession, name: str) -> tuple[InstallTree, Pulp]:
    found = await session.exec(
        select(InstallTree, Pulp)
        .join(Pulp, col(Pulp.id) == col(InstallTree.pulp_id))
        .where(InstallTree.name == name)
    )
    return found.one()


def share_done(lines: tuple[Progress, ...]) -> float:
    """How much of a sync is done, in percent; 100 is said only when it is served.

    Pulp states no total for most lines: such a line counts for nothing until it has ended, or a
    sync whose packages are still to come would look finished.
    """
    parts = [
        line.done / line.total if line.total else float(line.state == "completed") for line in lines
    ]
    return min(99.0, 100 * sum(parts) / len(parts)) if parts else 0.0


def under_way(lines: tuple[Progress, ...]) -> str:
    """What a sync does at this moment, such as ``Downloading Artifacts 3``."""
    doing = (line for line in lines if line.state == "running")
    return ", ".join(
        f"{line.message} {line.done}" + (f"/{line.total}" if line.total else "") for line in doing
    )


class _Bar:
    """A progress bar in Prefect's UI for one sync."""

    def __init__(self, tree: str) -> None:
        self._tree = tree
        self._id: UUID | None = None
        self._shown_at = 0.0
        self._percent = 0.0

    async def show(self, lines: tuple[Progress, ...]) -> None:
        """Show how far all lines together are, at most once a second."""
        if time.monotonic() - self._shown_at < _EVERY_SECONDS:
            return
        # New lines begin while others end; a bar that goes back would only confuse.
        self._percent = max(self._percent, share_done(lines))
        await self._set(under_way(lines) or "waiting for Pulp")

    async def full(self, sentence: str) -> None:
        """Say that it is served."""
        self._percent = 100.0
        await self._set(sentence)

    async def _set(self, words: str) -> None:
        self._shown_at = time.monotonic()
        description = f"{self._tree} into Pulp: {words}"
        if self._id is None:
            # Without a key only its run would show it. Prefect's keys have few letters.
            key = f"content-{re.sub('[^a-z0-9]+', '-', self._tree.lower()).strip('-')}"
            self._id = await acreate_progress_artifact(
                progress=self._percent, key=key, description=description
            )
        else:
            await aupdate_progress_artifact(
                self._id, progress=self._percent, description=description
            )


@task(name="Choose whose content is tidied", persist_result=False)
async def places() -> Places:
    """All Pulps and all boot servers."""
    async with means().sessions() as session:
        pulps = await session.exec(select(Pulp.name).order_by(Pulp.name))
        proxies = await session.exec(select(Proxy.name).order_by(Proxy.name))
        return Places(pulps=tuple(pulps), proxies=tuple(proxies))


@task(name="Remove pins that no build needs", task_run_name="Pins in {pulp}", **RETRY)
async def remove_unneeded_pins(pulp: str) -> int:
    """Let go of publications that only ended builds have used; says how many.

    Args:
        pulp: name of the Pulp.
    """
    m = means()
    async with m.sessions() as session:
        row = (await session.exec(select(Pulp).where(Pulp.name == pulp))).one()
    client = await m.pulps.of(row)
    long_ago = m.clock() - m.deadlines.pin_rest
    removed = 0
    for pin in await client.pins():
        if pin.created >= long_ago:
            continue
        async with m.sessions.begin() as session:
            # Held while Pulp removes it: whoever chooses this pin meanwhile waits, and then finds
            # it missing.
            await wait_outside(session)
            await guard.take_away(session, pin_lock(row, pin.base_path))
            if not await builds.relies_on_pin(session, pin.base_path, long_ago):
                await client.unpin(pin.base_path)
                removed += 1
    return removed


@task(name="Remove boot files that no build needs", task_run_name="Boot files at {proxy}", **RETRY)
async def remove_unneeded_boot_files(proxy: str) -> int:
    """Take kernels and initrds of ended builds from a boot server; says how many.

    Args:
        proxy: name of its Smart Proxy.
    """
    m = means()
    async with m.sessions() as session:
        row = (await session.exec(select(Proxy).where(Proxy.name == proxy))).one()
        place = boot_place(row)
        keys = {one.key for one in await effects.unneeded(session, BOOT_FILE, place)}
    removed = 0
    for key in sorted(keys):
        async with m.sessions.begin() as session:
            await wait_outside(session)
            await guard.take_away(session, boot_file_lock(place, key))
            left = await effects.unneeded(session, BOOT_FILE, place, key)
            if not left:
                continue
            try:
                await m.proxies.of(row).remove_boot_file(key)
            except Unsupported:
                return 0  # an upstream proxy keeps them all
            for effect in left:
                await effects.undone(session, effect.id, m.clock())
            removed += 1
    return removed
