"""What arrow 11 costs: kernel and initrd from Pulp, the first time and when they are there.

    python -m benchmarks.boot_files [--hosts 6] [--megabytes 110] [--real]

Runs the whole product on a simulated site, with a real Pulp or its double, switches its hosts on
one after another, and prints how long arrow 11 took for each, beside the machine. What Pulp is
asked for the choice of the tree belongs to arrows 9 and 10, and is printed with them. The initrd is
as large as a real one, because all of it must be proven whole before a host restarts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlmodel import col, select

from deployments.up import up
from inventory.database import Sessions, make_engine, make_sessions
from inventory.fleet import everyone
from inventory.models import Build, Interface, Step, StepState
from lab.content import fill_pulp
from lab.demo import data_directory
from lab.process import until
from lab.servers.pulp import pulp
from lab.simulated import Pace, SimulatedSite, simulated_site

LIMIT_MS = 300.0
"""What arrow 11 may cost when the files are there."""
HOST_SECONDS = 120.0
PACE = Pace(firmware=(0, 0.1), discovery=(0, 0.1), install=(0, 0.1), boot=(0, 0.1))


@dataclass(frozen=True)
class Taken:
    """Milliseconds of one host's arrows."""

    chosen: float
    """9 and 10: the tree is looked up and pinned, the boot configuration is written."""
    fetched: float
    """11: kernel and initrd."""


async def run(hosts: int, megabytes: int, *, real: bool) -> list[Taken]:
    """What each host took, in their order."""
    async with AsyncExitStack() as stack:
        data = stack.enter_context(data_directory())
        server = await stack.enter_async_context(pulp(_below(data))) if real else None
        site = await stack.enter_async_context(
            simulated_site(
                hosts,
                pace=PACE,
                with_pulp=not real,
                pulp_url=server.url if server else None,
                initrd_bytes=megabytes << 20,
            )
        )
        here = await stack.enter_async_context(up(site.place(data)))
        engine = make_engine(here.environment["RACKRISE_DATABASE_URL"], pool_size=2)
        stack.push_async_callback(engine.dispose)
        source = server or site.pulp
        if source is None:
            raise RuntimeError("the site has no Pulp")
        settings = source.settings()
        await fill_pulp(
            here.environment,
            user=settings.user,
            password=settings.password.get_secret_value(),
            api_url=here.environment["PREFECT_API_URL"],
        )
        return [await _take_one(site, make_sessions(engine), n) for n in range(hosts)]


def _below(data: Path) -> Path:
    directory = data / "pulp"
    directory.mkdir()
    return directory


async def _take_one(site: SimulatedSite, sessions: Sessions, number: int) -> Taken:
    host = site.hosts[number]
    await host.power_on()

    async def rebooted() -> bool:
        async with sessions() as session:
            held = [one.held_reason for one in await everyone(session) if one.held_reason]
        if held:
            raise RuntimeError(f"a host is held: {held[0]}")
        step = await _step(sessions, host.mac, 17)
        return step is not None and step.state is StepState.DONE

    await until(rebooted, what=f"host {number} restarts", deadline=HOST_SECONDS, every=0.1)
    await host.power_off()
    return Taken(
        chosen=_milliseconds(await _step(sessions, host.mac, 9)),
        fetched=_milliseconds(await _step(sessions, host.mac, 11)),
    )


def _milliseconds(step: Step | None) -> float:
    if step is None or step.started_at is None or step.ended_at is None:
        raise RuntimeError(f"a host has restarted without an arrow: {step}")
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
    parser.add_argument("--real", action="store_true", help="a real Pulp, not its double")
    options = parser.parse_args()
    first, *later = asyncio.run(run(options.hosts, options.megabytes, real=options.real))
    print(
        f"{platform.machine()}, {psutil.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, initrd of {options.megabytes} MB, "
        f"{'a real Pulp' if options.real else 'Pulp is a double'}"
    )
    there = [one.fetched for one in later]
    chosen = [one.chosen for one in later]
    middle = statistics.median(there)
    print(f"arrow 11, files fetched:     {first.fetched:7.0f} ms")
    print(f"arrow 11, files there:       {middle:7.0f} ms median, {max(there):.0f} ms at most")
    print(f"arrows 9 and 10, pin made:   {first.chosen:7.0f} ms")
    print(
        f"arrows 9 and 10, pin there:  {statistics.median(chosen):7.0f} ms median, "
        f"{max(chosen):.0f} ms at most"
    )
    return 1 if middle >= LIMIT_MS else 0


if __name__ == "__main__":
    sys.exit(main())
