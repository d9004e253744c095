"""A worker that dies or sleeps at any point of inception: another ends it, once."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from flows.inception import inception
from integrations.smart_proxy import SmartProxy
from inventory import claims, retries
from inventory.arrows import Phase
from inventory.database import AsyncSession, Sessions
from inventory.models import Subnet, now
from tasks.company import NothingDone
from tasks.means import Means, use
from tests.flows.bench import Bench

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("bare")]

WRITES = (
    "unused_ip",
    "write_boot_config",
    "fetch_boot_file",
    "reserve",
    "add_dns",
    "discovery_reboot",
)
"""Of the proxy: what changes something outside."""
REMOVALS = ("release", "remove_dns", "remove_boot_config")
"""Likewise, on the way back."""


class Killed(BaseException):
    """The process is gone: nothing of ours catches it."""


class Points:
    """Counts the points of a run, and does something at the one that is due."""

    def __init__(self, due: int, action: Callable[[], Awaitable[None]]) -> None:
        self._left = due
        self._action = action
        self.reached = ""

    async def pass_by(self, name: str) -> None:
        self._left -= 1
        if self._left == 0:
            self.reached = name
            await self._action()


class _Sessions:
    """Sessions whose every transaction is a point; inside of one, a kill is as if before it."""

    def __init__(self, sessions: Sessions, points: Points) -> None:
        self._sessions = sessions
        self._points = points

    def __call__(self) -> AsyncSession:
        return self._sessions()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        await self._points.pass_by("a transaction")
        async with self._sessions.begin() as session:
            yield session


class _Proxy:
    """A proxy client before and after whose every write is a point."""

    def __init__(self, client: SmartProxy, points: Points) -> None:
        self._client = client
        self._points = points

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name not in WRITES + REMOVALS:
            return method

        async def between(*given: Any) -> Any:
            await self._points.pass_by(f"before {name}")
            answer = await method(*given)
            await self._points.pass_by(f"after {name}")
            return answer

        return between

    def of(self, _: object) -> _Proxy:
        return self


def means_with(bench: Bench, points: Points, worker: str) -> Means:
    return replace(
        bench.means,
        sessions=_Sessions(bench.database.sessions, points),  # type: ignore[arg-type]
        proxies=_Proxy(bench.proxy, points),  # type: ignore[arg-type]
        worker=worker,
    )


async def claimed(bench: Bench, number: int) -> tuple[str, UUID]:
    """A selected host with a claim, as the dispatcher makes it."""
    name = await bench.selected(number)
    build = await bench.build(name)
    async with bench.database.sessions.begin() as session:
        await retries.start(session, Phase.INCEPTION, [build.id], at=now())
    # Each host's run fetches anew what the one before it had.
    shutil.rmtree(bench.root / "boot", ignore_errors=True)
    return name, await bench.company(name)


async def take_over(bench: Bench, name: str, company: UUID) -> None:
    """What the dispatcher beside another worker does with the claims of one that is dead."""
    async with bench.database.sessions.begin() as session:
        await claims.bury(session, now())

    async def elsewhere() -> None:
        use(replace(bench.means, worker="second"))
        await inception.fn(hosts=[name], company=company)

    await asyncio.create_task(elsewhere())


async def test_a_worker_killed_at_any_point_is_followed_by_one_that_ends_with_one_of_each(
    bench: Bench,
) -> None:
    await bench.change(Subnet, range_to="192.0.2.99")

    async def die() -> None:
        raise Killed

    killed_at = []
    for number in count(1):
        name, company = await claimed(bench, number)
        points = Points(number, die)
        use(means_with(bench, points, f"first/{number}"))
        try:
            await inception.fn(hosts=[name], company=company)
        except Killed:
            killed_at.append(points.reached)
        await take_over(bench, name, company)
        await bench.one_of_each(name, number)
        if not points.reached:
            break
    for write in WRITES:
        assert f"before {write}" in killed_at
        assert f"after {write}" in killed_at
    assert killed_at.count("a transaction") > 30
    assert len(bench.dhcp.reservations) == len(killed_at) + 1


async def test_a_worker_that_slept_until_it_was_buried_writes_nothing_more(bench: Bench) -> None:
    await bench.change(Subnet, range_to="192.0.2.99")
    slept_at = []
    # Every second point: what lies between two of them is hardly ever another way.
    for number, point in enumerate(count(1, 2), 1):
        name, company = await claimed(bench, number)
        seen: list[object] = []

        async def overtaken(
            name: str = name, company: UUID = company, seen: list[object] = seen
        ) -> None:
            await take_over(bench, name, company)
            seen.append(await _everything(bench, name))

        points = Points(point, overtaken)
        use(means_with(bench, points, f"first/{number}"))
        await inception.fn(hosts=[name], company=company)
        if not points.reached:
            break
        slept_at.append(points.reached)
        if not points.reached.startswith("before"):
            # Woken between intention and write it may write once more, and then the same.
            assert await _everything(bench, name) == seen[0], points.reached
        await bench.one_of_each(name, number)
    assert len(slept_at) > 20


async def test_a_worker_whose_lease_ran_out_writes_nothing_outside(bench: Bench) -> None:
    name, company = await claimed(bench, 1)
    use(replace(bench.means, lease_holds=lambda: False))
    with pytest.raises(NothingDone, match="longer than its lease lasts"):
        await inception.fn(hosts=[name], company=company)
    assert not bench.boot_configs()
    assert not bench.dhcp.reservations
    # It is no fault of a server, and goes by itself: retried, the host goes on.
    use(bench.means)
    await bench.retry(name)
    await inception.fn(hosts=[name], company=await bench.company(name))
    await bench.one_of_each(name, 1)


async def _everything(bench: Bench, name: str) -> tuple[object, ...]:
    files = {path.name: path.stat().st_mtime_ns for path in bench.boot_configs()}
    changes = bench.dhcp.commands["config-set"], bench.dns.updates
    steps = {number: (one.state, one.seen) for number, one in (await bench.steps(name)).items()}
    return files, changes, list(bench.images.reboots), steps, await bench.effects(name)
