"""A simulated site whose programs are killed, again and again, while its hosts are on their way."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from ipaddress import IPv4Address

import pytest
from sqlmodel import col, select

from deployments.up import up
from inventory.database import Sessions, make_engine, make_sessions
from inventory.models import Callback, CallbackKind, Effect, EffectState
from lab.demo import data_directory
from lab.process import until
from lab.simulated import Pace, SimulatedSite, simulated_site
from tests.chaos.programs import kill, live, reasons, started_again, states
from tests.marked import MARK, marked

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

SEED = 6
HOSTS = 12
PACE = Pace(firmware=(0.5, 2), discovery=(0, 1), install=(1, 6), boot=(0, 1))
KILLS = ("worker", "gateway", "prefect", "postgres", "worker", "gateway", "postgres", "worker")
"""Programs in the order of their deaths; each is started again by ``rackrise up`` itself."""
SECONDS = 240.0


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
            assert marked(mark), "the mark marks nothing"
            for host in site.hosts:
                await host.power_on()
            for name in KILLS:
                await asyncio.sleep(chance.uniform(0.5, 4))
                print(f"{name} killed while {dict(await states(sessions))}")
                was = await kill(here, name)
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
    assert marked(mark) == []


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
