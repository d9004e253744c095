"""Arrows 2, 7, 8, 12, 13, 18 and 30: leases and reservations, through the subnet's proxy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from prefect import task
from pydantic import ValidationError

from integrations.errors import Exhausted
from integrations.records import Lease, Reservation
from integrations.smart_proxy import SmartProxy
from inventory import callbacks, effects, hosts
from inventory.arrows import Evidence
from inventory.context import Arrival, BuildContext
from inventory.errors import AddressTaken
from inventory.life import Event, HostState
from inventory.models import Callback, CallbackKind, Proxy
from inventory.reports import FirstReport
from tasks import desired
from tasks.company import Company, Problem, Seen, each, each_arrival, require_claim, step
from tasks.means import means
from tasks.places import proxy_place
from tasks.road import ensure

__all__ = [
    "ReservationKeeper",
    "check_discovery_leases",
    "check_first_boot_leases",
    "check_install_leases",
    "reservation_keeper",
    "reserve_in_dhcp",
    "take_addresses",
]

_TRIES = 20


@dataclass(frozen=True)
class ReservationKeeper:
    """Reservations of one subnet, as its proxy reads them from the DHCP server."""

    proxy: SmartProxy
    place: str
    system: str = effects.DHCP
    replaces: bool = False
    sole: bool = False

    @property
    def source(self) -> str:
        """The server behind the proxy."""
        return f"the DHCP server of {self.place}"

    def key(self, record: Reservation) -> str:
        """A subnet holds one reservation for an interface."""
        return record.mac

    def owner(self, there: Reservation) -> str:
        """The server knows a reservation's name, interface and address."""
        return f"{there.name} ({there.mac}, {there.ip})"

    async def read(self, record: Reservation) -> Reservation | None:
        """The interface's reservation."""
        return await self.proxy.reservation_by_mac(record.network, record.mac)

    async def write(self, record: Reservation) -> None:
        """Reserve; the proxy refuses an address that is somebody else's."""
        await self.proxy.reserve(record)

    async def remove(self, there: Reservation) -> None:
        """Release, if it is still the one that was read."""
        await self.proxy.release(there)

    def at_rest(self, record: Reservation) -> dict[str, Any]:
        """All of it: it holds no secret."""
        return record.model_dump(mode="json")

    def recall(self, key: str, at_rest: dict[str, Any]) -> Reservation:
        """As it was kept."""
        return Reservation.model_validate(at_rest)

    def former(self, at_rest: dict[str, Any]) -> Reservation | None:
        """As it was."""
        return self.recall("", at_rest)


def reservation_keeper(context: BuildContext) -> ReservationKeeper:
    """The keeper of a host's subnet."""
    proxy = context.dhcp_proxy
    return ReservationKeeper(means().proxies.of(proxy), proxy_place(proxy, context.subnet.network))


@task(**step("Take a free address", 7, 8))
async def take_addresses(company: Company) -> Company:
    """Ask the proxy for a free address once and keep it in the inventory before it is used."""
    return await each(company, (7, 8), _take_address)


async def _take_address(context: BuildContext) -> Seen:
    m = means()
    async with m.sessions.begin() as session:
        host = await hosts.lock_host(session, context.build.host_id)
        await require_claim(session, context.build.id)
        if host.state is HostState.SELECTED:
            await hosts.move(session, host, Event.PREPARE, m.clock())
    net, mac = desired.network_of(context), context.interface.mac
    proxy = m.proxies.of(context.dhcp_proxy)
    if context.interface.ip is not None:
        ip = desired.address_of(context)
        return await _free_for(proxy, net, mac, ip, "kept from before")
    first = IPv4Address(context.subnet.range_from)
    last = IPv4Address(context.subnet.range_to)
    parts, promised = [(first, last)], 0
    while parts and promised < _TRIES:
        low, high = parts.pop()
        try:
            async with m.admission.gate(effects.DHCP, context.dhcp_proxy.url):
                ip = await proxy.unused_ip(net, mac, low, high)
        except Exhausted:
            if not promised:
                raise
            continue
        try:
            async with m.sessions.begin() as session:
                await require_claim(session, context.build.id)
                await hosts.take_address(session, context.interface, str(ip))
        except AddressTaken:
            # Free in DHCP, but promised to a host whose reservation is still to come: look on
            # both sides of it, because a proxy gives one interface the same address again.
            promised += 1
            parts += [(ip + 1, high)] if ip < high else []
            parts += [(low, ip - 1)] if low < ip else []
            continue
        return await _free_for(proxy, net, mac, ip, "asked for once")
    raise Problem(
        f"the addresses from {first} to {last} that DHCP calls free are promised to other hosts; "
        f"{promised} were offered for {context.host.name}",
        "Widen the subnet's range in the site file, or retire hosts; then retry.",
    )


async def _free_for(
    proxy: SmartProxy, net: IPv4Network, mac: str, ip: IPv4Address, how: str
) -> Seen:
    others = [one for one in await proxy.reservations_by_ip(net, ip) if one.mac != mac]
    if others:
        raise Problem(
            f"{ip} is to be ours, but DHCP has it reserved for {others[0].name} ({others[0].mac})",
            "Remove that reservation, or give this host another address; then retry.",
        )
    return Seen(f"{ip}, {how}; no reservation of another interface holds it")


@task(**step("Reserve the address in DHCP", 12, 13))
async def reserve_in_dhcp(company: Company) -> Company:
    """Reserve exactly this address for exactly this interface, with its boot server and file."""
    return await each(company, (12, 13), _reserve)


async def _reserve(context: BuildContext) -> Seen:
    record = desired.reservation(context)
    words = await ensure(context.build.id, reservation_keeper(context), record)
    return Seen(f"{record.ip} for {record.mac}: {words}")


@task(**step("Look for the temporary lease", 2))
async def check_discovery_leases(company: Company) -> Company:
    """See the lease with which a host booted the discovery image."""
    return await each_arrival(company, (2,), _discovery_lease, recheck=True)


async def _discovery_lease(arrival: Arrival) -> Seen:
    said = f"its facts came from {arrival.interface.discovered_ip}"
    if arrival.subnet is None or arrival.dhcp_proxy is None:
        return Seen(f"{said}, which lies in no subnet that we know", Evidence.IMPLIED)
    network = IPv4Network(arrival.subnet.network)
    lease = await _lease(arrival.dhcp_proxy, network, arrival.interface.mac)
    if lease is None:
        return Seen(f"{said}; DHCP shows no lease for it", Evidence.IMPLIED)
    return Seen(_words(lease))


@task(**step("Look for the lease on the reserved address", 18))
async def check_install_leases(company: Company) -> Company:
    """See the lease with which the installer runs."""
    return await each(
        company,
        (18,),
        lambda context: _reserved_lease(context, CallbackKind.KICKSTART),
        recheck=True,
    )


@task(**step("Look for the lease on the reserved address", 30))
async def check_first_boot_leases(company: Company) -> Company:
    """See the lease with which the installed system runs."""
    return await each(company, (30,), lambda context: _reserved_lease(context, CallbackKind.REPORT))


async def _reserved_lease(context: BuildContext, called: CallbackKind) -> Seen:
    lease = await _lease(context.dhcp_proxy, desired.network_of(context), context.interface.mac)
    ip = desired.address_of(context)
    if lease is not None and lease.ip == ip and await _is_of_this_boot(context, lease, called):
        return Seen(_words(lease))
    # dhcpd keeps no lease for a fixed address: the host's own call is then the best there is.
    async with means().sessions() as session:
        call = await callbacks.latest(session, context.build.id, called)
    remote = call.remote if call else "an unknown address"
    if remote == str(ip):
        return Seen(f"its {called} came from {ip}; DHCP shows no lease on it", Evidence.IMPLIED)
    raise Problem(
        f"{context.host.name} has {ip} reserved, but its {called} came from {remote}",
        "See which DHCP server answered it (a second one on the network?); then retry.",
    )


async def _is_of_this_boot(context: BuildContext, lease: Lease, called: CallbackKind) -> bool:
    """Whether the installed system itself has this lease, and not the installer before it."""
    if called is not CallbackKind.REPORT:
        return True
    async with means().sessions() as session:
        built = await callbacks.latest(session, context.build.id, CallbackKind.BUILT)
        report = await callbacks.latest(session, context.build.id, called)
    since = built.received_at if built else _started(report)
    return since is None or (lease.starts is not None and lease.starts >= since)


def _started(report: Callback | None) -> datetime | None:
    """When the system that reports was started, where nobody heard that it was built."""
    try:
        said = FirstReport.model_validate_json(report.body) if report else None
    except ValidationError:
        return None  # whoever judges the report says so
    return report.received_at - timedelta(seconds=said.uptime_seconds) if report and said else None


async def _lease(proxy: Proxy, network: IPv4Network, mac: str) -> Lease | None:
    m = means()
    async with m.admission.gate(effects.DHCP, proxy.url):
        _, leases = await m.proxies.of(proxy).network(network)
    mine = [one for one in leases if one.mac == mac and one.active]
    return max(mine, key=lambda one: one.starts.timestamp() if one.starts else 0, default=None)


def _words(lease: Lease) -> str:
    since = f" since {lease.starts:%H:%M:%S}" if lease.starts else ""
    return f"lease of {lease.ip} to {lease.mac}{since}, read from the DHCP server"
