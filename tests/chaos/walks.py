"""The parts of a host's life that faults strike, one flow each: how to get there, where it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sqlmodel import col, select

from inventory import consumers, hosts, orders, steps
from inventory.arrows import PROFILED, Evidence
from inventory.builds import certificate_token, registration_token
from inventory.life import HostState
from inventory.models import CallbackKind, Host, now
from inventory.puppet import keep_report
from tasks import desired
from tests.chaos.site import ENVIRONMENT, KEY, OWNER, ChaosSite, Worker
from tests.integrations.puppet.sites import csr, new_key

__all__ = ["WALKS", "Walk"]

KEYS = (new_key(), new_key())
"""Of a host's former life and its present one; made once, because that takes a while."""
SAMPLES = Path(__file__).parents[2].parent / "shared" / "contracts" / "puppet-samples"


@dataclass(frozen=True)
class Walk:
    """One flow, from where its hosts wait for it to where they are after it."""

    name: str
    prepare: Callable[[ChaosSite, Sequence[int]], Awaitable[list[str]]]
    """Takes the machines with these numbers there; returns their names."""
    goal: HostState
    generation: int = 1


async def _discovered(site: ChaosSite, numbers: Sequence[int]) -> list[str]:
    names = [await site.bench.discovered(number) for number in numbers]
    for name in names:
        await site.bench.told(name, CallbackKind.FACTS)
    return names


async def _selected(site: ChaosSite, numbers: Sequence[int]) -> list[str]:
    names = [await site.bench.selected(number) for number in numbers]
    if site.full:
        # What a former life has left at the CA and at Candlepin is in the way.
        for name in names:
            await site.submit(name, csr(name, key=KEYS[0]))
            await site.register(str(uuid4()), name)
    return names


async def _rebooting(site: ChaosSite, numbers: Sequence[int]) -> list[str]:
    names = await _selected(site, numbers)
    await Worker(site).settle()
    return names


async def _installed(site: ChaosSite, numbers: Sequence[int]) -> list[str]:
    names = await _rebooting(site, numbers)
    await _install(site, names)
    return names


async def _install(site: ChaosSite, names: Sequence[str]) -> None:
    """What the machines do by themselves."""
    for name in names:
        await site.bench.advance(name, HostState.INSTALLING)
        if site.full:
            await _joins(site, name)
        await site.bench.advance(name, HostState.INSTALLED)
        ip = (await site.bench.interface(name)).ip or ""
        await site.bench.told(name, CallbackKind.KICKSTART, remote=ip)
        await site.bench.told(name, CallbackKind.BUILT, remote=ip)


async def _joins(site: ChaosSite, name: str) -> None:
    """An installer asks for its certificate, and registers through the front."""
    build = await site.bench.build(name)
    token = desired.build_token(site.bench.means.token_key, build.id)
    await site.submit(name, csr(name, token=certificate_token(token), key=KEYS[1]))
    async with site.bench.database.sessions.begin() as session:
        registration = await consumers.admit(
            session,
            candlepin_url=site.candlepin.url,
            name=name,
            owner=OWNER,
            keys=[KEY, registration_token(token)],
            at=now(),
        )
    await site.register(registration.uuid, name, environments=[ENVIRONMENT])
    async with site.bench.database.sessions.begin() as session:
        await consumers.registered(session, registration, now())


async def _reporting(site: ChaosSite, numbers: Sequence[int]) -> list[str]:
    names = await _installed(site, numbers)
    await Worker(site).settle()
    await _report(site, names)
    return names


async def _report(site: ChaosSite, names: Sequence[str]) -> None:
    sample = (SAMPLES / "report.unchanged.n1.http.yaml").read_text() if site.full else ""
    for name in names:
        ip = (await site.bench.interface(name)).ip or ""
        await site.bench.told(name, CallbackKind.REPORT, remote=ip)
        if not site.full:
            continue
        build = await site.bench.build(name)
        async with site.bench.database.sessions.begin() as session:
            await steps.finish(
                session, build.id, PROFILED, evidence=Evidence.OBSERVED, seen="told", at=now()
            )
            host = await hosts.named(session, name)
            body = sample.replace("n1.lab.test", name)
            await keep_report(session, host, name, body, source="main", at=now())


async def _in_operation(site: ChaosSite, numbers: Sequence[int]) -> list[str]:
    names = await _reporting(site, numbers)
    await Worker(site).settle()
    return names


async def _cancelled(site: ChaosSite, numbers: Sequence[int]) -> list[str]:
    names = await _installed(site, numbers)
    async with site.bench.database.sessions.begin() as session:
        for name in names:
            await orders.cancel(session, await hosts.named(session, name), why="chaos", at=now())
    return names


async def _leaving(site: ChaosSite, numbers: Sequence[int]) -> list[str]:
    names = await _in_operation(site, numbers)
    async with site.bench.database.sessions.begin() as session:
        for name in names:
            host = await hosts.named(session, name)
            await orders.decommission(session, host, asked_by="chaos", at=now())
    return names


async def _rebuilt(site: ChaosSite, numbers: Sequence[int]) -> list[str]:
    names = await _in_operation(site, numbers)
    async with site.bench.database.sessions.begin() as session:
        for name in names:
            host = await hosts.named(session, name)
            await orders.rebuild(session, host, None, asked_by="chaos", at=now())
    return names


WALKS = (
    Walk("discovery-intake", _discovered, HostState.DISCOVERED),
    Walk("inception", _selected, HostState.REBOOTING),
    Walk("anaconda-build", _installed, HostState.FIRST_BOOT),
    Walk("first-boot", _reporting, HostState.IN_OPERATION),
    Walk("cancel", _cancelled, HostState.CANCELLED),
    Walk("rebuild", _rebuilt, HostState.REBOOTING, generation=2),
    Walk("decommission", _leaving, HostState.RETIRED, generation=2),
)


async def states(site: ChaosSite) -> list[HostState]:
    """Where all hosts are."""
    async with site.bench.database.sessions() as session:
        found = await session.exec(select(Host).order_by(col(Host.id)))
        return [one.state for one in found]
