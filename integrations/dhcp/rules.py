"""What holds for every DHCP server, so that its implementations cannot drift apart."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from integrations.errors import Conflict, Refused
from integrations.records import DhcpSubnet, Reservation

__all__ = ["SYSTEM", "find_clash", "own_subnet", "require_well_formed"]

SYSTEM = "DHCP"

# Both servers keep these values as quoted text in files of their own; anything else could end the
# quotation and become configuration.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_FILENAME = re.compile(r"[A-Za-z0-9._~:/?#@!&()*+,;=%\[\]-]{0,127}")
"""BOOTP's file field holds 128 octets with its closing NUL (RFC 2131)."""


def own_subnet(
    subnets: Iterable[DhcpSubnet], network: IPv4Network, *, address: str, operation: str
) -> DhcpSubnet:
    """Return the server's subnet of that network.

    Raises:
        Refused: the server has no such subnet; the message lists those that it has.
    """
    known = list(subnets)
    for subnet in known:
        if subnet.network == network:
            return subnet
    served = ", ".join(str(subnet.network) for subnet in known) or "none"
    raise Refused(
        system=SYSTEM,
        address=address,
        operation=operation,
        said=f"there is no subnet {network}; served are: {served}",
    )


def require_well_formed(reservation: Reservation, *, address: str, operation: str) -> None:
    """Check what can be known without asking the server.

    Raises:
        Refused: the address is no host address of the network, or a value would not survive in the
            server's configuration.
    """
    network, ip = reservation.network, reservation.ip
    faults = {
        f"{ip} is not within {network}": ip not in network,
        f"{ip} is the address of {network} itself or its broadcast address": network.prefixlen < 31
        and ip in (network.network_address, network.broadcast_address),
        f"the name {reservation.name!r} is not a host name": not _NAME.fullmatch(reservation.name),
        f"the hostname {reservation.hostname!r} is not a host name": reservation.hostname != ""
        and not _NAME.fullmatch(reservation.hostname),
        f"the next server {reservation.next_server!r} is not an IPv4 address": not _is_address(
            reservation.next_server
        ),
        f"the file name {reservation.filename!r} is not a path or URL of at most 127 characters": (
            not _FILENAME.fullmatch(reservation.filename)
        ),
    }
    for said, wrong in faults.items():
        if wrong:
            raise Refused(system=SYSTEM, address=address, operation=operation, said=said)


def _is_address(text: str) -> bool:
    if not text:
        return True
    try:
        return not IPv4Address(text).is_unspecified
    except ValueError:
        return False


def find_clash(
    wanted: Reservation, existing: Iterable[Reservation], *, address: str, operation: str
) -> bool:
    """Say whether the wanted reservation is there already.

    Args:
        wanted: the reservation that shall exist.
        existing: what the server has now.
        address: where the server is reached, for the message.
        operation: what was asked, for the message.

    Returns:
        True if exactly this reservation exists, False if nothing is in its way.

    Raises:
        Conflict: its MAC or its address is in another reservation, which is never replaced.
    """
    in_the_way = [item for item in existing if item.mac == wanted.mac or item.ip == wanted.ip]
    for other in in_the_way:
        if other != wanted:
            raise Conflict(
                system=SYSTEM,
                address=address,
                operation=operation,
                said=f"{_difference(wanted, other)} in the reservation of {other.name}",
                owner=f"{other.name} ({other.mac}, {other.ip})",
            )
    return bool(in_the_way)


def _difference(wanted: Reservation, other: Reservation) -> str:
    changed = [
        f"{field} is {getattr(other, field)!s} and not {getattr(wanted, field)!s}"
        for field in ("mac", "ip", "name", "hostname", "next_server", "filename", "network")
        if getattr(other, field) != getattr(wanted, field)
    ]
    return "; ".join(changed)
