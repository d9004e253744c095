"""Install trees of a few kilobytes and the server that Pulp gets them from, with its faults."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lab.images.rpms import Package, build_package
from lab.images.treeinfo import IMAGES, treeinfo
from lab.namespace import run
from lab.simulated.tree import Tree


async def build_tree(directory: Path) -> None:
    """Make a valid tree with one real package; two seconds."""
    content = directory.with_name("package-content")
    (content / "etc").mkdir(parents=True)
    (content / "etc" / "toy").write_text("toy\n")
    (directory / "Packages").mkdir(parents=True)
    await build_package(Package("toy", "A toy"), content, directory / "Packages")
    await run("createrepo_c", "-q", str(directory))
    describe(directory, content="first")


async def simulate_tree(directory: Path) -> None:
    """Make a tree whose package is none, for which nothing needs to be installed."""
    Tree.make(directory.with_name("boot"), directory, seed=1)
    describe(directory, content="first")


def describe(tree: Path, *, content: str) -> None:
    """Write a tree's images, different ones for different contents, and its .treeinfo."""
    for name, path in IMAGES.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(f"{name} {content}\n" * 100)
    text = treeinfo(tree, name="Toy Linux", version="9", timestamp=1_763_800_000)
    (tree / ".treeinfo").write_text(text)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Upstream:
    """Serves trees below a directory.

    Attributes:
        held: so long as it is cleared, images are not answered.
        asked: paths that were asked for.
    """

    root: Path
    pattern: Path
    held: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self.held.set()
        self.app = Starlette(routes=[Route("/{path:path}", self._get)])

    async def _get(self, request: Request) -> Response:
        path = request.path_params["path"]
        self.asked.append(path)
        if path.endswith("initrd.img"):
            await self.held.wait()
        file = self.root / path
        if not file.is_file():
            return PlainTextResponse("File not found", 404)
        return Response(file.read_bytes(), media_type="application/octet-stream")

    def tree(self, name: str) -> Path:
        """Add a tree, a copy of the one that was built."""
        shutil.copytree(self.pattern, self.root / name)
        describe(self.root / name, content=name)
        return self.root / name

    def edit(self, name: str, before: str, after: str) -> None:
        """Change a tree's .treeinfo; the text must be there."""
        file = self.root / name / ".treeinfo"
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after))
