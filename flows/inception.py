"""Arrows 6 to 17: everything that must exist before a host may be sent into its installer."""

from __future__ import annotations

from uuid import UUID

from prefect import flow

from flows.parameters import HostGroupName, HostNames, OneHostName
from flows.travel import IN_PREFECT, Wish, travelling
from inventory.arrows import Needs, Phase
from tasks.boot import fetch_boot_files, write_boot_configs
from tasks.candlepin import prepare_subscriptions, remove_consumers
from tasks.certificates import clean_certificates
from tasks.dhcp import reserve_in_dhcp, take_addresses
from tasks.dns import create_dns_records
from tasks.kickstart import check_kickstarts
from tasks.power import order_reboot

__all__ = ["inception"]


@flow(name=Phase.INCEPTION.value, retries=0, persist_result=False)
async def inception(
    hosts: HostNames,
    host_group: HostGroupName = "",
    name: OneHostName = "",
    company: UUID | None = None,
) -> None:
    """Provision hosts: address, boot configuration, boot files, DHCP, DNS, then the reboot.

    Started again for a host that was held, it goes on at the step that failed.

    Args:
        hosts: Names of the hosts, such as mac525400aabb01 or web01.example.org.
        host_group: Host group that they are to become, as the site file names it; empty keeps
            their own.
        name: For a single host: the name that it gets, such as web01; empty keeps its own.
        company: Leave empty; Rackrise's dispatcher sets it.
    """
    wish = Wish(host_group, name, asked_by=IN_PREFECT)
    async with travelling(Phase.INCEPTION, hosts, company, wish) as party:
        going = await take_addresses(party)
        going = await write_boot_configs(going)
        going = await fetch_boot_files(going)
        going = await reserve_in_dhcp(going)
        going = await create_dns_records(going)
        going = await check_kickstarts(going)
        if Needs.CANDLEPIN in party.needs:
            going = await prepare_subscriptions(going)
            going = await remove_consumers(going)
        if Needs.PUPPET in party.needs:
            going = await clean_certificates(going)
        await order_reboot(going)
