"""Examines DNS: every name server of each domain, with records that come and go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from prefect import task
from sqlmodel import col, select

from integrations.dns import NameServer, start_of_authority
from integrations.errors import Refused
from integrations.records import DnsRecord, reverse_name
from inventory import effects
from inventory.models import Domain, Proxy, Subnet
from tasks.dns import DnsKeeper, dns_keeper
from tasks.doctor.checked import Checked
from tasks.doctor.examination import PROBE_SECONDS, Examination
from tasks.doctor.probing import Mark, mark_of, prove
from tasks.doctor.proxies import feature_check, feature_runs, without_feature
from tasks.means import means
from tasks.places import proxy_place

__all__ = ["examine_dns", "reverse_probe_address"]

_FEATURE = "dns"
_TIMEOUT = 3.0
_FORWARD = "an A record can be made and removed"
_REVERSE = "a PTR record in {0} can be made and removed"


def reverse_probe_address(
    network: IPv4Network, first: IPv4Address, last: IPv4Address
) -> IPv4Address | None:
    """An address in a reverse zone of a subnet's hosts that no host can ever have; None: none.

    A probe on a host's address would be in the way of whoever provisions it meanwhile.
    """
    near = [IPv4Network((one, 24), strict=False) for one in (first, last)]
    candidates = [one for net in near for one in (net.broadcast_address, net.network_address)]
    candidates += [network.broadcast_address, network.network_address]
    return next((one for one in candidates if one in network and not first <= one <= last), None)


def _apart(subnet: Subnet) -> IPv4Address | None:
    first, last = IPv4Address(subnet.range_from), IPv4Address(subnet.range_to)
    return reverse_probe_address(IPv4Network(subnet.network), first, last)


@task(name="Examine DNS", persist_result=False)
async def examine_dns() -> list[Checked]:
    """Ask every name server, and prove that records can be made, seen everywhere and removed."""
    async with means().sessions() as session:
        rows = await session.exec(
            select(Domain, Proxy).join(Proxy, col(Proxy.id) == col(Domain.proxy_id))
        )
        found, mark = list(rows), await mark_of(session)
        subnets = list(await session.exec(select(Subnet)))
    exam = Examination("DNS")
    proxies = {proxy.id: proxy for _, proxy in found}
    await exam.all(
        _proxy(
            exam,
            proxy,
            [
                _Domain(exam, proxy, one, mark, [net for net in subnets if net.domain_id == one.id])
                for one, its in found
                if its.id == proxy.id
            ],
        )
        for proxy in proxies.values()
    )
    return exam.found


async def _proxy(exam: Examination, proxy: Proxy, domains: Sequence[_Domain]) -> None:
    writes = await exam.look(
        proxy_place(proxy), feature_check(_FEATURE), lambda: feature_runs(proxy, _FEATURE)
    )
    # The name servers are asked directly: they may be well though the proxy is not.
    await exam.all(one.examine(writes=writes) for one in domains)


@dataclass
class _Domain:
    exam: Examination
    proxy: Proxy
    domain: Domain
    mark: Mark
    subnets: Sequence[Subnet]

    @property
    def place(self) -> str:
        return proxy_place(self.proxy, self.domain.name)

    def _keeper(self) -> DnsKeeper:
        return dns_keeper(self.proxy, self.domain)

    async def examine(self, *, writes: bool) -> None:
        name = f"{self.mark.label}.{self.domain.name}"
        addresses = {one.network: _apart(one) for one in self.subnets}
        known = [one for one in addresses.values() if one is not None]
        reverse = {net: ip for net, ip in addresses.items() if ip is not None}
        address = known[0] if known else IPv4Address("192.0.2.255")
        await self.exam.all(
            [
                self._zone(self.domain.name, name, address, "A", _FORWARD, writes=writes),
                *(
                    self._zone(
                        reverse_name(ip), name, ip, "PTR", _REVERSE.format(net), writes=writes
                    )
                    for net, ip in reverse.items()
                ),
            ]
        )
        for net in addresses.keys() - reverse.keys():
            why = "hosts may get every address of the subnet: none is left for a probe"
            self.exam.not_tried(self.place, _REVERSE.format(net), why)

    async def _zone(
        self, asked: str, name: str, address: IPv4Address, kind: str, check: str, *, writes: bool
    ) -> None:
        answers = await self.exam.look(
            self.place,
            f"every name server is authoritative for {asked}",
            lambda: _authority(self._keeper(), asked),
        )
        if not writes:
            self.exam.not_tried(self.place, check, without_feature(self.proxy, _FEATURE))
        elif not answers:
            self.exam.not_tried(self.place, check, "not every name server answers for the zone")
        else:
            await self.exam.look(
                self.place,
                check,
                lambda: _probe(self._keeper(), name, address, kind),
                seconds=PROBE_SECONDS,
                gate=(effects.DNS, self.place),
            )


async def _authority(keeper: DnsKeeper, name: str) -> str:
    servers: tuple[NameServer, ...] = keeper.name_servers
    if not servers:
        raise Refused(
            system="DNS",
            address=keeper.place,
            operation=f"answer for {name}",
            said="no name server is named for the domain",
        )
    said = []
    for server in servers:
        found = await start_of_authority(server, name, _TIMEOUT)
        said.append(f"{server} has {found.zone} with serial {found.serial}")
    return "; ".join(said)


async def _probe(keeper: DnsKeeper, name: str, address: IPv4Address, kind: str) -> str:
    if kind == "A":
        record = DnsRecord(name=name, type="A", value=str(address))
        # Nobody but a doctor makes such a name.
        return await prove(keeper, record)
    record = DnsRecord(name=reverse_name(address), type="PTR", value=name)
    return await prove(keeper, record, lambda there: there.value == name)
