"""What arrow 11 costs: kernel and initrd from Pulp, the first time and when they are there.

    python -m benchmarks.boot_files [--hosts 6] [--megabytes 110]

Runs the whole product on a simulated site with Pulp's double, switches its hosts on one after
another, and prints how long arrow 11 took for each, beside the machine. The initrd is as large as a
real one, because all of it must be proven whole before a host restarts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
from contextlib import AsyncExitStack

import psutil
from sqlmodel import col, select

from deployments.up import up
from inventory.database import Sessions, make_engine, make_sessions
from inventory.models import Build, Interface, Step, StepState
from lab.content import fill_pulp
from lab.demo import data_directory
from lab.process import until
from lab.simulated import Pace, SimulatedSite, simulated_site

LIMIT_MS = 300.0
"""What arrow 11 may cost when the files are there."""
HOST_SECONDS = 120.0
PACE = Pace(firmware=(0, 0.1), discovery=(0, 0.1), install=(0, 0.1), boot=(0, 0.1))


async def run(hosts: int, megabytes: int) -> list[float]:
    """Milliseconds of arrow 11 for each host, in their order."""
    async with AsyncExitStack() as stack:
        data = stack.enter_context(data_directory())
        site = await stack.enter_async_context(
            simulated_site(hosts, pace=PACE, with_pulp=True, initrd_bytes=megabytes << 20)
        )
        here = await stack.enter_async_context(up(site.place(data)))
        engine = make_engine(here.environment["RACKRISE_DATABASE_URL"], pool_size=2)
        stack.push_async_callback(engine.dispose)
        if site.pulp is None:
            raise RuntimeError("the site has no Pulp")
        user, (password, _) = next(iter(site.pulp.users.items()))
        api_url = here.environment["PREFECT_API_URL"]
        await fill_pulp(here.environment, user=user, password=password, api_url=api_url)
        return [await _take_one(site, make_sessions(engine), n) for n in range(hosts)]


async def _take_one(site: SimulatedSite, sessions: Sessions, number: int) -> float:
    host = site.hosts[number]
    await host.power_on()

    async def rebooted() -> bool:
        step = await _step(sessions, host.mac, 17)
        return step is not None and step.state is StepState.DONE

    await until(rebooted, what=f"host {number} restarts", deadline=HOST_SECONDS, every=0.1)
    await host.power_off()
    step = await _step(sessions, host.mac, 11)
    if step is None or step.started_at is None or step.ended_at is None:
        raise RuntimeError(f"host {number} has restarted without its boot files: {step}")
    return (step.ended_at - step.started_at).total_seconds() * 1000


async def _step(sessions: Sessions, mac: str, number: int) -> Step | None:
    async with sessions() as session:
        found = await session.exec(
            select(Step)
            .join(Build, col(Build.id) == col(Step.build_id))
            .join(Interface, col(Interface.host_id) == col(Build.host_id))
            .where(col(Interface.mac) == mac, col(Step.number) == number)
        )
        return found.one_or_none()


def main() -> int:
    """Print the figures; 1 where arrow 11 costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hosts", type=int, default=6)
    parser.add_argument("--megabytes", type=int, default=110)
    options = parser.parse_args()
    first, *later = asyncio.run(run(options.hosts, options.megabytes))
    print(
        f"{platform.machine()}, {psutil.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, initrd of {options.megabytes} MB"
    )
    middle = statistics.median(later)
    print(f"arrow 11, files fetched:     {first:7.0f} ms")
    print(f"arrow 11, files there:       {middle:7.0f} ms median, {max(later):.0f} ms at most")
    return 1 if middle >= LIMIT_MS else 0


if __name__ == "__main__":
    sys.exit(main())
