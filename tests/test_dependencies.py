"""What is imported is declared, what is declared is locked, and what is locked works together."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from tests.test_architecture import MAY_IMPORT, PRODUCT, ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _declared(*, dev: bool) -> set[str]:
    asked = list(PROJECT["project"]["dependencies"])
    if dev:
        groups = PROJECT["dependency-groups"]
        asked += [each for group in groups.values() for each in group if isinstance(each, str)]
    return {_normal(re.split(r"[<>=!~;\[ ]", each)[0]) for each in asked}


def _imported(room: str) -> set[str]:
    found = set()
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    ours = {*MAY_IMPORT, "tests", *(path.stem for path in (ROOT / room).rglob("*.py"))}
    return found - ours - set(sys.stdlib_module_names)


@pytest.mark.parametrize("room", [*MAY_IMPORT, "tests"])
def test_what_is_imported_is_declared(room: str) -> None:
    declared = _declared(dev=room not in {*PRODUCT, "cli"})
    distributions = packages_distributions()
    missing = {
        name
        for name in _imported(room)
        if not declared & {_normal(one) for one in distributions.get(name, [])}
    }
    assert not missing, f"{room} imports these, and pyproject.toml does not name them"


def test_what_is_declared_is_locked_by_hash() -> None:
    blocks = re.split(r"\n(?=[a-z])", LOCK)[1:]
    locked = {_normal(block.partition("==")[0]) for block in blocks}
    assert _declared(dev=True) <= locked
    assert not [block for block in blocks if "--hash=sha256:" not in block]


def test_the_lock_names_no_server() -> None:
    assert "://" not in LOCK
    assert "--index-url" not in LOCK
    assert "--find-links" not in LOCK


def test_prefects_server_answers_with_the_locked_versions(tmp_path: Path) -> None:
    # A newer FastAPI breaks it at start-up: see the bound in pyproject.toml.
    program = """
import asyncio, httpx
from prefect.server.api.server import create_app

async def main():
    transport = httpx.ASGITransport(create_app(ephemeral=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://prefect") as client:
        print((await client.get("/api/health")).text, (await client.get("/api/admin/version")).text)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PREFECT_HOME": str(tmp_path), "PATH": "", "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('true "3.'), done.stdout
