"""The cache of build products: whole or not at all, and never built twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.cache import Cache, default_directory, key


async def fill(made: Path) -> None:
    (made / "file").write_text("content")


async def test_a_product_is_built_once_and_then_reused(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = await cache.product("thing", key("a"), fill)
    assert (first / "file").read_text() == "content"
    assert await cache.product("thing", key("a"), fill) == first
    assert [made.reused for made in cache.made] == [False, True]


async def test_another_key_is_another_product(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert await cache.product("thing", key("a"), fill) != await cache.product(
        "thing", key("b"), fill
    )


async def test_what_a_failed_builder_left_is_never_taken_for_the_product(tmp_path: Path) -> None:
    async def fail(made: Path) -> None:
        await fill(made)
        raise RuntimeError("no mirror")

    cache = Cache(tmp_path)
    with pytest.raises(RuntimeError, match="no mirror"):
        await cache.product("thing", key("a"), fail)
    assert not (tmp_path / "thing" / key("a")).exists()
    assert (await cache.product("thing", key("a"), fill) / "file").exists()


async def test_builders_in_several_processes_build_it_once(tmp_path: Path) -> None:
    program = """
import asyncio, sys, time
from pathlib import Path
from lab.cache import Cache

async def build(made):
    with open(sys.argv[2], "a") as built:
        built.write("x")
    await asyncio.sleep(0.3)
    (made / "file").write_text("content")

path = asyncio.run(Cache(Path(sys.argv[1])).product("thing", "k", build))
assert (path / "file").read_text() == "content"
"""
    built = tmp_path / "built"
    command = (sys.executable, "-c", program, str(tmp_path / "cache"), str(built))
    here = Path(__file__).parents[2]
    processes = [
        await asyncio.create_subprocess_exec(*command, cwd=here, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    ended = [await process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ended
    assert built.read_text() == "x"


async def test_waiting_for_another_builder_has_a_deadline(tmp_path: Path) -> None:
    started = asyncio.Event()

    async def for_ever(made: Path) -> None:
        started.set()
        await asyncio.Event().wait()

    slow = asyncio.create_task(Cache(tmp_path).product("thing", "k", for_ever))
    await started.wait()
    with pytest.raises(TimeoutError, match="another process builds"):
        await Cache(tmp_path).product("thing", "k", fill, deadline=0.2)
    slow.cancel()


async def test_products_that_nobody_asked_for_in_a_week_are_removed(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    old = await cache.product("thing", "old", fill)
    used = await cache.product("thing", "used", fill)
    for path in (old, used):
        os.utime(path, (0, time.time() - 8 * 24 * 3600))
    await cache.product("thing", "used", fill)
    await cache.product("thing", "new", fill)
    assert not old.exists()
    assert used.exists()


def test_a_key_depends_on_every_part_its_order_and_a_files_content(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    before = key("a", file)
    assert before == key("a", file) == key(b"a", "one")
    assert len({before, key(file, "a"), key("a"), key("ao", "ne"), key("aone")}) == 5
    file.write_text("two")
    assert key("a", file) != before


def test_the_cache_can_be_put_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RACKRISE_LAB_CACHE", raising=False)
    assert default_directory() == Path(__file__).parents[2] / ".cache" / "lab"
    monkeypatch.setenv("RACKRISE_LAB_CACHE", str(tmp_path))
    assert Cache().directory == tmp_path
