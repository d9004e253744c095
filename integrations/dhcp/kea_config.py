"""Kea's configuration as values and back; what is not read here is carried along untouched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, ip_network

from integrations.dhcp.kea_channel import Json, KeaChannel, ask
from integrations.dhcp.rules import SYSTEM, own_subnet
from integrations.errors import Refused
from integrations.records import DhcpSubnet, Lease, Reservation, normal_mac

__all__ = [
    "find_subnet",
    "holder",
    "is_ours",
    "read_config",
    "require_subnet",
    "select",
    "to_item",
    "to_lease",
    "to_reservation",
    "to_subnets",
]

_IDENTIFIERS = ("hw-address", "client-id", "duid", "circuit-id", "flex-id")
_NO_SERVER = "0.0.0.0"  # noqa: S104 - Kea's way to say that there is none


def _levels(config: Json) -> Iterator[tuple[Json, list[Json]]]:
    """Every subnet with the levels whose options it inherits, the nearest first."""
    for subnet in config.get("subnet4", []):
        yield subnet, [subnet, config]
    for shared in config.get("shared-networks", []):
        for subnet in shared.get("subnet4", []):
            yield subnet, [subnet, shared, config]


def find_subnet(config: Json, network: IPv4Network) -> Json | None:
    """The subnet's own object inside the configuration, so that it can be edited there."""
    for subnet, _ in _levels(config):
        if ip_network(subnet["subnet"], strict=False) == network:
            return subnet
    return None


async def read_config(channel: KeaChannel, operation: str) -> Json:
    """The configuration that Kea runs with: the member ``Dhcp4`` alone.

    Newer versions add a ``hash`` beside it that ``config-set`` would refuse.
    """
    answer = await ask(channel, "config-get", operation=operation)
    if not answer or not isinstance(answer.get("Dhcp4"), dict):
        said = "config-get: no Dhcp4 in the answer"
        raise Refused(system=SYSTEM, address=channel.address, operation=operation, said=said)
    config: Json = answer["Dhcp4"]
    return config


def require_subnet(config: Json, network: IPv4Network, *, address: str, operation: str) -> Json:
    """The subnet's own object, as in ``find_subnet``.

    Raises:
        Refused: Kea has no such subnet.
    """
    own_subnet(to_subnets(config), network, address=address, operation=operation)
    subnet = find_subnet(config, network)
    return {} if subnet is None else subnet


def to_subnets(config: Json) -> list[DhcpSubnet]:
    """All subnets; of several pools the first is the dynamic range."""
    return [
        DhcpSubnet(
            network=IPv4Network(subnet["subnet"], strict=False),
            routers=_option(levels, "routers"),
            name_servers=_option(levels, "domain-name-servers"),
            range_from=_pool(subnet)[0],
            range_to=_pool(subnet)[1],
        )
        for subnet, levels in _levels(config)
    ]


def _option(levels: list[Json], name: str) -> tuple[IPv4Address, ...]:
    for level in levels:
        for option in level.get("option-data", []):
            if option.get("name") == name and option.get("csv-format", True):
                return tuple(IPv4Address(part.strip()) for part in option["data"].split(","))
    return ()


def _pool(subnet: Json) -> tuple[IPv4Address, IPv4Address] | tuple[None, None]:
    pools = subnet.get("pools", [])
    if not pools:
        return None, None
    first, dash, last = str(pools[0]["pool"]).partition("-")
    if dash:
        return IPv4Address(first.strip()), IPv4Address(last.strip())
    block = IPv4Network(first.strip(), strict=False)
    return block[0], block[-1]


def to_reservation(item: Json, network: IPv4Network) -> Reservation | None:
    """Read one reservation of Kea's, or None where it has no usable MAC address or no address.

    Kea's reservations have no name of their own; ours carry it in the user context. A foreign one
    is called by its host name, else by its MAC address.
    """
    if not item.get("ip-address") or not item.get("hw-address"):
        return None
    try:
        mac = normal_mac(item["hw-address"])
    except ValueError:
        return None
    next_server = item.get("next-server", "")
    return Reservation(
        mac=mac,
        ip=IPv4Address(item["ip-address"]),
        name=(item.get("user-context") or {}).get("name") or item.get("hostname") or mac,
        hostname=item.get("hostname", ""),
        next_server="" if next_server == _NO_SERVER else next_server,
        filename=item.get("boot-file-name", ""),
        network=network,
    )


def select(items: Iterable[Json], *, mac: str = "", ip: IPv4Address | None = None) -> list[Json]:
    """The reservations that have this MAC or this address, found without reading all of them."""
    return [
        item
        for item in items
        if (mac and item.get("hw-address", "").lower() == mac)
        or (ip and item.get("ip-address") == str(ip))
    ]


def to_item(reservation: Reservation) -> Json:
    """Write a reservation in Kea's words."""
    item: Json = {
        "hw-address": reservation.mac,
        "ip-address": str(reservation.ip),
        "hostname": reservation.hostname,
        "boot-file-name": reservation.filename,
        "user-context": {"name": reservation.name},
    }
    if reservation.next_server:
        item["next-server"] = reservation.next_server
    return item


def is_ours(item: Json) -> bool:
    """Whether the reservation carries a name as we write it; others are never changed."""
    return bool((item.get("user-context") or {}).get("name"))


def holder(item: Json) -> str:
    """Say whom a reservation belongs to, whatever identifies it."""
    identity = next((f"{key} {item[key]}" for key in _IDENTIFIERS if item.get(key)), "nobody")
    name = (item.get("user-context") or {}).get("name") or item.get("hostname") or "unnamed"
    return f"{name} ({identity}, {item.get('ip-address', 'no address')})"


def to_lease(item: Json, now: datetime) -> Lease | None:
    """Read one lease, or None where it is bound to no MAC address (a declined address)."""
    try:
        mac = normal_mac(item.get("hw-address", ""))
    except ValueError:
        return None
    starts = datetime.fromtimestamp(item["cltt"], UTC)
    ends = starts + timedelta(seconds=item["valid-lft"])
    return Lease(
        mac=mac,
        ip=IPv4Address(item["ip-address"]),
        hostname=item.get("hostname", "").rstrip("."),
        starts=starts,
        ends=ends,
        active=item.get("state", 0) == 0 and ends > now,
    )
