"""The house stays as it is drawn: imports go down, rooms speak through what they offer."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

PRODUCT = {
    "integrations": (),
    "inventory": (),
    "templates": ("inventory", "integrations.records"),
    "tasks": ("integrations", "inventory", "templates"),
    "flows": ("tasks", "integrations", "inventory"),
    "serving": (),
    "gateway": ("inventory", "templates", "integrations", "serving"),
    "proxy": ("integrations", "serving"),
    "deployments": (
        "flows", "tasks", "gateway", "proxy", "serving", "templates", "integrations", "inventory",
    ),
}  # fmt: skip
MAY_IMPORT = {
    **PRODUCT,
    "lab": tuple(PRODUCT),
    "cli": (*PRODUCT, "lab"),
    "benchmarks": (*PRODUCT, "lab"),
    "docs": (*PRODUCT, "cli"),
}
"""What each room may import beside itself."""


class Import(NamedTuple):
    """One imported name: ``name`` of ``module``, or the module itself."""

    importer: str
    line: int
    module: str
    name: str | None
    at_start: bool
    """Whether importing the importer imports it too: neither in a function nor for types only."""


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, ast.Module]:
    """All modules of the rooms, parsed."""
    files = (path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py")))
    return {_module(path): ast.parse(path.read_text()) for path in files}


@cache
def imports() -> tuple[Import, ...]:
    """All imports of the rooms from the rooms and from tests."""
    found = (one for module, tree in modules().items() for one in _walk(module, tree, True))
    return tuple(one for one in found if _room(one.module) in {*MAY_IMPORT, "tests"})


def _walk(module: str, node: ast.AST, at_start: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(module, child.lineno, alias.name, None, at_start)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{module}:{child.lineno}: name the room in imports"
            for alias in child.names:
                yield Import(module, child.lineno, child.module or "", alias.name, at_start)
        else:
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            )
            yield from _walk(module, child, at_start and not later)


def _room(module: str) -> str:
    return module.partition(".")[0]


def _is_within(module: str, allowed: str) -> bool:
    return module == allowed or module.startswith(f"{allowed}.")


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_go_only_downwards(room: str) -> None:
    allowed = (room, *MAY_IMPORT[room])
    wrong = [
        f"{one.importer}:{one.line} imports {one.module}"
        for one in imports()
        if _room(one.importer) == room and not any(_is_within(one.module, each) for each in allowed)
    ]
    assert not wrong, f"{room} may import {allowed}"


def test_every_room_is_in_the_table() -> None:
    tracked = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert tracked - {"tests"} == set(MAY_IMPORT) & tracked
    assert set(PRODUCT) <= tracked


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph: dict[str, set[str]] = {}
    for one in imports():
        if one.at_start:
            submodule = f"{one.module}.{one.name}"
            target = submodule if submodule in modules() else one.module
            graph.setdefault(one.importer, set()).add(target)
    TopologicalSorter(graph).prepare()


def _offered(module: str) -> set[str] | None:
    for node in modules()[module].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return None


def test_rooms_use_of_each_other_only_what_is_offered() -> None:
    wrong = []
    for one in imports():
        if (
            one.name is None
            or one.module not in modules()
            or f"{one.module}.{one.name}" in modules()
        ):
            continue
        offered = _offered(one.module)
        private = one.name.startswith("_") and one.importer != one.module
        hidden = (
            offered is not None
            and one.name not in offered
            and _room(one.importer) != _room(one.module)
        )
        if private or hidden:
            wrong.append(f"{one.importer}:{one.line} takes {one.name} of {one.module}")
    assert not wrong


OF_ONE_MACHINE = re.compile(r"(?<![\w.<>}$~])/(work|home)/|https?://[\w.-]*(pypi|pythonhosted)\b")
"""Paths that exist on one machine, and servers that packages came from."""


def test_no_file_knows_the_machine_that_it_was_written_on() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    wrong = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                if OF_ONE_MACHINE.search(line):
                    wrong.append(f"{name}:{number}: {line.strip()}")
    assert not wrong
