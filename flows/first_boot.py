"""Arrows 30 to 34: the installed system has reported; judge it and put the host into operation."""

from __future__ import annotations

from uuid import UUID

from prefect import flow

from flows.parameters import HostNames
from flows.travel import travelling
from inventory.arrows import Needs, Phase
from tasks.candlepin import check_consumers
from tasks.certificates import check_certificates
from tasks.dhcp import check_first_boot_leases
from tasks.hosts import judge_first_boot
from tasks.puppet import judge_puppet
from tasks.repositories import compare_repositories
from tasks.undo import undo_former_records

__all__ = ["first_boot"]


@flow(name=Phase.FIRST_BOOT.value, retries=0, persist_result=False)
async def first_boot(hosts: HostNames, company: UUID | None = None) -> None:
    """Put hosts whose installed system has reported into operation.

    Args:
        hosts: Full names of the hosts, such as web01.example.org.
        company: Leave empty; Rackrise's dispatcher sets it.
    """
    async with travelling(Phase.FIRST_BOOT, hosts, company) as party:
        going = await check_first_boot_leases(party)
        if Needs.CANDLEPIN in party.needs:
            going = await check_consumers(going)
        if Needs.PUPPET in party.needs:
            going = await check_certificates(going)
            going = await judge_puppet(going)
        going = await compare_repositories(going)
        if party.again:
            going = await undo_former_records(going)
        await judge_first_boot(going)
