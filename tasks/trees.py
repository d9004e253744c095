"""Which install tree a build uses: chosen once, at its inception, and kept to its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx

from integrations.pulp import Pulp, pin_path
from integrations.treeinfo import TreeInfo, read_treeinfo
from inventory import builds, guard
from inventory.context import BuildContext
from inventory.models import Build, InstallTree
from inventory.models import Pulp as PulpRow
from tasks import desired
from tasks.company import require_claim
from tasks.means import means

__all__ = ["Ahead", "Trees", "look_ahead", "pin_lock"]

_SECONDS = 10.0


@dataclass(frozen=True)
class _Pin:
    """Where a publication stays for a build, whatever is synchronised meanwhile."""

    base_path: str
    publication: str


@dataclass(frozen=True)
class _Found:
    """Where a tree is read from, and what is in it."""

    url: str
    info: TreeInfo


class Trees:
    """Looks up each install tree once for a whole company."""

    def __init__(self) -> None:
        self._pins: dict[tuple[int, str | None], asyncio.Task[_Pin]] = {}
        self._found: dict[tuple[int, str], asyncio.Task[_Found]] = {}

    async def of(self, context: BuildContext) -> desired.BootFiles:
        """Kernel and initrd of the build's tree.

        The first time, the tree is chosen and kept: a plain one by its URL, one in Pulp by a pin on
        what is published now, so that a sync in the middle of a build changes nothing for it. A pin
        that somebody has removed meanwhile is made again.

        Raises:
            OutsideError: none or several trees match, or nobody answers.
            LostBuild: another worker has the build now.
        """
        if context.pulp is None:
            found = await self._plain(context)
        else:
            found = await self._pinned(context, context.pulp)
        if context.tree_url != found.url:
            async with means().sessions.begin() as session:
                await require_claim(session, context.build.id)
                await builds.keep_tree(session, context.build, found.url)
        return desired.boot_files(context.tree, found.url, found.info)

    async def _plain(self, context: BuildContext) -> _Found:
        url = context.tree_url or (context.tree.url or "").rstrip("/")
        key = (context.tree.id, url)
        if key not in self._found:
            self._found[key] = asyncio.create_task(_read(url, context.tree.architecture))
        return await asyncio.shield(self._found[key])

    async def _pinned(self, context: BuildContext, row: PulpRow) -> _Found:
        pulp = await means().pulps.of(row)
        tree, build = context.tree, context.build
        chosen = (tree.id, build.tree_pin)
        if chosen not in self._pins:
            self._pins[chosen] = asyncio.create_task(_choose(pulp, tree, build))
        pin = await asyncio.shield(self._pins[chosen])
        async with means().sessions.begin() as session:
            await require_claim(session, build.id)
            await guard.rely_on(session, pin_lock(row, pin.base_path))
            await builds.keep_pin(session, build, pin=pin.base_path, publication=pin.publication)
        # From here on nobody takes it away. That it is there is looked at once for all hosts, by
        # the first of them that has written so down.
        key = (tree.id, pin.base_path)
        if key not in self._found:
            self._found[key] = asyncio.create_task(_look(pulp, tree, pin))
        return await asyncio.shield(self._found[key])


def pin_lock(pulp: PulpRow, base_path: str) -> str:
    """The name under which ``inventory.guard`` locks a pin."""
    return f"pin {base_path} of Pulp {pulp.name}"


async def _choose(pulp: Pulp, tree: InstallTree, build: Build) -> _Pin:
    if build.tree_pin and build.tree_publication:
        return _Pin(build.tree_pin, build.tree_publication)
    if build.tree_pin:  # of a version of ours that did not keep what its pins serve
        there = await pulp.distribution(build.tree_pin)
        return _Pin(build.tree_pin, (await pulp.publication_of(there)).href)
    distribution = await pulp.distribution(tree.base_path or "")
    publication = await pulp.publication_of(distribution)
    return _Pin(pin_path(distribution, publication), publication.href)


@dataclass(frozen=True)
class Ahead:
    """The tree that a build would begin with, if it began now."""

    system: str
    place: str
    url: str
    info: TreeInfo
    words: str


async def look_ahead(context: BuildContext) -> Ahead:
    """See which tree a build would get, without choosing it.

    Raises:
        OutsideError: none or several trees match, or nobody answers.
    """
    tree = context.tree
    if context.pulp is None:
        found = await _read((tree.url or "").rstrip("/"), tree.architecture)
        return Ahead("tree", found.url, found.url, found.info, "is there")
    pulp = await means().pulps.of(context.pulp)
    distribution = await pulp.distribution(tree.base_path or "")
    publication = await pulp.publication_of(distribution)
    info = await pulp.boot_tree(distribution, architecture=tree.architecture, variant=tree.variant)
    pin = pin_path(distribution, publication)
    url = distribution.base_url.rstrip("/").removesuffix(distribution.base_path) + pin
    there = pin in {one.base_path for one in await pulp.pins()}
    words = f"its publication is {'pinned already' if there else 'to be pinned'} at {pin}"
    return Ahead("Pulp", f"Pulp {context.pulp.name}", url, info, words)


async def _look(pulp: Pulp, tree: InstallTree, pin: _Pin) -> _Found:
    there = await pulp.pin(pin.base_path, pin.publication)
    info = await pulp.boot_tree(there, architecture=tree.architecture, variant=tree.variant)
    return _Found(there.base_url.rstrip("/"), info)


async def _read(url: str, architecture: str) -> _Found:
    async with httpx.AsyncClient(timeout=_SECONDS) as http:
        return _Found(url, await read_treeinfo(http, url, architecture))
