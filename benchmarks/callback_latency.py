"""How long hosts wait for the gateway: facts, kickstart and built, over real sockets.

    python -m benchmarks.callback_latency [--hosts 300]

Starts an embedded PostgreSQL and the gateway as a process of its own, calls it for one host after
another as an idle site would see it, and prints medians and 99th percentiles beside the machine.
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
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from sqlmodel import col, select

from deployments.postgres import running_postgres
from inventory.builds import current_build, keep_token, keep_tree, set_group
from inventory.database import Sessions, make_engine, make_sessions, migrate
from inventory.hosts import host_by_mac, move
from inventory.life import Event
from inventory.models import (
    Domain,
    HostGroup,
    InstallTree,
    OperatingSystem,
    Proxy,
    Site,
    Subnet,
    now,
)

LIMIT_MS = 50.0
"""What the 99th percentile must stay below."""
START_SECONDS = 30.0


@dataclass
class Times:
    """Milliseconds of one kind of call."""

    kind: str
    gateway: psutil.Process
    values: list[float] = field(default_factory=list)
    cpu: float = 0.0
    """Milliseconds of the gateway's own processor time: the same on a busy machine."""

    async def measure(self, call: Awaitable[httpx.Response]) -> None:
        """Time one call, which must succeed."""
        begun, worked = time.perf_counter(), self._worked()
        answer = await call
        self.values.append((time.perf_counter() - begun) * 1000)
        self.cpu += self._worked() - worked
        answer.raise_for_status()

    def _worked(self) -> float:
        times = self.gateway.cpu_times()
        return 1000 * (times.user + times.system)

    @property
    def p99(self) -> float:
        """The 99th percentile, by nearest rank."""
        return sorted(self.values)[math.ceil(0.99 * len(self.values)) - 1]

    def line(self) -> str:
        """One row of the table."""
        middle = statistics.median(self.values)
        own = self.cpu / len(self.values)
        return f"{self.kind:<20}{middle:9.1f}{self.p99:9.1f}{max(self.values):9.1f}{own:9.1f}"


def mac(number: int) -> str:
    """The MAC address of a host of the benchmark."""
    return f"52:54:00:00:{number // 256:02x}:{number % 256:02x}"


def facts(number: int, values: int) -> dict[str, object]:
    """What a discovery image sends: with so many values beside those that matter."""
    return {
        "discovery_bootif": mac(number),
        "interfaces": "eth0,lo",
        "macaddress_eth0": mac(number),
        "ipaddress_eth0": f"10.0.{number // 250}.{number % 250 + 1}",
        **{f"blockdevice_sd{n}_model": "A disk of some vendor" for n in range(values)},
    }


async def make_site(sessions: Sessions) -> int:
    """A site with one host group; its id."""
    async with sessions.begin() as session:
        site = Site(name="bench", gateway_url="http://192.0.2.1:8000")
        proxy = Proxy(name="proxy", url="local:", host_url="http://192.0.2.1:8001")
        system = OperatingSystem(name="LabOS")
        session.add_all([site, proxy, system])
        await session.flush()
        domain = Domain(name="example.org", proxy_id=proxy.id)
        tree = InstallTree(name="tree", operating_system_id=system.id, url="http://192.0.2.1/t/")
        session.add_all([domain, tree])
        await session.flush()
        subnet = Subnet(
            site_id=site.id,
            name="lan",
            network="10.0.0.0/16",
            range_from="10.0.200.1",
            range_to="10.0.250.1",
            boot_server="10.0.0.1",
            dhcp_proxy_id=proxy.id,
            tftp_proxy_id=proxy.id,
            domain_id=domain.id,
        )
        session.add(subnet)
        await session.flush()
        group = HostGroup(
            name="bench",
            operating_system_id=system.id,
            install_tree_id=tree.id,
            subnet_id=subnet.id,
            domain_id=domain.id,
            root_password_hash="!",  # noqa: S106 - locked
            packages=["@core"],
        )
        session.add(group)
        await session.flush()
        return group.id


async def make_ready(sessions: Sessions, group_id: int, number: int) -> None:
    """Take a discovered host to where it boots its installer."""
    async with sessions.begin() as session:
        group = (await session.exec(select(HostGroup).where(col(HostGroup.id) == group_id))).one()
        host = await host_by_mac(session, mac(number))
        assert host is not None  # noqa: S101 - it was discovered a moment ago
        host.name = f"bench{number}.example.org"
        build = await current_build(session, host.id)
        assert build is not None  # noqa: S101
        await set_group(session, build, group, "benchmark")
        await keep_token(session, build, f"token-{number}")
        await keep_tree(session, build, "http://192.0.2.1/tree")
        for event in (Event.SELECT, Event.PREPARE, Event.REBOOT):
            await move(session, host, event, now())


async def answering(client: httpx.AsyncClient) -> None:
    """Wait until the gateway answers."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                (await client.get("/health")).raise_for_status()
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


async def measure(
    client: httpx.AsyncClient, sessions: Sessions, hosts: int, gateway: psutil.Process
) -> list[Times]:
    """Call the gateway for each host, one after another."""
    small, large = Times("facts, 80 values", gateway), Times("facts, 3700 values", gateway)
    provision, built = Times("provision", gateway), Times("built", gateway)
    group_id = await make_site(sessions)
    path = "/api/v2/discovered_hosts/facts"
    for number in range(1, hosts + 1):
        await small.measure(client.post(path, json={"facts": facts(number, 80)}))
        await make_ready(sessions, group_id, number)
        query = {"token": f"token-{number}"}
        await provision.measure(client.get("/unattended/provision", params=query))
        await built.measure(client.post("/unattended/built", params=query))
    for number in range(hosts + 1, hosts + 1 + hosts // 3):
        await large.measure(client.post(path, json={"facts": facts(number, 3700)}))
    return [small, large, provision, built]


async def run(hosts: int) -> list[Times]:
    """Start everything, measure, stop everything."""
    below = "/var/lib" if os.geteuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix=f"rackrise-bench-{os.getpid()}-", dir=below))
    try:
        # Durable, as in production: a callback is answered only when it is on the disk.
        with running_postgres(home, durable=True) as urls:
            await migrate(urls.rackrise)
            return await _against(urls.rackrise, hosts)
    finally:
        shutil.rmtree(home)


async def _against(url: str, hosts: int) -> list[Times]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = (
        "import asyncio; from gateway.serve import serve; "
        "from gateway.settings import GatewaySettings; asyncio.run(serve(GatewaySettings()))"
    )
    settings = {"RACKRISE_GATEWAY_DATABASE_URL": url, "RACKRISE_GATEWAY_PORT": str(port)}
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env=os.environ | settings
    )
    engine = make_engine(url)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            await answering(client)
            return await measure(client, make_sessions(engine), hosts, psutil.Process(gateway.pid))
    finally:
        gateway.terminate()
        await gateway.wait()
        await engine.dispose()


def main() -> int:
    """Print the table; 1 where a percentile is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hosts", type=int, default=300)
    hosts: int = parser.parse_args().hosts
    # A pause of this process would count as the gateway's.
    gc.collect()
    gc.freeze()
    times = asyncio.run(run(hosts))
    load = os.getloadavg()[0]
    print(
        f"{platform.machine()}, {psutil.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.1f} GiB, load {load:.1f}, "
        f"Python {platform.python_version()}, {hosts} hosts"
    )
    print(f"{'milliseconds':<20}{'p50':>9}{'p99':>9}{'max':>9}{'cpu':>9}")
    for one in times:
        print(one.line())
    late = [one.kind for one in times if one.p99 >= LIMIT_MS]
    if late:
        print(f"above {LIMIT_MS:.0f} ms at the 99th percentile: {', '.join(late)}")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
