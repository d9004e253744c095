"""What the RHSM front adds to a request that it passes on, and how it bears hosts in a storm.

    python -m benchmarks.rhsm_front [--hosts 500] [--requests 1000]

Starts an embedded PostgreSQL, Candlepin's double and the gateway, each as a process of its own.
Hosts register all at one moment, each on a connection of its own, and again until they are served,
as their client does. Then the same question is put to Candlepin directly and through the front, in
turns, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import os
import platform
import shutil
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlmodel import select

from benchmarks.callback_latency import mac, make_ready, make_site
from deployments.postgres import running_postgres
from integrations.candlepin import Candlepin, CandlepinSettings, OAuthLogin
from inventory.builds import registration_token
from inventory.database import Sessions, make_engine, make_sessions, migrate
from inventory.hosts import Discovered, SeenInterface, discover
from inventory.models import Candlepin as CandlepinRow
from inventory.models import Consumer, HostGroup, now
from lab.candlepin import OAUTH_KEY, OAUTH_SECRET, LabCandlepin, lab_candlepin
from lab.doubles.candlepin_process import CA, IDENTITIES
from lab.process import free_port, until

ADDED_MS = 10.0
"""What passing on may add, at the median."""
OWNER, KEY = "BENCH", "bench"
START_SECONDS = 30.0
REGISTER_SECONDS = 300.0
ADDRESS = IPv4Address("127.0.0.1")


@dataclass
class Registered:
    """What became of the hosts that came at once."""

    seconds: list[float] = field(default_factory=list)
    """Of each, from the first try to its identity."""
    tries: int = 0
    uuids: list[str] = field(default_factory=list)
    documents: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Passed:
    """Milliseconds of the same question, by the way that it went."""

    directly: list[float] = field(default_factory=list)
    through: list[float] = field(default_factory=list)


@asynccontextmanager
async def process(*command: str, **environment: str) -> AsyncIterator[None]:
    """Run a program of ours while the block lasts."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, *command, env=os.environ | environment
    )
    try:
        yield
    finally:
        started.kill()
        await started.wait()


async def listening(port: int) -> None:
    """Wait until somebody does."""

    async def there() -> bool:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(str(ADDRESS), port)
            writer.close()
            return True
        return False

    await until(there, what=f"port {port} answers", deadline=START_SECONDS, every=0.05)


@asynccontextmanager
async def candlepin(home: Path) -> AsyncIterator[LabCandlepin]:
    """The double, and the files of the front."""
    port = free_port()
    async with process("-m", "lab.doubles.candlepin_process", str(home), str(ADDRESS), str(port)):
        await listening(port)
        await until(
            lambda: asyncio.to_thread((home / IDENTITIES).exists),
            what="the double's files",
            deadline=START_SECONDS,
            every=0.05,
        )
        yield lab_candlepin(
            home,
            ADDRESS,
            free_port(),
            url=f"https://{ADDRESS}:{port}/candlepin",
            ca=home / CA,
            identities=home / IDENTITIES,
        )


@asynccontextmanager
async def gateway(database: str, there: LabCandlepin) -> AsyncIterator[None]:
    """The gateway with its front."""
    rhsm = there.gateway
    code = (
        "import asyncio; from gateway.serve import serve; "
        "from gateway.settings import GatewaySettings; asyncio.run(serve(GatewaySettings()))"
    )
    settings = {
        "DATABASE_URL": database,
        "PORT": "0",
        "RHSM_PORT": str(rhsm.port),
        "RHSM_CERTIFICATE": str(rhsm.certificate),
        "RHSM_KEY": str(rhsm.key),
        "RHSM_CA": str(rhsm.ca),
        "CANDLEPIN_URL": rhsm.candlepin_url,
        "CANDLEPIN_CA": str(rhsm.candlepin_ca),
        "CANDLEPIN_OAUTH_KEY": rhsm.oauth_key,
        "CANDLEPIN_OAUTH_SECRET": rhsm.oauth_secret,
    }
    named = {f"RACKRISE_GATEWAY_{name}": value for name, value in settings.items()}
    async with process("-c", code, **named):
        await listening(rhsm.port)
        yield


def login() -> OAuthLogin:
    """As the double knows us."""
    return OAuthLogin.model_validate({"key": OAUTH_KEY, "secret": OAUTH_SECRET})


async def make_hosts(sessions: Sessions, there: LabCandlepin, number: int) -> dict[str, str]:
    """Hosts in their installers; the activation keys of each."""
    async with Candlepin(
        CandlepinSettings(url=there.url, login=login(), ca=there.ca.read_text())
    ) as client:
        await client.create_owner(OWNER)
        await client.create_activation_key(OWNER, KEY)
    group_id = await make_site(sessions)
    async with sessions.begin() as session:
        row = CandlepinRow(name="bench", url=there.url, credentials="none", front=there.front_url)
        session.add(row)
        await session.flush()
        group = await session.get_one(HostGroup, group_id)
        group.candlepin_id, group.owner, group.activation_key = row.id, OWNER, KEY
    keys: dict[str, str] = {}
    for one in range(number):
        seen = Discovered(mac(one), (SeenInterface("eth0", mac(one), "10.0.0.9"),))
        async with sessions.begin() as session:
            await discover(session, seen, site_id=None, at=now())
        await make_ready(sessions, group_id, one)
        keys[f"bench{one}.example.org"] = f"{KEY},{registration_token(f'token-{one}')}"
    return keys


async def register_all(there: LabCandlepin, keys: dict[str, str]) -> Registered:
    """All at once; who is put off comes again."""
    done, context = Registered(), ssl.create_default_context(cafile=there.front_ca)
    began = time.perf_counter()

    async def one(name: str) -> None:
        body = {"type": "system", "name": name, "facts": {"network.fqdn": name}}
        query = {"owner": OWNER, "activation_keys": keys[name]}
        while True:
            done.tries += 1
            with suppress(httpx.TransportError):
                async with httpx.AsyncClient(verify=context, timeout=60) as http:
                    answer = await http.post(
                        f"{there.front_url}/consumers", params=query, json=body
                    )
                if answer.status_code == httpx.codes.OK:
                    done.documents.append(answer.json())
                    break
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    raise RuntimeError(f"{name}: {answer.status_code} {answer.text}")
            await asyncio.sleep(1)
        done.seconds.append(time.perf_counter() - began)

    async with asyncio.timeout(REGISTER_SECONDS):
        await asyncio.gather(*(one(name) for name in keys))
    done.uuids = [one["uuid"] for one in done.documents]
    return done


async def pass_on(there: LabCandlepin, document: dict[str, Any], number: int, home: Path) -> Passed:
    """Ask for the release of one consumer, both ways in turns."""
    passed, path = Passed(), f"/consumers/{document['uuid']}/release"
    files = home / "identity.pem", home / "identity.key"
    for file, what in zip(files, ("cert", "key"), strict=True):
        file.write_text(document["idCert"][what])
    context = ssl.create_default_context(cafile=there.front_ca)
    context.load_cert_chain(*files)
    settings = CandlepinSettings(url=there.url, login=login(), ca=there.ca.read_text())
    async with (
        Candlepin(settings) as direct,
        httpx.AsyncClient(verify=context, timeout=60) as front,
    ):
        for _ in range(number):
            began = time.perf_counter()
            answer = await direct.pass_on(
                "GET", path, query={}, headers={}, consumer=document["uuid"]
            )
            async for _ in answer.parts():
                pass
            await answer.close()
            middle = time.perf_counter()
            (await front.get(f"{there.front_url}{path}")).raise_for_status()
            passed.directly.append((middle - began) * 1000)
            passed.through.append((time.perf_counter() - middle) * 1000)
    return passed


async def count(there: LabCandlepin, keys: dict[str, str], sessions: Sessions) -> tuple[int, int]:
    """Consumers that Candlepin has of these hosts, and those that the inventory knows."""
    found = 0
    async with Candlepin(
        CandlepinSettings(url=there.url, login=login(), ca=there.ca.read_text())
    ) as client:
        for name in keys:
            found += len(await client.consumers_by_fact(OWNER, "network.fqdn", name))
    async with sessions() as session:
        kept = (await session.exec(select(Consumer))).all()
    return found, len([one for one in kept if one.registered_at is not None])


async def run(options: argparse.Namespace) -> int:
    """Print the figures; 1 where a host is lost or there twice, or passing on adds too much."""
    below = "/var/lib" if os.geteuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix=f"rackrise-bench-{os.getpid()}-", dir=below))
    try:
        async with AsyncExitStack() as stack:
            # Durable, as in production: what is answered is on the disk.
            urls = stack.enter_context(running_postgres(home, durable=True))
            await migrate(urls.rackrise)
            engine = make_engine(urls.rackrise)
            stack.push_async_callback(engine.dispose)
            there = await stack.enter_async_context(candlepin(home))
            sessions = make_sessions(engine)
            keys = await make_hosts(sessions, there, options.hosts)
            await stack.enter_async_context(gateway(urls.rackrise, there))
            done = await register_all(there, keys)
            in_candlepin, known = await count(there, keys, sessions)
            passed = await pass_on(there, done.documents[0], options.requests, home)
    finally:
        shutil.rmtree(home)
    times = sorted(done.seconds)
    late = times[math.ceil(0.99 * len(times)) - 1]
    print(
        f"{options.hosts} hosts at once: all registered after {times[-1]:.1f} s, half after"
        f" {statistics.median(times):.1f} s, p99 {late:.1f} s, in {done.tries} tries"
    )
    twice = in_candlepin - len(set(done.uuids))
    lost = options.hosts - min(len(set(done.uuids)), in_candlepin, known)
    print(f"lost: {lost}, twice: {twice}")
    directly, through = statistics.median(passed.directly), statistics.median(passed.through)
    added = statistics.median(b - a for a, b in zip(passed.directly, passed.through, strict=True))
    print(
        f"passed on: {through:.1f} ms, asked directly: {directly:.1f} ms, added at the median:"
        f" {added:.1f} ms, over {options.requests} requests"
    )
    return 1 if lost or twice or added >= ADDED_MS else 0


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hosts", type=int, default=500)
    parser.add_argument("--requests", type=int, default=1000)
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {psutil.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}"
    )
    # A pause of this process would count as the gateway's.
    gc.collect()
    gc.freeze()
    return asyncio.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
