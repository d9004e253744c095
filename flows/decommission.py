"""Lets hosts go for good: nothing of them is left outside."""

from __future__ import annotations

from uuid import UUID

from prefect import flow

from flows.parameters import HostNames
from flows.travel import IN_PREFECT, Wish, travelling
from inventory.arrows import Phase
from tasks.content import remove_unneeded_boot_files
from tasks.undo import boot_servers_of, undo_everything

__all__ = ["decommission"]


@flow(name=Phase.DECOMMISSION.value, retries=0, persist_result=False)
async def decommission(hosts: HostNames, company: UUID | None = None) -> None:
    """Let hosts go for good, and undo what all their builds have changed outside.

    Records that are not ours any more are left, and said. A run that fails part way holds its
    hosts; retried, it goes on with what is not undone yet.

    Args:
        hosts: Full names of the hosts, such as web01.example.org.
        company: Leave empty; Rackrise's dispatcher sets it.
    """
    async with travelling(Phase.DECOMMISSION, hosts, company, Wish(asked_by=IN_PREFECT)) as party:
        await undo_everything(party)
    for proxy in await boot_servers_of(party):
        await remove_unneeded_boot_files(proxy)
