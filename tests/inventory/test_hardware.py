"""Hardware by facts: the newest source that names a property is believed, in either shape."""

from __future__ import annotations

from inventory.hardware import hardware_of
from inventory.hosts import keep_facts
from tests.conftest import Database
from tests.inventory.world import discovered, later, make_group

FLAT = {"productname": "R640", "memorysize_mb": 2048.5, "processorcount": 4, "serialnumber": "S1"}
STRUCTURED = {
    "dmi": {"product": {"name": "R640"}, "bios": {"version": "2.1"}, "manufacturer": None},
    "memory": {"system": {"total": "64.00 GiB"}},
    "processors": {"count": 8},
    "kernelrelease": "6.1.0",
}


async def test_the_newest_facts_that_say_so_are_believed(database: Database) -> None:
    async with database.sessions.begin() as session:
        await make_group(session)
    host, _ = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        await keep_facts(session, host.id, "discovery", FLAT, later(1))
        before = {one.what: one.value for one in await hardware_of(session, host.id)}
        await keep_facts(session, host.id, "puppet", STRUCTURED, later(2))
        rows = {one.what: (one.value, one.source) for one in await hardware_of(session, host.id)}
    assert before == {"model": "R640", "serial": "S1", "processors": "4", "memory": "2048.5 MB"}
    assert rows == {
        "model": ("R640", "puppet"),
        "serial": ("S1", "discovery"),
        "firmware": ("2.1", "puppet"),
        "processors": ("8", "puppet"),
        "memory": ("64.00 GiB", "puppet"),
        "kernel": ("6.1.0", "puppet"),
    }


async def test_a_host_without_facts_has_no_hardware(database: Database) -> None:
    async with database.sessions.begin() as session:
        await make_group(session)
    host, _ = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        assert await hardware_of(session, host.id + 1) == []
