"""Arrows 1 to 5: a machine has sent its facts; see how it came, and whether a rule wants it."""

from __future__ import annotations

from uuid import UUID

from prefect import flow

from flows.parameters import HostNames
from flows.travel import travelling
from inventory.arrows import Phase
from tasks.dhcp import check_discovery_leases
from tasks.hosts import weigh_rules
from tasks.power import see_power

__all__ = ["discovery_intake"]


@flow(name=Phase.DISCOVERY.value, retries=0, persist_result=False)
async def discovery_intake(hosts: HostNames, company: UUID | None = None) -> None:
    """Take in machines that have sent their facts, and weigh the discovery rules for them.

    Args:
        hosts: Names of discovered hosts, such as mac525400aabb01.
        company: Leave empty; Rackrise's dispatcher sets it.
    """
    async with travelling(Phase.DISCOVERY, hosts, company) as party:
        going = await see_power(party)
        going = await check_discovery_leases(going)
        await weigh_rules(going)
