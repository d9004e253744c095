"""A boot root whose disk is full: nobody boots half a file; with room again the host goes on."""

from __future__ import annotations

import asyncio
import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.inception import inception
from inventory.arrows import Phase
from inventory.life import HostState
from tasks.company import NothingDone
from tests.flows.bench import Bench

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("bare")]


@pytest.fixture
def filler(bench: Bench) -> Iterator[Path]:
    """The bench's boot root becomes a small file system of its own, with nothing left in it."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k,mode=755", "none", bench.root], check=True
    )
    try:
        yield fill(bench.root)
    finally:
        subprocess.run(["umount", "--lazy", bench.root], check=True)


def fill(root: Path) -> Path:
    """Write until there is no room; returns the file that takes it."""
    taken = root / "somebody-elses-file"
    with taken.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return taken


async def test_a_full_boot_root_holds_the_host_until_there_is_room(
    bench: Bench, filler: Path
) -> None:
    name = await bench.selected(1)
    with pytest.raises(NothingDone):
        await inception.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.HELD
    build = await bench.build(name)
    assert "No space left on device" in (build.held_reason or "")
    assert not bench.images.reboots
    assert [one for one in bench.root.rglob("*") if one.is_file()] == [filler]
    await asyncio.to_thread(filler.unlink)
    assert await bench.retry(name) is Phase.INCEPTION
    await inception.fn(hosts=[name], company=await bench.company(name))
    assert (await bench.host(name)).state is HostState.REBOOTING
    assert len(bench.boot_configs()) == 1
