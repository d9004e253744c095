"""Starts the deployment ``plan`` for whoever asked for a plan in console or API."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import PrefectClient

from inventory import plans
from inventory.database import Sessions

__all__ = ["start_plans"]


async def start_plans(sessions: Sessions, client: PrefectClient, deployment: UUID) -> int:
    """Create a run for each plan that was asked for and has none.

    A crash between the run and its record makes no second one: the request is the run's key.

    Returns:
        How many were created.
    """
    async with sessions.begin() as session:
        asked = await plans.wanted(session)
        for one in asked:
            run = await client.create_flow_run_from_deployment(
                deployment,
                name=f"plan · {one.host}",
                parameters={
                    "hosts": [one.host],
                    "host_group": one.host_group,
                    "request": one.number,
                },
                tags=[f"host:{one.host}"],
                idempotency_key=f"plan request {one.number}",
            )
            await plans.started(session, one.number, run.id)
    return len(asked)
