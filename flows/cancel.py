"""Gives builds up: what they changed outside is undone, backwards."""

from __future__ import annotations

from uuid import UUID

from prefect import flow

from flows.parameters import HostNames
from flows.travel import IN_PREFECT, Wish, travelling
from inventory.arrows import Phase
from tasks.undo import undo_everything

__all__ = ["cancel"]


@flow(name=Phase.CANCEL.value, retries=0, persist_result=False)
async def cancel(hosts: HostNames, company: UUID | None = None) -> None:
    """Give builds up, and undo what they have changed outside.

    Records that are not ours any more are left, and said. A run that fails part way holds its
    hosts; retried, it goes on with what is not undone yet.

    Args:
        hosts: Full names of the hosts, such as web01.example.org.
        company: Leave empty; Rackrise's dispatcher sets it.
    """
    async with travelling(Phase.CANCEL, hosts, company, Wish(asked_by=IN_PREFECT)) as party:
        await undo_everything(party)
