"""``rackrise plan`` and ``rackrise drift``: what would be done, and what is not as it should be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.inventory import with_inventory

if TYPE_CHECKING:
    from inventory.database import AsyncSession
    from inventory.models import Drift

__all__ = ["drift", "plan"]

_SECONDS = 120
"""Until a run must have ended; it has to be taken up by a worker first."""


async def _ran(name: str, parameters: dict[str, Any]) -> Any:
    """Have a worker run a flow to its end; returns the run.

    Raises:
        typer.Exit: it has not ended well, or not in time; that has been said.
    """
    from prefect.deployments import arun_deployment

    run = await arun_deployment(f"{name}/{name}", parameters=parameters, timeout=_SECONDS)
    state = run.state
    if state is None or not state.is_final():
        typer.echo(f"{name} has not ended within {_SECONDS} s: is a worker running?", err=True)
        raise typer.Exit(1)
    if not state.is_completed():
        typer.echo(state.message or f"{name} is {state.name}", err=True)
        raise typer.Exit(2)
    return run


def plan(
    hosts: Annotated[list[str] | None, typer.Argument(help="Names of hosts.")] = None,
    group: Annotated[
        str, typer.Option("--group", help="Host group that they would become; else their own.")
    ] = "",
    name: Annotated[str, typer.Option("--name", help="Name that a single host would get.")] = "",
) -> None:
    """Show what provisioning would create, change and leave, and what is in the way; touch nothing.

    Without names: of all hosts of the group. To have somebody approve a plan before it is carried
    out, run the deployment plan in Prefect's UI, with approve.
    """
    if not hosts and not group:
        raise typer.BadParameter("name hosts, or a host group with --group")

    async def look() -> str:
        from prefect import get_client
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

        parameters = {"hosts": hosts or [], "host_group": group, "name": name}
        run = await _ran("plan", parameters)
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        async with get_client() as client:
            found = await client.read_artifacts(artifact_filter=mine)
        return "\n".join(str(one.data) for one in found).replace("```\n", "").replace("```", "")

    typer.echo(asyncio.run(look()).strip())


def drift(
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what is ours; nobody else's is touched.")
    ] = False,
) -> None:
    """Compare what every server really holds with what should be there, and say what differs."""

    async def read(session: AsyncSession) -> list[Drift]:
        from sqlmodel import select

        from inventory.models import Drift

        return list(await session.exec(select(Drift).order_by(Drift.host, Drift.system)))

    asyncio.run(_ran("drift", {"repair": repair}))
    found = with_inventory(read)
    for one in found:
        record = f"{one.system} {one.key} at {one.place}".strip()
        typer.echo(f"{one.judgement:12} {one.host}: {record}: {one.words}")
    if not found:
        typer.echo("everything is as it should be")
