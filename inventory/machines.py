"""A machine as discovery rules see it: its facts, and plain names for what people ask for.

Facts are texts, numbers or structured, as the Facter of the discovery image was old or new; the
names are of one kind always. Sizes are bytes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import col, select

from inventory.database import AsyncSession
from inventory.expressions import UNITS
from inventory.models import Facts, Interface, Subnet

__all__ = ["NAMES", "Machine", "machine_of", "machines_of", "named_values"]

NAMES: Mapping[str, str] = {
    "memory": "bytes of memory that the system has; some less than the modules have",
    "cpus": "processors as the system counts them",
    "sockets": "processors that can be taken in the hand",
    "disk": "bytes of the largest disk",
    "disks": "number of disks",
    "storage": "bytes of all disks together",
    "vendor": "who made the machine",
    "model": "what its maker calls it",
    "serial": "its serial number",
    "uuid": "its UUID",
    "virtual": "whether it is a virtual machine",
    "efi": "whether it has booted by EFI",
    "architecture": "of its processors, such as x86_64",
    "mac": "of the interface that it booted from",
    "ip": "the temporary address of that interface",
    "subnet": "name of the subnet in which that address lies",
}
"""What conditions and host names may ask for beside ``facts``."""

_NO_DISK = re.compile(r"(sr|fd|loop|ram|zram|dm-|md)\d")


@dataclass(frozen=True)
class Machine:
    """What a rule may look at."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """As they were received from its discovery image."""
    mac: str | None = None
    """Of the interface that it booted from, with colons."""
    ip: str | None = None
    """Its temporary address."""
    subnet: str | None = None
    """Name of the subnet in which that lies."""


async def machine_of(session: AsyncSession, host_id: int) -> Machine:
    """One host as rules see it; empty when nothing is known of it."""
    return (await machines_of(session, [host_id])).get(host_id, Machine())


async def machines_of(session: AsyncSession, host_ids: Collection[int]) -> dict[int, Machine]:
    """Hosts as rules see them, by id; those of which nothing is known are absent."""
    found = await session.exec(
        select(Facts.host_id, Facts.values).where(
            col(Facts.host_id).in_(host_ids), col(Facts.source) == "discovery"
        )
    )
    facts = dict(found.all())
    rows = await session.exec(
        select(Interface.host_id, Interface.mac, Interface.discovered_ip, Subnet.name)
        .outerjoin(Subnet, col(Subnet.id) == col(Interface.subnet_id))
        .where(col(Interface.host_id).in_(host_ids), col(Interface.provisioning))
    )
    boots = {host: (mac, ip, subnet) for host, mac, ip, subnet in rows}
    return {
        host: Machine(facts.get(host, {}), *boots.get(host, ())) for host in facts.keys() | boots
    }


def named_values(machine: Machine) -> dict[str, Any]:
    """The values of ``NAMES`` that are known of a machine; the others are absent."""
    facts = machine.facts
    sizes = list(_disks(facts))
    known = {
        "memory": _memory(facts),
        "cpus": _whole(_first(facts, "processorcount", "processors.count")),
        "sockets": _whole(_first(facts, "physicalprocessorcount", "processors.physicalcount")),
        "disk": max(sizes, default=None),
        "disks": len(sizes) or None,
        "storage": sum(sizes) or None,
        "vendor": _text(_first(facts, "manufacturer", "dmi.manufacturer")),
        "model": _text(_first(facts, "productname", "dmi.product.name")),
        "serial": _text(_first(facts, "serialnumber", "dmi.product.serial_number")),
        "uuid": _text(_first(facts, "uuid", "dmi.product.uuid")),
        "virtual": _truth(_first(facts, "is_virtual")),
        "efi": _truth(_first(facts, "efi")),
        "architecture": _text(_first(facts, "architecture", "os.architecture", "hardwaremodel")),
        "mac": machine.mac or _text(_first(facts, "discovery_bootif")),
        "ip": machine.ip or _text(_first(facts, "ipaddress", "networking.ip")),
        "subnet": machine.subnet,
    }
    return {name: value for name, value in known.items() if value is not None}


def _first(facts: Mapping[str, Any], *places: str) -> object:
    for place in places:
        value: object = facts
        for name in place.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None and value != "":
            return value
    return None


def _text(value: object) -> str | None:
    return str(value).strip() or None if isinstance(value, str | int | float) else None


def _truth(value: object) -> bool | None:
    words = {"true": True, "false": False}
    return value if isinstance(value, bool) else words.get(str(value).lower())


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < 2**63 else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else round(number)


def _memory(facts: Mapping[str, Any]) -> int | None:
    exact = _whole(_first(facts, "memory.system.total_bytes"))
    if exact is not None:
        return exact
    # Facter calls them MB; they are 1024 * 1024 bytes.
    in_mb = _number(_first(facts, "memorysize_mb"))
    if in_mb is not None:
        return round(in_mb * UNITS["MiB"])
    words = str(_first(facts, "memory.system.total", "memorysize") or "").split()
    size = _number(words[0]) if len(words) == 2 else None
    if size is None:
        return None
    factors = {"kB": "KiB", "MB": "MiB", "GB": "GiB", "TB": "TiB"}
    factor = UNITS.get(factors.get(words[1], words[1]))
    return None if factor is None else round(size * factor)


def _disks(facts: Mapping[str, Any]) -> Iterator[int]:
    """The size of each disk, by its structured fact or else by its flat one."""
    structured = facts.get("disks")
    structured = structured if isinstance(structured, Mapping) else {}
    sizes: dict[str, int | None] = {
        name: _whole(_first(disk, "size_bytes"))
        for name, disk in structured.items()
        if isinstance(disk, Mapping)
    }
    for key, value in facts.items():
        if (name := key.removeprefix("blockdevice_")) != key and name.endswith("_size"):
            sizes[name.removesuffix("_size")] = _whole(value)
    yield from (size for name, size in sizes.items() if size and not _NO_DISK.match(name))
