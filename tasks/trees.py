"""Which install tree a build uses: chosen once, at its inception, and kept to its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx

from integrations.treeinfo import TreeInfo, read_treeinfo
from inventory import builds
from inventory.context import BuildContext
from inventory.models import InstallTree
from tasks import desired
from tasks.company import require_claim
from tasks.means import means

__all__ = ["Trees"]

_SECONDS = 10.0


@dataclass(frozen=True)
class _Chosen:
    """Where a tree is read from, and what is in it."""

    url: str
    pin: str | None
    info: TreeInfo


class Trees:
    """Looks up each install tree once for a whole company."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, str], asyncio.Task[_Chosen]] = {}

    async def of(self, context: BuildContext) -> desired.BootFiles:
        """Kernel and initrd of the build's tree.

        The first time, the tree is chosen and kept: a plain one by its URL, one in Pulp by a pin on
        what is published now, so that a sync in the middle of a build changes nothing for it.

        Raises:
            OutsideError: none or several trees match, or nobody answers.
            LostBuild: another worker has the build now.
        """
        key = (context.tree.id, context.tree_url)
        if key not in self._found:
            self._found[key] = asyncio.create_task(_choose(context))
        chosen = await asyncio.shield(self._found[key])
        if not context.tree_url:
            async with means().sessions.begin() as session:
                await require_claim(session, context.build.id)
                await builds.keep_tree(session, context.build, url=chosen.url, pin=chosen.pin)
        return desired.boot_files(context.tree, chosen.url, chosen.info)


async def _choose(context: BuildContext) -> _Chosen:
    tree, build = context.tree, context.build
    if context.pulp is None:
        url = context.tree_url or _plain(tree)
        return _Chosen(url, None, await _read(url, tree.architecture))
    pulp = await means().pulps.of(context.pulp)
    if build.tree_pin is not None:
        pin = await pulp.distribution(build.tree_pin)
    else:
        distribution = await pulp.distribution(tree.base_path or "")
        pin = await pulp.pin(distribution, await pulp.publication_of(distribution))
    info = await pulp.boot_tree(pin, architecture=tree.architecture, variant=tree.variant)
    return _Chosen(pin.base_url.rstrip("/"), pin.base_path, info)


def _plain(tree: InstallTree) -> str:
    return (tree.url or "").rstrip("/")


async def _read(url: str, architecture: str) -> TreeInfo:
    async with httpx.AsyncClient(timeout=_SECONDS) as http:
        return await read_treeinfo(http, url, architecture)
