"""The site that faults strike: doubles with logs, an inventory, and workers that come and go."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa
from dns.rdatatype import RdataType
from prefect import Flow
from sqlmodel import SQLModel, col, select

from flows.anaconda_build import anaconda_build
from flows.cancel import cancel
from flows.decommission import decommission
from flows.discovery_intake import discovery_intake
from flows.first_boot import first_boot
from flows.inception import inception
from integrations.candlepin import Candlepin, NewConsumer
from integrations.dns import authoritative_lookup
from integrations.puppet import PuppetCa
from integrations.smart_proxy import SmartProxy, SmartProxySettings
from integrations.tftp import tftp_read
from inventory import claims, hosts, retries
from inventory.arrows import Phase
from inventory.due import due, settle_callbacks
from inventory.models import (
    Build,
    Claim,
    Host,
    HostGroup,
    Puppet,
    Subnet,
    WorkerLease,
    now,
)
from inventory.models import Candlepin as CandlepinRow
from lab.doubles.candlepin import CandlepinDouble
from lab.doubles.candlepin_state import State
from lab.doubles.puppet import PuppetDouble
from proxy.app import in_process
from tasks import boot, dns
from tasks.means import Admission, Means, use
from tests.chaos.faults import FaultySessions, FaultyTransport, Injector, Killed, faulty_look
from tests.flows.bench import Bench
from tests.integrations.puppet.sites import DOUBLE
from tests.inventory.world import make_candlepin

__all__ = ["ENVIRONMENT", "KEY", "OWNER", "ChaosSite", "Worker", "chaos_site", "retry_held"]

OWNER = "ACME"
KEY, ENVIRONMENT = "web", "prod"
FLOWS: dict[Phase, Flow[Any, Any]] = {
    Phase.DISCOVERY: discovery_intake,
    Phase.INCEPTION: inception,
    Phase.ANACONDA: anaconda_build,
    Phase.FIRST_BOOT: first_boot,
    Phase.CANCEL: cancel,
    Phase.DECOMMISSION: decommission,
}
_TURNS = 30
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class _One:
    """One client for all servers of a kind."""

    client: Any

    async def of(self, _: object) -> Any:
        return self.client


@dataclass(frozen=True)
class _Proxy:
    client: SmartProxy

    def of(self, _: object) -> SmartProxy:
        return self.client


async def _at_once(_: float) -> None:
    """Instead of a pause between two reads of a read-back."""


def _of_hosts() -> list[sa.Table]:
    """All tables that tell of hosts and workers, those that point at others first."""
    tables = SQLModel.metadata.sorted_tables
    told = {"host", "workerlease"}
    for table in tables:
        if any(key.column.table.name in told for key in table.foreign_keys):
            told.add(table.name)
    return [table for table in reversed(tables) if table.name in told]


@dataclass
class ChaosSite:
    """A bench with a Candlepin and a Puppet CA, whose every way in and out can fail."""

    bench: Bench
    candlepin: CandlepinDouble = field(default_factory=CandlepinDouble)
    puppet: PuppetDouble = field(default_factory=PuppetDouble)
    injector: Injector = field(default_factory=Injector)
    full: bool = False
    workers: int = 0
    living: list[Worker] = field(default_factory=list)
    tftp_writes: list[str] = field(default_factory=list)
    """Boot configurations that the proxy was asked to write or remove, and did."""

    async def reset(self, injector: Injector, *, full: bool) -> None:
        """Forget all hosts, here and at the servers.

        Args:
            injector: what goes wrong from now on.
            full: whether the hosts to come have Puppet and Candlepin.
        """
        self.injector, self.full = injector, full
        self.living.clear()
        bench = self.bench
        async with bench.database.sessions.begin() as session:
            for table in _of_hosts():
                await session.exec(sa.delete(table))
            puppet = (await session.exec(select(Puppet.id))).first() if full else None
            candlepin = (await session.exec(select(CandlepinRow.id))).first() if full else None
            await session.exec(
                sa.update(HostGroup).values(
                    puppet_id=puppet,
                    candlepin_id=candlepin,
                    owner=OWNER if full else None,
                    activation_key=KEY if full else None,
                    content_environments=[ENVIRONMENT] if full else [],
                )
            )
        bench.dhcp.reservations.clear()
        bench.dhcp.leases.clear()
        for zone in bench.dns.zones.values():
            for rrset in list(zone):
                if rrset.rdtype in (RdataType.A, RdataType.PTR):
                    bench.drop_dns(str(rrset.name), rrset.rdtype.name)
        for below in bench.root.iterdir():
            shutil.rmtree(below) if below.is_dir() else below.unlink()
        bench.images.reboots.clear()
        self.candlepin.state = State()
        self.puppet.forget()
        self.clear_logs()

    def clear_logs(self) -> None:
        """What the servers have logged so far is not of interest."""
        self.bench.dhcp.changes.clear()
        self.bench.dns.changes.clear()
        self.bench.images.reboots.clear()
        self.candlepin.calls.clear()
        self.puppet.changes.clear()
        self.tftp_writes.clear()

    async def submit(self, name: str, pem: str) -> None:
        """An agent hands in its request."""
        path = f"/puppet-ca/v1/certificate_request/{name}"
        (await self._agent.put(path, content=pem)).raise_for_status()

    async def register(self, uuid: str, name: str, environments: Sequence[str] = ()) -> None:
        """A host becomes a consumer; what it needs for that is made as an operator would."""
        if await self._operator.owner(OWNER) is None:
            await self._operator.create_owner(OWNER)
            await self._operator.create_activation_key(OWNER, KEY)
        new = NewConsumer(uuid=uuid, name=name, facts={"network.fqdn": name})
        await self._operator.register(new, owner=OWNER, keys=[KEY], environments=environments)

    def acts(self) -> Counter[str]:
        """What the servers' own logs say was done, and how often."""
        bench = self.bench
        said = [f"DHCP {done} {mac}" for done, mac in bench.dhcp.changes]
        # An address is another one each time; whose it is, is not.
        said += [f"DNS {done} {kind}" for done, _, kind in bench.dns.changes]
        said += [f"TFTP {one}" for one in self.tftp_writes]
        said += [f"restart {ip}" for ip in bench.images.reboots]
        said += [f"Puppet CA {done} {name}" for done, name in self.puppet.changes]
        writes = self.candlepin.writes()
        said += [f"Candlepin {method} {path.split('/')[1]}" for method, path in writes]
        return Counter(said)

    def held(self) -> Counter[str]:
        """What the servers hold, by whose it is."""
        bench = self.bench
        there = [f"reservation {one['hw-address']}" for one in bench.dhcp.reservations]
        there += [f"A {name}" for name in bench.dns_records("A")]
        there += [f"PTR {names}" for names in bench.dns_records("PTR").values()]
        there += [f"boot file {one.name}" for one in bench.boot_configs()]
        there += [f"certificate {one}" for one in self.puppet.names()]
        consumers = self.candlepin.state.consumers.values()
        there += [f"consumer {one['name']}" for one in consumers]
        return Counter(there)

    def duplicates(self) -> int:
        """Addresses that more than one record holds."""
        reserved = Counter(one["ip-address"] for one in self.bench.dhcp.reservations)
        named = Counter(ip for values in self.bench.dns_records("A").values() for ip in values)
        return sum(count - 1 for many in (reserved, named) for count in many.values())

    def __post_init__(self) -> None:
        self._to_proxy = self._faulty(_Logged(self), "proxy")
        candlepin = httpx.ASGITransport(self.candlepin.app)
        self._to_candlepin = self._faulty(candlepin, "Candlepin")
        self._operator = Candlepin(self.candlepin.settings(), transport=candlepin)
        puppet = httpx.ASGITransport(self.puppet.app)
        self._to_ca = self._faulty(puppet, "Puppet CA")
        self._agent = httpx.AsyncClient(transport=puppet, base_url=DOUBLE.url)

    def _faulty(self, inner: httpx.AsyncBaseTransport, system: str) -> FaultyTransport:
        return FaultyTransport(inner, system, lambda: self.injector)

    def means(self, worker: str, alive: Worker) -> Means:
        """What the tasks of one worker work with.

        Clients and gates are its own, as those of a process are: with shared ones a worker that is
        stopped would hold their locks against whoever overtakes it, and wait for that one.
        """
        sessions = FaultySessions(self.bench.database.sessions, lambda: self.injector)
        proxy = SmartProxy(
            SmartProxySettings(url="http://proxy.test"), transport=self._to_proxy, sleep=_at_once
        )
        candlepin = Candlepin(self.candlepin.settings(), transport=self._to_candlepin)
        return replace(
            self.bench.means,
            sessions=sessions,  # type: ignore[arg-type]
            proxies=_Proxy(proxy),
            candlepins=_One(candlepin),
            puppets=_One(PuppetCa(DOUBLE, transport=self._to_ca)),
            admission=Admission(),
            worker=worker,
            lease_holds=lambda: alive.alive,
            clock=lambda: now() + self.injector.skew,
        )


class _Logged(httpx.AsyncBaseTransport):
    """The proxy in this process, with the log of what it did to boot configurations."""

    def __init__(self, site: ChaosSite) -> None:
        self._site = site
        self._inner = in_process(site.bench.proxy_app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass it on."""
        answer = await self._inner.handle_async_request(request)
        path = request.url.path
        changes = path.startswith("/tftp/") and "fetch" not in path and request.method != "GET"
        if changes and answer.status_code < 300:
            self._site.tftp_writes.append(f"{request.method} {path}")
        return answer


class Worker:
    """Takes up what is due or left, as the dispatcher beside a worker does, until nothing is."""

    def __init__(self, site: ChaosSite) -> None:
        site.workers += 1
        self._site = site
        self.name = f"chaos/{site.workers}"
        self.alive = True
        self.faults: list[BaseException] = []
        self._means = site.means(self.name, self)
        site.living.append(self)

    async def settle(self) -> None:
        """Work until there is nothing to do; one that is killed is followed by another."""
        worker = self
        for _ in range(_TURNS):
            if not worker.alive:
                worker = Worker(self._site)
            if not await worker._turn():
                return
        raise AssertionError(f"after {_TURNS} turns there is still something to do")

    async def die(self) -> None:
        """Be taken for dead."""
        self.alive = False
        async with self._site.bench.database.sessions.begin() as session:
            await session.exec(sa.delete(WorkerLease).where(col(WorkerLease.name) == self.name))

    async def _turn(self) -> bool:
        async with self._site.bench.database.sessions.begin() as session:
            at = now() + self._site.injector.skew
            await claims.renew(session, self.name, _HOUR)
            await claims.bury(session, at)
            await claims.abandoned(session, self.name, (), at)
            claimed: dict[Phase, set[UUID]] = {}
            for phase in Phase:
                builds = [one.build for one in await due(session, 500) if one.phase is phase]
                claimed[phase] = await claims.claim(session, phase, builds, company=uuid4(), at=at)
            await settle_callbacks(session, claimed, at)
            rows = await session.exec(
                select(Claim.company, Claim.phase).where(col(Claim.ended_at).is_(None)).distinct()
            )
            waiting = rows.all()
        for company, claimed_phase in waiting:
            await self._run(Phase(claimed_phase), company)
        return bool(waiting)

    async def _run(self, phase: Phase, company: UUID) -> None:
        if not self.alive:
            return
        use(self._means)
        try:
            await FLOWS[phase].fn(hosts=[], company=company)
        except Killed:
            await self.die()
        except Exception as error:
            self.faults.append(error)
        finally:
            use(self._site.bench.means)


async def retry_held(site: ChaosSite) -> list[Build]:
    """Let all held hosts go on, as a person does; returns their builds as they were held."""
    held = []
    async with site.bench.database.sessions.begin() as session:
        rows = await session.exec(select(Host).where(col(Host.state) == "held"))
        for host in rows.all():
            build = (
                await session.exec(
                    select(Build)
                    .where(col(Build.host_id) == host.id)
                    .where(col(Build.closed_at).is_(None))
                )
            ).one()
            held.append(Build.model_validate(build.model_dump()))
            await retries.retry(session, await hosts.named(session, host.name), at=now())
    return held


async def chaos_site(bench: Bench, patch: pytest.MonkeyPatch) -> ChaosSite:
    """The site upon a bench; its flows run without Prefect's engine."""
    site = ChaosSite(bench)
    await bench.change(Subnet, range_to="192.0.2.99")
    async with bench.database.sessions.begin() as session:
        await make_candlepin(session, site.candlepin.url)
        session.add(
            Puppet(
                name="main",
                url="https://puppet.lab.example:8140",
                certname="puppet.lab.example",
                credentials="unused",
            )
        )
    tftp = faulty_look(tftp_read, "TFTP", None, lambda: site.injector)
    patch.setattr(boot, "tftp_read", tftp)
    names = faulty_look(authoritative_lookup, "DNS", [], lambda: site.injector)
    patch.setattr(dns, "authoritative_lookup", names)
    return site
