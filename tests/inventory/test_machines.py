"""Plain names over the facts of old and new discovery images, and over nonsense."""

from __future__ import annotations

from typing import Any

import pytest

from inventory.machines import NAMES, Machine, machine_of, named_values
from tests.conftest import Database
from tests.inventory.world import discovered, mac, make_group

FLAT = {
    "memorysize_mb": "65536.00",
    "physicalprocessorcount": 2,
    "processorcount": "32",
    "blockdevices": "sda,sdb,sr0",
    "blockdevice_sda_size": 480103981056,
    "blockdevice_sdb_size": "960197124096",
    "blockdevice_sr0_size": 1073741312,
    "blockdevice_sda_vendor": "ATA",
    "manufacturer": "Dell Inc.",
    "productname": "PowerEdge R650",
    "serialnumber": "ABC1234",
    "uuid": "4c4c4544-0000",
    "is_virtual": "false",
    "efi": True,
    "architecture": "x86_64",
    "discovery_bootif": "52:54:00:00:00:01",
    "ipaddress": "192.0.2.9",
}
STRUCTURED = {
    "memory": {"system": {"total": "64.00 GiB", "total_bytes": 68719476736}},
    "processors": {"count": 32, "physicalcount": 2},
    "disks": {
        "sda": {"size": "447.13 GiB", "size_bytes": 480103981056},
        "sdb": {"size_bytes": 960197124096},
        "sr0": {"size_bytes": 1073741312},
        "sdc": {},
    },
    "dmi": {
        "manufacturer": "Dell Inc.",
        "product": {"name": "PowerEdge R650", "serial_number": "ABC1234", "uuid": "4c4c4544-0000"},
    },
    "is_virtual": False,
    "efi": True,
    "os": {"architecture": "x86_64"},
    "discovery_bootif": "52:54:00:00:00:01",
    "networking": {"ip": "192.0.2.9"},
}
KNOWN = {
    "memory": 64 * 2**30,
    "cpus": 32,
    "sockets": 2,
    "disk": 960197124096,
    "disks": 2,
    "storage": 960197124096 + 480103981056,
    "vendor": "Dell Inc.",
    "model": "PowerEdge R650",
    "serial": "ABC1234",
    "uuid": "4c4c4544-0000",
    "virtual": False,
    "efi": True,
    "architecture": "x86_64",
    "mac": "52:54:00:00:00:01",
    "ip": "192.0.2.9",
}


@pytest.mark.parametrize("facts", [FLAT, STRUCTURED, {**STRUCTURED, **FLAT}])
def test_old_and_new_facts_give_the_same_names(facts: dict[str, Any]) -> None:
    assert named_values(Machine(facts)) == KNOWN
    assert set(KNOWN) | {"subnet"} == set(NAMES)


@pytest.mark.parametrize(
    ("facts", "memory"),
    [
        ({"memorysize": "7.61 GB"}, round(7.61 * 2**30)),
        ({"memorysize": "512.00 MiB"}, 2**29),
        ({"memorysize": "a lot"}, None),
        ({"memorysize": ""}, None),
        ({"memorysize_mb": "nan"}, None),
        ({"memorysize_mb": "1e999"}, None),
        ({"memorysize_mb": -1}, None),
        ({"memorysize_mb": True}, None),
        ({"memory": "x", "memorysize_mb": 1}, 2**20),
    ],
)
def test_memory_is_bytes_or_not_known(facts: dict[str, Any], memory: int | None) -> None:
    assert named_values(Machine(facts)).get("memory") == memory


def test_what_is_nonsense_is_not_known() -> None:
    nonsense: dict[str, Any] = {name: [{}] for name in (*FLAT, *STRUCTURED)}
    assert named_values(Machine(nonsense)) == {}
    assert named_values(Machine({"disks": {"sda": 1, "sdb": {"size_bytes": "x"}}})) == {}
    assert named_values(Machine()) == {}


async def test_a_host_is_known_with_the_interface_that_it_booted(database: Database) -> None:
    async with database.sessions.begin() as session:
        await make_group(session)
    host, _ = await discovered(database.sessions, 1)
    async with database.sessions() as session:
        machine = await machine_of(session, host.id)
        nobody = await machine_of(session, 99)
    assert (machine.mac, machine.ip, machine.subnet) == (mac(1), "192.0.2.201", "lan")
    assert nobody == Machine()
