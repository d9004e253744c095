"""Shells complete names of hosts and groups, and are silent when there is no inventory."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.completion import group_names, host_names
from tests.conftest import Database
from tests.inventory.world import discovered, make_group

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def known(database: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    """A host and a group; returns the host's name."""
    monkeypatch.setenv("RACKRISE_DATABASE_URL", database.url)
    async with database.sessions.begin() as session:
        await make_group(session)
    host, _ = await discovered(database.sessions)
    return host.name


async def test_names_that_begin_so_are_offered(known: str) -> None:
    assert await asyncio.to_thread(host_names, known[:5]) == [known]
    assert await asyncio.to_thread(host_names, known[:5].upper()) == [known]
    assert await asyncio.to_thread(host_names, "%") == []
    assert await asyncio.to_thread(group_names, "we") == ["web"]


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "no url at all", ""])
async def test_without_an_inventory_nothing_is_said(
    url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RACKRISE_DATABASE_URL", url)
    began = time.monotonic()
    assert await asyncio.to_thread(host_names, "") == []
    assert time.monotonic() - began < 10
    assert capfd.readouterr() == ("", "")


_AS_SHELLS_ASK = {
    "bash": {"COMP_WORDS": "rackrise hosts show {0}", "COMP_CWORD": "3"},
    "zsh": {"_TYPER_COMPLETE_ARGS": "rackrise hosts show {0}"},
    "fish": {
        "_TYPER_COMPLETE_ARGS": "rackrise hosts show {0}",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    },
}
_PROGRAM = "import sys; sys.argv[0] = 'rackrise'; from cli.main import main; main()"


async def _rackrise(*words: str, **environment: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _PROGRAM, *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_each_shell_is_given_a_script_that_brings_names(known: str, shell: str) -> None:
    off = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = await _rackrise("--show-completion", shell, **off)
    assert "_RACKRISE_COMPLETE" in script
    asked = {name: words.format(known[:4]) for name, words in _AS_SHELLS_ASK[shell].items()}
    offered = await _rackrise(_RACKRISE_COMPLETE=f"complete_{shell}", **asked)
    assert known in offered
