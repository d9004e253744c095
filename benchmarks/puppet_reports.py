"""How many of Puppet's reports one gateway stores a second, and whether any is lost.

    python -m benchmarks.puppet_reports [--reports 10000] [--rate 200] [--kills 10]

Starts an embedded PostgreSQL and the gateway as a process of its own, and sends reports of 16 kB as
a Puppet server does: over TLS with its certificate, on a new connection each, once, whatever the
answer. Like a Puppet server it keeps each report in its own store first. With ``--kills`` the
gateway is killed and started again so often meanwhile; what was lost is then collected from the
store, as ``attend`` does each minute.
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
import ssl
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import psutil
import sqlalchemy as sa
from sqlmodel import col, select

from benchmarks.callback_latency import make_site
from deployments.postgres import running_postgres
from inventory.database import Sessions, make_engine, make_sessions, migrate
from inventory.models import Callback, CallbackKind, Host, HostGroup, Puppet, Site
from lab.authority import Authority, Pair
from lab.process import until
from tasks.means import Means, use
from tasks.puppet import collect_reports

LIMIT_MS = 50.0
"""What the median answer must stay below: a slow one holds the Puppet server's only JRuby."""
START_SECONDS = 30.0
HOSTS = 100
SERVER = "puppet.example.org"
BYTES = 16_000
AT_ONCE = 32


@dataclass
class Sent:
    """What became of the reports."""

    milliseconds: list[float] = field(default_factory=list)
    """Of each answer, with the handshake."""
    unheard: int = 0
    """Reports that got no answer, or another than success."""
    seconds: float = 0


def report(host: str) -> str:
    """A report as Puppet's ``http`` processor sends it, of the usual size."""
    head = f"""\
--- !ruby/object:Puppet::Transaction::Report
host: {host}
time: '2026-11-27T00:00:00.000000000+00:00'
configuration_version: 1764201600
transaction_uuid: {uuid4()}
report_format: 12
puppet_version: 7.23.0
status: unchanged
transaction_completed: true
cached_catalog_status: not_used
environment: production
logs: []
metrics: {{}}
resource_statuses:
"""
    one = "  File[/etc/{n}]:\n    title: /etc/some-file\n    failed: false\n    events: []\n"
    return head + "".join(one.replace("{n}", f"{n:05}") for n in range(BYTES // len(one)))


async def make_puppet(sessions: Sessions, vardir: Path) -> None:
    """A Puppet server and hosts that it may speak for."""
    group_id = await make_site(sessions)
    async with sessions.begin() as session:
        puppet = Puppet(
            name="bench",
            url=f"https://{SERVER}:8140",
            certname=SERVER,
            credentials="none",
            vardir=str(vardir),
        )
        session.add(puppet)
        await session.flush()
        (await session.get_one(HostGroup, group_id)).puppet_id = puppet.id
        site = (await session.exec(select(Site.id))).one()
        session.add_all(
            Host(site_id=site, name=name_of(number), host_group_id=group_id)
            for number in range(HOSTS)
        )


def name_of(number: int) -> str:
    """Of a host of the benchmark."""
    return f"bench{number % HOSTS}.example.org"


class Gateway:
    """The gateway as a process, which can be killed."""

    def __init__(self, database: str, port: int, ours: Pair, ca: Path) -> None:
        self._settings = {
            "RACKRISE_GATEWAY_DATABASE_URL": database,
            "RACKRISE_GATEWAY_PORT": "0",
            "RACKRISE_GATEWAY_TLS_PORT": str(port),
            "RACKRISE_GATEWAY_TLS_CERTIFICATE": str(ours.certificate),
            "RACKRISE_GATEWAY_TLS_KEY": str(ours.key),
            "RACKRISE_GATEWAY_TLS_CA": str(ca),
        }
        self._port = port
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        code = (
            "import asyncio; from gateway.serve import serve; "
            "from gateway.settings import GatewaySettings; asyncio.run(serve(GatewaySettings()))"
        )
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, env=os.environ | self._settings
        )
        await until(self._listens, what="the gateway listens", deadline=START_SECONDS, every=0.05)

    async def _listens(self) -> bool:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.close()
            return True
        return False

    async def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def send(port: int, context: ssl.SSLContext, body: bytes, sent: Sent) -> None:
    """Tell one report, once."""
    began = time.perf_counter()
    head = (
        f"POST /puppet/reports HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n"
        "Content-Type: application/x-yaml; charset=UTF-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    status = b""
    with suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(head.encode() + body)
        status = await reader.readline()
        writer.close()
    if b" 201 " in status:
        sent.milliseconds.append((time.perf_counter() - began) * 1000)
    else:
        sent.unheard += 1


async def storm(
    port: int, context: ssl.SSLContext, gateway: Gateway, store: Path, options: argparse.Namespace
) -> Sent:
    """Send all reports at the wanted rate, and kill the gateway so often meanwhile."""
    sent, room = Sent(), asyncio.Semaphore(AT_ONCE)
    every = options.reports // (options.kills + 1) if options.kills else 0
    began = time.perf_counter()

    async def one(number: int) -> None:
        host = name_of(number)
        body = report(host).encode()
        if options.kills:
            await asyncio.to_thread(_keep, store / "reports" / host / f"{number:08}.yaml", body)
        async with room:
            await send(port, context, body, sent)

    async def restart() -> None:
        await gateway.kill()
        await gateway.start()

    async with asyncio.TaskGroup() as group:
        for number in range(options.reports):
            if every and number and number % every == 0 and number // every <= options.kills:
                group.create_task(restart())
            group.create_task(one(number))
            ahead = number / options.rate - (time.perf_counter() - began)
            await asyncio.sleep(max(0, ahead))
    sent.seconds = time.perf_counter() - began
    return sent


def _keep(file: Path, body: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body)


async def kept(sessions: Sessions) -> int:
    """How many reports the inventory has."""
    async with sessions() as session:
        reports = col(Callback.kind) == CallbackKind.PUPPET_REPORT
        counted = await session.exec(select(sa.func.count()).select_from(Callback).where(reports))
        return counted.one()


async def run(options: argparse.Namespace) -> tuple[Sent, int, int]:
    """Sent, stored at once, and stored after the gaps were closed."""
    below = "/var/lib" if os.geteuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix=f"rackrise-bench-{os.getpid()}-", dir=below))
    try:
        # Durable, as in production: a report is answered only when it is on the disk.
        with running_postgres(home, durable=True) as urls:
            await migrate(urls.rackrise)
            return await _against(urls.rackrise, home, options)
    finally:
        shutil.rmtree(home)


async def _against(url: str, home: Path, options: argparse.Namespace) -> tuple[Sent, int, int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    authority = Authority(home, "puppet-ca")
    puppet = authority.sign(SERVER)
    context = ssl.create_default_context(cafile=authority.file)
    context.check_hostname = False
    context.load_cert_chain(puppet.certificate, puppet.key)
    engine = make_engine(url)
    sessions = make_sessions(engine)
    gateway = Gateway(url, port, authority.sign("rackrise.example.org"), authority.file)
    try:
        await make_puppet(sessions, home)
        await gateway.start()
        sent = await storm(port, context, gateway, home, options)
        at_once = await kept(sessions)
        if options.kills:
            nobody = cast(Any, None)
            use(Means(sessions, nobody, nobody, nobody, nobody, token_key=b"", worker="benchmark"))
            await collect_reports.fn()
        return sent, at_once, await kept(sessions)
    finally:
        await gateway.kill()
        await engine.dispose()


def main() -> int:
    """Print the figures; 1 where a report is lost, or an answer takes too long."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--reports", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=200, help="reports a second at most")
    parser.add_argument("--kills", type=int, default=0, help="how often the gateway is killed")
    options = parser.parse_args()
    # A pause of this process would count as the gateway's.
    gc.collect()
    gc.freeze()
    sent, at_once, after = asyncio.run(run(options))
    print(
        f"{platform.machine()}, {psutil.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, {options.reports} reports of {BYTES // 1000} kB"
    )
    times = sorted(sent.milliseconds)
    middle, late = statistics.median(times), times[math.ceil(0.99 * len(times)) - 1]
    print(
        f"stored {at_once / sent.seconds:.0f} a second, answered in {middle:.1f} ms, p99 {late:.1f}"
    )
    print(f"without an answer: {sent.unheard}; stored at once {at_once}, in the end {after}")
    lost = options.reports - after
    print(f"lost: {lost}")
    return 1 if lost or middle >= LIMIT_MS else 0


if __name__ == "__main__":
    sys.exit(main())
