"""Examines DHCP: each subnet through its proxy, with a reservation that comes and goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from prefect import task
from sqlmodel import col, select

from integrations.errors import Exhausted, Refused, Unsupported
from integrations.records import Reservation
from inventory import effects
from inventory.models import Interface, Proxy, Subnet
from tasks.dhcp import ReservationKeeper
from tasks.doctor.checked import Checked
from tasks.doctor.examination import PROBE_SECONDS, Examination
from tasks.doctor.probing import Mark, mark_of, prove, take_away, to_the_end
from tasks.doctor.proxies import feature_check, feature_runs, without_feature
from tasks.means import means
from tasks.places import proxy_place

__all__ = ["examine_dhcp"]

_FEATURE = "dhcp"
_KNOWN = "the DHCP server serves the subnet"
_READ = "reservations and leases can be read"
_FREE = "a free address is found"
_WRITE = "a reservation can be made and removed"
_BACK = "the free address is given back"
_TRIES = 20
_AWAY_SECONDS = 40.0


@task(name="Examine DHCP", persist_result=False)
async def examine_dhcp() -> list[Checked]:
    """Make, for each subnet, the calls that provisioning makes; nothing is left of them."""
    async with means().sessions() as session:
        rows = await session.exec(
            select(Subnet, Proxy).join(Proxy, col(Proxy.id) == col(Subnet.dhcp_proxy_id))
        )
        found, mark = list(rows), await mark_of(session)
    exam = Examination("DHCP")
    proxies = {proxy.id: proxy for _, proxy in found}
    await exam.all(
        _proxy(exam, proxy, [one for one, its in found if its.id == proxy.id], mark)
        for proxy in proxies.values()
    )
    return exam.found


async def _proxy(exam: Examination, proxy: Proxy, subnets: Sequence[Subnet], mark: Mark) -> None:
    well = await exam.look(
        proxy_place(proxy), feature_check(_FEATURE), lambda: feature_runs(proxy, _FEATURE)
    )
    parts = [_Subnet(exam, proxy, one, mark) for one in subnets]
    if well:
        await exam.all(one.examine() for one in parts)
        return
    for one in parts:
        for check in (_KNOWN, _READ, _FREE, _WRITE):
            exam.not_tried(one.place, check, without_feature(proxy, _FEATURE))


@dataclass
class _Subnet:
    exam: Examination
    proxy: Proxy
    subnet: Subnet
    mark: Mark
    free: IPv4Address | None = None

    @property
    def place(self) -> str:
        return proxy_place(self.proxy, self.subnet.network)

    @property
    def net(self) -> IPv4Network:
        return IPv4Network(self.subnet.network)

    @property
    def mac(self) -> str:
        return self.mark.mac(f"DHCP {self.subnet.network}")

    @property
    def keeper(self) -> ReservationKeeper:
        return ReservationKeeper(means().proxies.of(self.proxy), self.place)

    async def examine(self) -> None:
        gate = (effects.DHCP, self.place)
        if not await self.exam.look(self.place, _KNOWN, self._known, gate=gate):
            for check in (_READ, _FREE, _WRITE):
                self.exam.not_tried(self.place, check, "the DHCP server does not serve the subnet")
            return
        read = await self.exam.look(self.place, _READ, self._read, gate=gate, seconds=PROBE_SECONDS)
        try:
            found = await self.exam.look(self.place, _FREE, self._free, gate=gate)
            if read and found:
                await self.exam.look(
                    self.place, _WRITE, self._write, gate=gate, seconds=PROBE_SECONDS
                )
            else:
                why = "no free address was found" if read else "reservations cannot be read"
                self.exam.not_tried(self.place, _WRITE, why)
        finally:
            if self.free is not None:
                await to_the_end(
                    self.exam.look(self.place, _BACK, self._give_back, gate=gate), _AWAY_SECONDS
                )

    async def _known(self) -> str:
        served = await means().proxies.of(self.proxy).subnets()
        found = next((one for one in served if one.network == self.net), None)
        if found is None:
            listed = ", ".join(str(one.network) for one in served) or "none"
            raise Refused(
                system="DHCP",
                address=self.place,
                operation=f"serve {self.net}",
                said=f"it does not serve it; it serves: {listed}",
            )
        if found.range_from is None or found.range_to is None:
            return f"{self.net} is served; its dynamic range is not told"
        first, last = IPv4Address(self.subnet.range_from), IPv4Address(self.subnet.range_to)
        if found.range_from <= last and first <= found.range_to:
            raise Refused(
                system="DHCP",
                address=self.place,
                operation=f"leave {first} to {last} to us",
                said=f"its dynamic range {found.range_from} to {found.range_to} reaches into it",
            )
        return f"{self.net}, dynamic range {found.range_from} to {found.range_to}"

    async def _read(self) -> str:
        reservations, leases = await means().proxies.of(self.proxy).network(self.net)
        words = f"{len(reservations)} reservations, {sum(one.active for one in leases)} leases"
        for left in reservations:
            if self._is_probe(left):
                await to_the_end(take_away(self.keeper, left, self._is_probe), _AWAY_SECONDS)
                words += f"; {left.name}, which an earlier doctor had left, was removed"
        return words

    def _is_probe(self, there: Reservation) -> bool:
        return there.mac == self.mac and there.name.startswith(self.mark.label)

    async def _free(self) -> str:
        """As ``take_addresses``: what is promised to a host is left, though DHCP has it free."""
        proxy = means().proxies.of(self.proxy)
        low, high = IPv4Address(self.subnet.range_from), IPv4Address(self.subnet.range_to)
        async with means().sessions() as session:
            taken = await session.exec(select(Interface.ip).where(col(Interface.ip).is_not(None)))
            promised = set(taken)
        parts, offered = [(low, high)], 0
        while parts and offered < _TRIES:
            first, last = parts.pop()
            try:
                ip = await proxy.unused_ip(self.net, self.mac, first, last)
            except Exhausted:
                if not offered:
                    raise
                continue
            self.free = ip
            if str(ip) not in promised:
                return f"{ip} is free"
            offered += 1
            parts += [(ip + 1, last)] if ip < last else []
            parts += [(first, ip - 1)] if first < ip else []
        raise Exhausted(
            system="DHCP",
            address=self.place,
            operation=f"find a free address from {low} to {high}",
            said=f"the {offered} that were offered are promised to hosts",
        )

    async def _write(self) -> str:
        if self.free is None:
            raise RuntimeError("no address was found")
        # An ISC dhcpd wants names that are unique in all its subnets.
        name = f"{self.mark.label}-{str(self.net.network_address).replace('.', '-')}"
        filenames = [one for one in self.subnet.filenames.values() if one]
        record = Reservation(
            mac=self.mac,
            ip=self.free,
            name=name,
            hostname=name,
            next_server=self.subnet.boot_server,
            filename=filenames[0] if filenames else "",
            network=self.net,
        )
        words = await prove(self.keeper, record, self._is_probe)
        return f"{record.ip} for {words}"

    async def _give_back(self) -> str:
        try:
            await means().proxies.of(self.proxy).give_back_ip(self.net, self.mac)
        except Unsupported:
            return f"{self.free} is held by the proxy for half an hour: it cannot be given back"
        return f"{self.free} is free for others"
