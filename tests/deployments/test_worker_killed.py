"""A real worker process, killed in the middle of inception, and the one that comes after it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deployments.up import PREFECT_SETTINGS
from inventory.life import HostState
from inventory.models import Proxy, StepState
from lab.doubles.dns import DnsFault
from lab.doubles.serve import served
from serving.arrival import Arrival, Kind, Marked
from tests.deployments.conftest import Prefect
from tests.flows.bench import Bench

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
START_SECONDS = 60
TAKE_OVER_SECONDS = 60


@asynccontextmanager
async def worker(
    bench: Bench, prefect_api: str, place: Path, name: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """``rackrise worker`` as ``rackrise up`` starts it; killed at the end if it still runs."""
    ready = place / f"{name}.ready"
    settings = {
        **PREFECT_SETTINGS,
        "PREFECT_HOME": str(place / "prefect"),
        "PREFECT_API_URL": prefect_api,
        "RACKRISE_DATABASE_URL": bench.database.url,
        "RACKRISE_TOKEN_KEY": "k" * 32,
        "RACKRISE_WORKER_NAME": name,
        "RACKRISE_READY_FILE": str(ready),
    }
    log = place / f"{name}.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "worker"),
            cwd=ROOT,
            env={**os.environ, **settings},
            stdout=out,
            stderr=out,
        )
    try:
        async with asyncio.timeout(START_SECONDS):
            while not ready.exists():
                assert process.returncode is None, log.read_text()[-2000:]
                await asyncio.sleep(0.1)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_killed_worker_is_followed_by_one_that_ends_with_one_of_each(
    bench: Bench, prefect: Prefect, prefect_api: str, tmp_path: Path
) -> None:
    name = await bench.selected(1)
    bench.dns.fault = DnsFault.SILENT
    # An outside system like the others, so it outlives the worker.
    proxy_app = Marked(bench.proxy_app, Arrival(Kind.IN_PROCESS))
    async with served(proxy_app) as url:
        await bench.change(Proxy, url=url.rstrip("/"), host_url=url.rstrip("/"))
        async with worker(bench, prefect_api, tmp_path, "first") as first:
            async with asyncio.timeout(START_SECONDS):
                while (await bench.steps(name))[14].state is not StepState.RUNNING:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            first.send_signal(signal.SIGKILL)
            await first.wait()
        changes = bench.dhcp.commands["config-set"]
        assert (await bench.host(name)).state is HostState.PREPARING
        bench.dns.fault = DnsFault.NONE
        async with (
            worker(bench, prefect_api, tmp_path, "second"),
            asyncio.timeout(TAKE_OVER_SECONDS),
        ):
            while (await bench.steps(name))[17].state is not StepState.DONE:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await bench.one_of_each(name, 1)
        assert bench.dhcp.commands["config-set"] == changes
        assert (await bench.steps(name))[12].attempts == 1
