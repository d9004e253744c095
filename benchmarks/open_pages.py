"""What two hundred open pages of the console cost hosts, and how soon they show a change.

    python -m benchmarks.open_pages [--pages 200] [--hosts 5000] [--rounds 6] [--calls 50]

Starts an embedded PostgreSQL, one gateway as a process of its own, and a process that holds the
open pages: three of five show a part of the fleet, among it the hosts that call, the others one
host each. Rounds with and without open pages take turns, so that whatever else the machine does
meets both. In each, hosts call for facts, kickstart and built at a steady pace. Printed are the
waits of hosts, the gateway's processor time for a call with all that it entails, and how long after
``built`` was sent a page that shows the host has it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx
import psutil
from sqlmodel import col, select

from benchmarks.callback_latency import facts
from benchmarks.fleet_page import (
    Gateway,
    Waits,
    add_people,
    browser,
    fill,
    gateway,
    inventory,
    machine,
)
from inventory.builds import current_build, keep_token, keep_tree, set_group
from inventory.database import Sessions, make_engine, make_sessions
from inventory.hosts import move
from inventory.life import Event, HostState
from inventory.models import Host, HostGroup, Interface, now

MOST_RATIO = 1.1
"""Of the median wait with open pages to that without: what is less is noise on a small machine."""
SHOWN_MS = 1000.0
"""Within which an open page shows a change."""
PACE_SECONDS = 0.25
"""Between two hosts, each of which calls three times."""
OPEN_SECONDS = 120.0
SHOWN = 100
_KINDS = ("facts", "provision", "built")


@dataclass(frozen=True)
class Caller:
    """A host that is discovered, and calls."""

    id: int
    mac: str


@dataclass
class Half:
    """The rounds with open pages, or those without."""

    pages: int
    waits: dict[str, Waits] = field(default_factory=lambda: {one: Waits(one) for one in _KINDS})
    cpu: float = 0.0
    """Milliseconds of the gateway's processor time."""
    shown: Waits = field(default_factory=lambda: Waits("shown"))

    def lines(self) -> list[str]:
        """Its rows of the table."""
        calls = sum(len(one.values) for one in self.waits.values())
        lines = [
            f"{self.pages:>5} pages  {one.line(0.5, 0.95, 0.99)}" for one in self.waits.values()
        ]
        lines.append(
            f"{self.pages:>5} pages  gateway's processor time a call {self.cpu / calls:.1f} ms"
        )
        return lines


async def read(console_url: str, pages: Sequence[tuple[str, str]]) -> None:
    """Hold pages open, as a process of its own; tells on stdout when all are there, and what came.

    Args:
        console_url: of the gateway.
        pages: a cookie and a path for each.
    """
    host, _, port = console_url.removeprefix("http://").partition(":")
    came: list[tuple[int, int, float]] = []
    last = [0.0] * len(pages)

    async def follow(number: int, cookie: str, path: str) -> None:
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**22)
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n"
        writer.write(head.encode())
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"{path}: {status!r}")
        while True:
            piece = await reader.readuntil(b"\n\n")
            if b"event: piece" not in piece:
                continue
            last[number] = time.monotonic()
            shown = re.search(rb'id="host-(\d+)"', piece) or re.search(
                rb"hosts/(\d+)", path.encode()
            )
            if shown is not None and b">installed<" in piece:
                came.append((number, int(shown.group(1)), last[number]))

    following = [asyncio.create_task(follow(n, *one)) for n, one in enumerate(pages)]
    while not all(last) or time.monotonic() - max(last) < 2:
        for one in following:
            if one.done():
                one.result()
        await asyncio.sleep(0.1)
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for one in following:
        one.cancel()
    print(json.dumps(came))


@asynccontextmanager
async def open_pages(
    served: Gateway, pages: Sequence[tuple[str, str]], came: list[tuple[int, int, float]]
) -> AsyncIterator[None]:
    """Pages that are open while the block lasts; what came is added to ``came`` at its end."""
    code = (
        "import asyncio, json, sys; from benchmarks.open_pages import read; "
        "asyncio.run(read(sys.argv[1], json.loads(sys.stdin.readline())))"
    )
    pipe = asyncio.subprocess.PIPE
    reader = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        served.console_url,
        stdin=pipe,
        stdout=pipe,
        limit=2**26,
    )
    try:
        if reader.stdin is None or reader.stdout is None:
            raise RuntimeError("a process without its pipes")
        # An argument may be no longer than 128 KiB, and two hundred addresses are.
        reader.stdin.write(json.dumps(pages).encode() + b"\n")
        async with asyncio.timeout(OPEN_SECONDS):
            if await reader.stdout.readline() != b"open\n":
                raise RuntimeError("the pages did not open")
        yield
        reader.stdin.close()
        async with asyncio.timeout(OPEN_SECONDS):
            came += [tuple(one) for one in json.loads(await reader.stdout.readline())]
            await reader.wait()
    finally:
        with suppress(ProcessLookupError):
            reader.kill()
        await reader.wait()


async def paths_of(sessions: Sessions, callers: Sequence[Caller], count: int) -> list[str]:
    """What the open pages follow: half of those of the fleet show hosts that call."""
    async with sessions() as session:
        all_ids = list(await session.exec(select(Host.id).order_by(Host.name)))
    calling = [one.id for one in callers]
    paths = []
    for number in range(count):
        ids = calling if number % 2 else all_ids
        begin = number * SHOWN % max(1, len(ids) - SHOWN)
        if number % 5 < 3:
            asked = "&".join(f"host={one}" for one in ids[begin : begin + SHOWN])
            paths.append(f"/live/fleet?state=&trouble=false&{asked}")
        else:
            paths.append(f"/live/hosts/{ids[number % len(ids)]}")
    return paths


async def find_callers(sessions: Sessions) -> list[Caller]:
    """All hosts that are discovered and may be provisioned."""
    async with sessions() as session:
        found = await session.exec(
            select(Host.id, Interface.mac)
            .join(Interface, col(Interface.host_id) == col(Host.id))
            .where(Host.state == HostState.DISCOVERED)
            .order_by(Host.name)
        )
        return [Caller(host, mac) for host, mac in found]


async def make_ready(sessions: Sessions, caller: Caller) -> None:
    """Take a discovered host to where it boots its installer."""
    async with sessions.begin() as session:
        host = await session.get_one(Host, caller.id)
        build = await current_build(session, host.id)
        group = (await session.exec(select(HostGroup).order_by(HostGroup.name).limit(1))).one()
        if build is None:
            raise RuntimeError(f"{host.name} has no build")
        await set_group(session, build, group, "benchmark")
        await keep_token(session, build, f"token-{host.id}")
        await keep_tree(session, build, "http://192.0.2.1/tree")
        for event in (Event.SELECT, Event.PREPARE, Event.REBOOT):
            await move(session, host, event, now())


async def call(
    client: httpx.AsyncClient, sessions: Sessions, callers: Sequence[Caller], half: Half
) -> dict[int, float]:
    """Have hosts call at a steady pace; when each sent its last."""
    sent: dict[int, float] = {}
    clock = time.monotonic
    begun = clock()

    async def measured(kind: str, request: Awaitable[httpx.Response]) -> None:
        began = clock()
        (await request).raise_for_status()
        half.waits[kind].values.append((clock() - began) * 1000)

    for number, one in enumerate(callers):
        await asyncio.sleep(max(0.0, begun + number * PACE_SECONDS - clock()))
        told = facts(number, 80) | {"discovery_bootif": one.mac, "macaddress_eth0": one.mac}
        await measured("facts", client.post("/api/v2/discovered_hosts/facts", json={"facts": told}))
        await make_ready(sessions, one)
        query = {"token": f"token-{one.id}"}
        await measured("provision", client.get("/unattended/provision", params=query))
        sent[one.id] = clock()
        await measured("built", client.post("/unattended/built", params=query))
    return sent


def worked(process: psutil.Process) -> float:
    """Milliseconds of processor time so far."""
    times = process.cpu_times()
    return 1000 * (times.user + times.system)


async def measure(
    sessions: Sessions, served: Gateway, options: argparse.Namespace
) -> tuple[Half, Half]:
    """All rounds, with pages and without in turn."""
    await add_people(sessions)
    callers = await find_callers(sessions)
    if len(callers) < options.rounds * options.calls:
        raise SystemExit(
            f"{len(callers)} of {options.hosts} hosts are discovered, too few for {options.rounds} "
            f"rounds of {options.calls}: raise --hosts"
        )
    cookies = []
    for name in ("ada", "bob"):
        async with browser(served.console_url, name) as client:
            cookies.append("; ".join(f"{key}={value}" for key, value in client.cookies.items()))
    paths = await paths_of(sessions, callers, options.pages)
    # Whoever is limited sees no host that calls at the other sites: one page of four is theirs.
    # A host's page would end for them.
    pages = [
        (cookies[number % 4 == 0 and "fleet" in path], path) for number, path in enumerate(paths)
    ]
    without, with_pages = Half(0), Half(options.pages)
    async with httpx.AsyncClient(base_url=served.hosts_url, timeout=10) as client:
        for number in range(options.rounds):
            some = callers[number * options.calls : (number + 1) * options.calls]
            if number % 2:
                came: list[tuple[int, int, float]] = []
                async with open_pages(served, pages, came):
                    sent = await _timed(client, sessions, some, with_pages, served)
                _shown(with_pages, sent, came)
            else:
                await _timed(client, sessions, some, without, served)
    return without, with_pages


async def _timed(
    client: httpx.AsyncClient,
    sessions: Sessions,
    callers: Sequence[Caller],
    half: Half,
    served: Gateway,
) -> dict[int, float]:
    before = worked(served.process)
    sent = await call(client, sessions, callers, half)
    # What is still to be shown belongs to it.
    await asyncio.sleep(2)
    half.cpu += worked(served.process) - before
    return sent


def _shown(half: Half, sent: dict[int, float], came: Sequence[tuple[int, int, float]]) -> None:
    first: dict[tuple[int, int], float] = {}
    for page, host, at in came:
        if host in sent:
            first.setdefault((page, host), at)
    half.shown.values += [(at - sent[host]) * 1000 for (_, host), at in first.items()]


async def run(options: argparse.Namespace) -> tuple[Half, Half]:
    """Start everything, measure, stop everything."""
    # Durable, as in production: a callback is answered only when it is on the disk.
    async with inventory(durable=True) as url:
        engine = make_engine(url)
        try:
            sessions = make_sessions(engine)
            await fill(sessions, options.hosts)
            async with gateway(url) as served:
                return await measure(sessions, served, options)
        finally:
            await engine.dispose()


def main() -> int:
    """Print the table; 1 where pages cost hosts something, or show a change too late."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--hosts", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--calls", type=int, default=50, help="hosts that call in a round")
    options = parser.parse_args()
    # A pause of this process would count as the gateway's.
    gc.collect()
    gc.freeze()
    halves = asyncio.run(run(options))
    print(
        f"{machine()}, {options.hosts} hosts, {options.rounds} rounds of "
        f"{options.calls} hosts, {3 / PACE_SECONDS:.0f} calls a second"
    )
    print(f"{'milliseconds':<22}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}")
    for half in halves:
        print(*half.lines(), sep="\n")
    shown = halves[1].shown
    if not shown.values:
        print("no open page showed a change")
        return 1
    print(f"from `built` to a page that shows it, {len(shown.values)} times:")
    print(f"             {shown.line(0.5, 0.95, 0.99)}")
    too_much = _judge(*halves)
    print(*too_much, sep="\n")
    return 1 if too_much else 0


def _judge(without: Half, with_pages: Half) -> list[str]:
    """Print what the pages cost, as ratios within this run; says what is too much."""
    said = []
    for kind, before in without.waits.items():
        after = with_pages.waits[kind]
        ratios = [after.part(share) / before.part(share) for share in (0.5, 0.95)]
        print(f"{kind}: with pages {ratios[0]:.2f} times at p50, {ratios[1]:.2f} times at p95")
        if ratios[0] > MOST_RATIO:
            said.append(f"{kind} waits {ratios[0]:.2f} times as long with pages open")
    late = with_pages.shown.part(0.95)
    if late >= SHOWN_MS:
        said.append(f"a change is seen after {late:.0f} ms at p95, and should be in {SHOWN_MS:.0f}")
    return said


if __name__ == "__main__":
    sys.exit(main())
