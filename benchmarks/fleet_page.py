"""How long the console's first page takes with ten thousand hosts, as people ask for it.

    python -m benchmarks.fleet_page [--hosts 10000] [--times 40]

Starts an embedded PostgreSQL and the gateway as a process of its own, as ``rackrise gateway`` does;
the inventory is filled with hosts in every state, with earlier builds and all their arrows. The
time is from the request to the first byte of the answer, signed in; medians and 95th percentiles
are printed beside the machine. 1 where a 95th percentile is above the limit.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import sqlalchemy as sa
from sqlmodel import col, select

from benchmarks.callback_latency import answering, make_site
from deployments.postgres import running_postgres
from inventory import people
from inventory.arrows import ARROWS
from inventory.database import Sessions, make_engine, make_sessions, migrate
from inventory.life import AT_WORK, HostState
from inventory.models import (
    Build,
    BuildOutcome,
    Host,
    HostGroup,
    Interface,
    Role,
    Site,
    Step,
    StepState,
    Subnet,
    now,
)

LIMIT_MS = 200.0
"""What the 95th percentile of the first byte must stay below."""
PASSWORD = "correct horse battery"  # noqa: S105
SITES = 5
_WIDTH = 40
_CHUNK = 2000
_SERVE = (
    "import asyncio; from gateway.serve import serve; "
    "from gateway.settings import GatewaySettings; asyncio.run(serve(GatewaySettings()))"
)
_STATES: Mapping[HostState, tuple[int, int]] = {
    HostState.IN_OPERATION: (700, 34),
    HostState.DISCOVERED: (60, 5),
    HostState.RETIRED: (60, 34),
    HostState.HELD: (40, 14),
    HostState.INSTALLING: (40, 22),
    HostState.REBOOTING: (20, 17),
    HostState.PREPARING: (20, 12),
    HostState.FIRST_BOOT: (20, 30),
    HostState.INSTALLED: (10, 27),
    HostState.SELECTED: (10, 6),
    HostState.CANCELLED: (10, 12),
    HostState.CANCELLING: (5, 12),
    HostState.DECOMMISSIONING: (5, 34),
}
"""How many hosts of a thousand are in each state, and at which arrow."""
_CLOSED = frozenset({HostState.IN_OPERATION, HostState.CANCELLED, HostState.RETIRED})


@dataclass
class Waits:
    """Milliseconds of one kind of request."""

    kind: str
    values: list[float] = field(default_factory=list)

    def part(self, share: float) -> float:
        """A percentile, by nearest rank."""
        return sorted(self.values)[max(0, math.ceil(share * len(self.values)) - 1)]

    def line(self, *shares: float, width: int = 10) -> str:
        """One row of the table: these percentiles, and the most."""
        parts = (*(self.part(share) for share in shares), max(self.values))
        return f"{self.kind:<{width}}" + "".join(f"{one:9.1f}" for one in parts)


def machine() -> str:
    """What the figures were measured on."""
    return (
        f"{platform.machine()}, {psutil.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.1f} GiB, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}"
    )


async def fill(sessions: Sessions, hosts: int) -> None:
    """An inventory of so many hosts at five sites, in every state, each with two builds."""
    group = await make_site(sessions)
    places = await _more_sites(sessions, group)
    at = now() - timedelta(days=3)
    states = [one for one, (share, _) in _STATES.items() for _ in range(share)]
    for begin in range(0, hosts, _CHUNK):
        some = range(begin, min(begin + _CHUNK, hosts))
        # 7 has no factor in common with 1000, so that every site and page has hosts of all states.
        rows = [_host(n, states[n * 7 % len(states)], places[n % SITES], at) for n in some]
        async with sessions.begin() as session:
            connection = await session.connection()
            await connection.execute(sa.insert(Host), [row.host for row in rows])
            await connection.execute(sa.insert(Interface), [row.interface for row in rows])
            await connection.execute(sa.insert(Build), [one for row in rows for one in row.builds])
            # Sixty-eight of each host: one by one they would take minutes.
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.copy_records_to_table(
                "step", records=[one for row in rows for one in row.steps], columns=_STEP
            )
    async with sessions.begin() as session:
        await (await session.connection()).exec_driver_sql("ANALYZE")


@dataclass(frozen=True)
class _Place:
    site: int
    subnet: int
    group: int


@dataclass(frozen=True)
class _Rows:
    host: dict[str, Any]
    interface: dict[str, Any]
    builds: list[dict[str, Any]]
    steps: list[tuple[object, ...]]


async def _more_sites(sessions: Sessions, group_id: int) -> list[_Place]:
    async with sessions.begin() as session:
        group = await session.get_one(HostGroup, group_id)
        subnet = await session.get_one(Subnet, group.subnet_id)
        places = [_Place(subnet.site_id, subnet.id, group.id)]
        for number in range(1, SITES):
            site = Site(name=f"site{number}", gateway_url="http://192.0.2.1:8000")
            session.add(site)
            await session.flush()
            other = Subnet(
                **subnet.model_dump(exclude={"id", "site_id", "name"}),
                site_id=site.id,
                name=f"lan{number}",
            )
            session.add(other)
            await session.flush()
            kind = HostGroup(
                **group.model_dump(exclude={"id", "name", "subnet_id"}),
                name=f"group{number}",
                subnet_id=other.id,
            )
            session.add(kind)
            await session.flush()
            places.append(_Place(site.id, other.id, kind.id))
    return places


def name_of(number: int) -> str:
    """Of a host of the fleet."""
    return f"node{number:05}.example.org"


def _host(number: int, state: HostState, place: _Place, at: datetime) -> _Rows:
    waits = state is HostState.DISCOVERED
    # The database counts from 1, and has nothing of its own before.
    host = {
        "id": number + 1,
        "site_id": place.site,
        "name": name_of(number),
        "state": state,
        "state_since": at,
        "host_group_id": None if waits else place.group,
        "created_at": at,
    }
    address = f"10.{64 + number // 65536}.{number // 256 % 256}.{number % 256}"
    interface = {
        "host_id": number + 1,
        "mac": f"52:54:01:{number // 65536:02x}:{number // 256 % 256:02x}:{number % 256:02x}",
        "name": "eth0",
        "provisioning": True,
        "subnet_id": place.subnet,
        "ip": None if waits else address,
        "discovered_ip": address,
    }
    builds, steps = [], []
    for generation, newest in ((1, False), (2, True)):
        build = _build(number + 1, generation, state if newest else None, at)
        if not waits:
            build["host_group_id"] = place.group
        builds.append(build)
        reached = _STATES[state][1] if newest else 34
        steps += [_step(build["id"], one.number, reached, state, at) for one in ARROWS]
    return _Rows(host, interface, builds, steps)


def _build(host: int, generation: int, state: HostState | None, at: datetime) -> dict[str, Any]:
    """One build; without a state an earlier one, which has come to its end."""
    held = state is HostState.HELD
    slow = state in AT_WORK and host % 10 == 0
    if state is None:
        outcome: BuildOutcome | None = BuildOutcome.SUPERSEDED
    else:
        outcome = BuildOutcome.IN_OPERATION if state in _CLOSED else None
    return {
        "id": uuid4(),
        "host_id": host,
        "generation": generation,
        "opened_at": at,
        "closed_at": at if outcome else None,
        "outcome": outcome,
        "asked_by": "rule bench",
        "host_group_id": None,
        "trouble_since": at + timedelta(hours=1) if slow else None,
        "trouble": "has installed for longer than its kind usually does" if slow else "",
        "held_from": HostState.PREPARING if held else None,
        "held_step": 14 if held else None,
        "held_reason": "DNS 192.0.2.1: the server refuses the update (NOTAUTH)" if held else None,
        "held_advice": "See that the key of the proxy may change the zone." if held else None,
    }


_STEP = ("build_id", "number", "state", "seen", "attempts", "started_at", "ended_at")


def _step(
    build: object, number: int, reached: int, state: HostState, at: datetime
) -> tuple[object, ...]:
    if number < reached or reached == len(ARROWS):
        how = StepState.DONE
    elif number == reached:
        how = StepState.FAILED if state is HostState.HELD else StepState.RUNNING
    else:
        how = StepState.PENDING
    if ARROWS[number - 1].needs is not None:
        return build, number, StepState.NOT_ASKED, "", 0, None, None
    seen = "read back from the server that owns it: as it should be"
    return build, number, how, seen, 1, at, at if how is StepState.DONE else None


@asynccontextmanager
async def inventory(*, durable: bool) -> AsyncIterator[str]:
    """An empty inventory in a PostgreSQL of its own while the block lasts; its URL."""
    below = "/var/lib" if os.geteuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix=f"rackrise-bench-{os.getpid()}-", dir=below))
    try:
        with running_postgres(home, durable=durable) as urls:
            await migrate(urls.rackrise)
            yield urls.rackrise
    finally:
        shutil.rmtree(home)


@dataclass(frozen=True)
class Gateway:
    """A gateway as a process."""

    process: psutil.Process
    hosts_url: str
    console_url: str


def _free_ports(count: int) -> Sequence[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in probes]
    for one in probes:
        one.close()
    return ports


@asynccontextmanager
async def gateway(url: str) -> AsyncIterator[Gateway]:
    """The gateway with its console as a process of its own while the block lasts."""
    port, console = _free_ports(2)
    settings = {
        "RACKRISE_GATEWAY_DATABASE_URL": url,
        "RACKRISE_GATEWAY_PORT": str(port),
        "RACKRISE_GATEWAY_CONSOLE_PORT": str(console),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVE, env=os.environ | settings
    )
    made = Gateway(
        psutil.Process(process.pid), f"http://127.0.0.1:{port}", f"http://127.0.0.1:{console}"
    )
    try:
        async with httpx.AsyncClient(base_url=made.console_url, timeout=10) as client:
            await answering(client)
        yield made
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def browser(console_url: str, name: str) -> AsyncIterator[httpx.AsyncClient]:
    """A browser in which somebody has signed in."""
    # An open page keeps its connection for ever: there is no end to how many may be.
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=console_url, timeout=30, limits=limits) as client:
        answer = await client.post("/sign-in", data={"name": name, "password": PASSWORD})
        if answer.status_code != 303:
            raise RuntimeError(f"{name} cannot sign in: {answer.status_code}")
        yield client


async def add_people(sessions: Sessions) -> None:
    """Ada, who sees everything, and bob, who is limited to two sites."""
    async with sessions.begin() as session:
        for name, sites in (("ada", ()), ("bob", ("site1", "site2"))):
            await people.add(
                session, name, role=Role.OPERATOR, password=PASSWORD, sites=sites, at=now()
            )


_ASKED: Mapping[str, str] = {
    "all": "/",
    "all, from the middle": f"/?after={name_of(5000)}",
    "held": "/?state=held",
    "in operation": "/?state=in_operation",
    "in trouble": "/?trouble=true",
    "of a host group": "/?host_group=group3",
    "of a site": "/?site=site2",
    "of a subnet, installing": "/?subnet=lan2&state=installing",
    "search: part of a name": "/?text=ode0777",
    "search: a MAC address": "/?text=52-54-01-00-1f-40",
    "search: part of an address": "/?text=10.64.3",
    "search: nothing is found": "/?text=not-there",
    "search in a state and a site": "/?text=77&state=in_operation&site=site1",
}


async def measure(sessions: Sessions, console_url: str, times: int) -> list[Waits]:
    """Ask for each kind of page in turn, so that what else the machine does meets all of them."""
    await add_people(sessions)
    found: list[Waits] = []
    for name, title in (("ada", ""), ("bob", "limited: ")):
        async with browser(console_url, name) as client:
            waits = {kind: Waits(title + kind) for kind in _ASKED}
            for turn in range(times + 1):
                for kind, path in _ASKED.items():
                    took = await _first_byte(client, path)
                    # The first one fills caches that a page a minute keeps full.
                    if turn:
                        waits[kind].values.append(took)
            found += waits.values()
    return found


async def _first_byte(client: httpx.AsyncClient, path: str) -> float:
    began = time.perf_counter()
    async with client.stream("GET", path) as answer:
        answer.raise_for_status()
        body = answer.aiter_raw()
        await anext(body)
        took = (time.perf_counter() - began) * 1000
        async for _ in body:
            pass
    if answer.status_code != 200:
        raise RuntimeError(f"{path}: {answer.status_code}, nobody has signed in")
    return took


async def run(hosts: int, times: int) -> list[Waits]:
    """Start everything, measure, stop everything."""
    async with inventory(durable=False) as url:
        engine = make_engine(url)
        try:
            sessions = make_sessions(engine)
            began = time.perf_counter()
            await fill(sessions, hosts)
            async with sessions() as session:
                steps = (await session.exec(select(sa.func.count(col(Step.number))))).one()
            print(f"{hosts} hosts, {steps} arrows, made in {time.perf_counter() - began:.0f} s")
            async with gateway(url) as served:
                return await measure(sessions, served.console_url, times)
        finally:
            await engine.dispose()


def main() -> int:
    """Print the table; 1 where a percentile is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=40)
    options = parser.parse_args()
    # A pause of this process would count as the gateway's.
    gc.collect()
    gc.freeze()
    waits = asyncio.run(run(options.hosts, options.times))
    print(f"{machine()}, {options.times} times each")
    print(f"{'first byte, milliseconds':<{_WIDTH}}{'p50':>9}{'p95':>9}{'max':>9}")
    for one in waits:
        print(one.line(0.5, 0.95, width=_WIDTH))
    late = [one.kind for one in waits if one.part(0.95) >= LIMIT_MS]
    if late:
        print(f"above {LIMIT_MS:.0f} ms at the 95th percentile: {', '.join(late)}")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
