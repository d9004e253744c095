"""A machine of the real site, on whose way each program is killed at the worst moment."""

from __future__ import annotations

import os
import tempfile
from contextlib import AsyncExitStack
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeAlias

import pytest
from sqlmodel import select

from deployments.up import up
from inventory.database import Sessions, make_engine, make_sessions
from inventory.models import Build, Effect, EffectState, Host
from lab.demo import data_directory
from lab.images import build as build_images
from lab.process import until
from lab.qemu import Machine
from lab.reach import reach
from lab.real import DOMAIN, REVERSE, RealSite, real_site
from tests.chaos.programs import kill, live, reasons, started_again, states
from tests.lab.real_world import records, reservations
from tests.marked import MARK, marked

pytestmark = [pytest.mark.machines, pytest.mark.timeout(900)]

Records: TypeAlias = dict[str, list[str]]
SECONDS = 400.0
DEATHS = {
    "discovered": ("worker", "gateway"),
    "preparing": ("worker",),
    "rebooting": ("gateway", "prefect"),
    "installing": ("postgres", "gateway"),
    "installed": ("worker", "postgres"),
    "first_boot": ("prefect", "worker", "gateway"),
}
"""Who dies together when the machine is first seen in a state."""


async def test_a_machine_arrives_though_programs_are_killed_in_each_part_of_its_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    namespace, images = f"rr-{os.getpid()}-chaos", await build_images()
    monkeypatch.setenv(MARK, namespace)
    async with AsyncExitStack() as stack:
        data = stack.enter_context(data_directory())
        # Sockets lie in it, and their paths must be short.
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="rr-", dir="/var/lib"))
        site = await stack.enter_async_context(
            real_site(Path(directory), images, name=namespace, dhcp="kea")
        )
        here = await stack.enter_async_context(up(site.place(data)))
        engine = make_engine(here.environment["RACKRISE_DATABASE_URL"], pool_size=2)
        stack.push_async_callback(engine.dispose)
        sessions = make_sessions(engine)
        assert marked(namespace), "the mark marks nothing"
        (machine,) = site.machines
        before = await in_dns(site)
        machine.power_on()
        died: dict[str, tuple[str, ...]] = {}

        async def arrived() -> bool:
            found = await states(sessions)
            assert not found["held"], await reasons(sessions)
            for state in found.keys() & DEATHS.keys() - died.keys():
                died[state] = DEATHS[state]
                were = {name: await kill(here, name) for name in DEATHS[state]}
                print(f"{', '.join(were)} killed while the machine was {state}")
                for name, pid in were.items():
                    await started_again(here, name, pid)
            return found == {"in_operation": 1}

        try:
            await until(arrived, what="the machine arrives", deadline=SECONDS, every=0.02)
        except TimeoutError as error:
            pytest.fail(
                f"{error}: {await states(sessions)}; claims: {await live(sessions)};"
                f" its console ends with:\n{machine.tail(40)}"
            )
        # The others are short, and may be over before they are seen.
        assert died.keys() >= {"rebooting", "installing"}
        await judge(site, machine, sessions, before)
    assert marked(namespace) == []


async def judge(site: RealSite, machine: Machine, sessions: Sessions, before: Records) -> None:
    """One record of each kind, written once by the servers' own count, and none besides."""
    async with sessions() as session:
        (host,) = (await session.exec(select(Host))).all()
        (build,) = (await session.exec(select(Build))).all()
        effects = await session.exec(select(Effect.state))
        assert set(effects) == {EffectState.VERIFIED}
    ((mac, ip),) = reservations(site.dhcp)
    assert mac == machine.mac
    assert build.generation == 1
    # A zone's serial grows by one with each change of it.
    expected = {
        key: [str(int(one[0]) + 1)] if key.endswith(" serial") else one
        for key, one in before.items()
    }
    expected[f"{host.name} A"] = [ip]
    expected[f"{IPv4Address(ip).reverse_pointer} PTR"] = [host.name]
    assert await in_dns(site) == expected


async def in_dns(site: RealSite) -> Records:
    """What the zones hold."""
    async with reach(site.namespace, site.dns.port, site.dns.address) as port:
        return await records((DOMAIN, REVERSE), port)
