from __future__ import annotations

from inventory.builds import set_group
from inventory.context import arrivals, contexts
from tests.conftest import Database
from tests.inventory.world import discovered, mac, make_group


async def test_a_context_holds_all_that_a_phase_needs_and_only_for_builds_with_a_group(
    database: Database,
) -> None:
    async with database.sessions.begin() as session:
        group = await make_group(session)
    _, build = await discovered(database.sessions, 1)
    _, undecided = await discovered(database.sessions, 2)
    async with database.sessions.begin() as session:
        await set_group(session, build, group, "test")
        found = await contexts(session, [build.id, undecided.id])
        early = await arrivals(session, [build.id, undecided.id])
    assert set(found) == {build.id}
    context = found[build.id]
    assert (context.interface.mac, context.group.name) == (mac(1), "web")
    assert (context.operating_system.name, context.tree.name) == ("LabOS 1", "tree")
    assert (context.subnet.name, context.domain.name, context.site.name) == (
        "lan",
        "example.org",
        "lab",
    )
    assert {context.dhcp_proxy.name, context.tftp_proxy.name, context.dns_proxy.name} == {"proxy"}
    arrival = early[undecided.id]
    assert (arrival.interface.mac, arrival.site.name) == (mac(2), "lab")
    assert arrival.subnet is not None
    assert arrival.dhcp_proxy is not None
