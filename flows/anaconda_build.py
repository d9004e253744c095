"""Arrows 18 to 29: the installer has reported its end; end network installation."""

from __future__ import annotations

from uuid import UUID

from prefect import flow

from flows.parameters import HostNames
from flows.travel import travelling
from inventory.arrows import Needs, Phase
from tasks.boot import end_network_installation
from tasks.candlepin import look_at_consumers
from tasks.certificates import look_at_certificates
from tasks.dhcp import check_install_leases

__all__ = ["anaconda_build"]


@flow(name=Phase.ANACONDA.value, retries=0, persist_result=False)
async def anaconda_build(hosts: HostNames, company: UUID | None = None) -> None:
    """Finish the installation of hosts that have reported `built`.

    Args:
        hosts: Full names of the hosts, such as web01.example.org.
        company: Leave empty; Rackrise's dispatcher sets it.
    """
    async with travelling(Phase.ANACONDA, hosts, company) as party:
        # First: until this is done, a host that restarts would be installed again.
        going = await end_network_installation(party)
        going = await check_install_leases(going)
        if Needs.CANDLEPIN in party.needs:
            going = await look_at_consumers(going)
        if Needs.PUPPET in party.needs:
            await look_at_certificates(going)
