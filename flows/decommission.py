"""Lets hosts go for good: nothing of them is left outside."""

from __future__ import annotations

from uuid import UUID

from prefect import flow

from flows.travel import Wish, travelling
from inventory.arrows import Phase
from tasks.content import remove_unneeded_boot_files
from tasks.undo import boot_servers_of, let_go, list_undone, systems_of, undo_records

__all__ = ["decommission"]


@flow(name=Phase.DECOMMISSION.value, retries=0, persist_result=False)
async def decommission(hosts: list[str], company: UUID | None = None) -> None:
    """Let hosts go for good, and undo what all their builds have changed outside.

    Records that are not ours any more are left, and said. A run that fails part way holds its
    hosts; retried, it goes on with what is not undone yet.

    Args:
        hosts: Full names of the hosts.
        company: Leave empty; Rackrise's dispatcher sets it.
    """
    async with travelling(Phase.DECOMMISSION, hosts, company, _WISH) as party:
        going = party
        for system in await systems_of(party):
            going = await undo_records(going, system)
        await list_undone(party)
        await let_go(going)
    for proxy in await boot_servers_of(party):
        await remove_unneeded_boot_files(proxy)


_WISH = Wish(asked_by="a run started in Prefect")
