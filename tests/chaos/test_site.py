"""A simulated site whose programs are killed, again and again, while its hosts are on their way."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from ipaddress import IPv4Address

import psutil
import pytest
from sqlmodel import col, select

from deployments.up import Up, up
from inventory.database import Sessions, make_engine, make_sessions
from inventory.models import Callback, CallbackKind, Claim, Effect, EffectState
from inventory.overview import fleet
from lab.demo import data_directory
from lab.process import until
from lab.simulated import Pace, SimulatedSite, simulated_site

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

SEED = 6
HOSTS = 12
PACE = Pace(firmware=(0.5, 2), discovery=(0, 1), install=(1, 6), boot=(0, 1))
KILLS = ("worker", "gateway", "prefect", "worker", "gateway", "worker")
"""Programs in the order of their deaths; each is started again by ``rackrise up`` itself."""
SECONDS = 240.0
MARK = "RACKRISE_CHAOS_MARK"


async def states(sessions: Sessions) -> Counter[str]:
    """How many hosts are where."""
    async with sessions() as session:
        return Counter(one.state for one in await fleet(session))


async def kill(here: Up, name: str) -> int:
    """End a program as a power cut would; returns the id that it had."""
    pid = here.processes()[name]
    os.kill(pid, signal.SIGKILL)
    return pid


async def started_again(here: Up, name: str, before: int) -> None:
    """Wait until ``up`` has put another one in its place."""

    async def there() -> bool:
        return here.processes()[name] != before

    await until(there, what=f"{name} is started again", deadline=60, every=0.1)


async def test_all_hosts_arrive_though_every_program_is_killed_on_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    mark = f"{os.getpid()}-{SEED}"
    monkeypatch.setenv(MARK, mark)
    with data_directory() as data:
        async with (
            simulated_site(HOSTS, seed=SEED, pace=PACE) as site,
            up(site.place(data)) as here,
        ):
            engine = make_engine(here.environment["RACKRISE_DATABASE_URL"], pool_size=2)
            sessions = make_sessions(engine)
            for host in site.hosts:
                await host.power_on()
            for name in KILLS:
                await asyncio.sleep(chance.uniform(0.5, 4))
                was = await kill(here, name)
                print(f"{name} killed while {dict(await states(sessions))}")
                await started_again(here, name, was)

            async def arrived() -> bool:
                found = await states(sessions)
                assert not found["held"], await reasons(sessions)
                return found == {"in_operation": HOSTS}

            try:
                await until(arrived, what="all hosts arrive", deadline=SECONDS, every=0.5)
            except TimeoutError as error:
                pytest.fail(f"{error}: {await states(sessions)}; claims: {await live(sessions)}")
            await judge(site, sessions)
            await engine.dispose()
    assert left_behind(mark) == []


async def live(sessions: Sessions) -> list[str]:
    """The claims that nobody has ended, and who has them."""
    async with sessions() as session:
        found = await session.exec(select(Claim).where(col(Claim.ended_at).is_(None)))
        return [f"{one.phase} by {one.worker}, run {one.flow_run_id}" for one in found]


async def reasons(sessions: Sessions) -> list[str]:
    """Why hosts are held."""
    async with sessions() as session:
        return [f"{one.name}: {one.held_reason}" for one in await fleet(session)]


async def judge(site: SimulatedSite, sessions: Sessions) -> None:
    """One record of each kind for each host, made once by the servers' own logs, and none else."""
    macs = {one.mac for one in site.hosts}
    added = Counter(mac for done, mac in site.kea.changes if done == "added")
    assert added == dict.fromkeys(macs, 1)
    records = Counter((name, kind) for done, name, kind in site.dns.changes if done == "added")
    assert set(records.values()) == {1}
    assert Counter(kind for _, kind in records) == {"A": HOSTS, "PTR": HOSTS}
    assert not [one for one in site.kea.changes if one[0] == "removed"]
    assert not [one for one in site.dns.changes if one[0] == "removed"]
    addresses = [IPv4Address(one["ip-address"]) for one in site.kea.reservations]
    assert len(set(addresses)) == len(addresses) == HOSTS
    async with sessions() as session:
        effects = await session.exec(select(Effect.state))
        assert set(effects) == {EffectState.VERIFIED}
        waiting = select(Callback.kind).where(
            col(Callback.handled_at).is_(None), col(Callback.kind) == CallbackKind.REPORT
        )
        assert (await session.exec(waiting)).all() == []


def left_behind(mark: str) -> list[str]:
    """What still runs of all that was started here."""
    found = []
    for one in psutil.process_iter():
        try:
            if one.pid != os.getpid() and one.environ().get(MARK) == mark:
                found.append(" ".join(one.cmdline()))
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found
