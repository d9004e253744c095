"""How a command has a worker run a flow, and reads what the run has shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import typer

from cli.exits import Exit

if TYPE_CHECKING:
    from prefect.client.schemas.objects import Artifact, FlowRun

__all__ = ["artifacts_of", "ran"]

_SECONDS = 120.0
"""Until a run must have ended; it has to be taken up by a worker first."""


async def ran(name: str, parameters: dict[str, Any], seconds: float = _SECONDS) -> FlowRun:
    """Have a worker run a flow to its end.

    Raises:
        typer.Exit: it has not ended well, or not in time; that has been said.
    """
    import httpx
    from prefect.deployments import arun_deployment
    from prefect.exceptions import ObjectNotFound

    try:
        run = await arun_deployment(f"{name}/{name}", parameters=parameters, timeout=seconds)
    except httpx.TransportError as error:
        typer.echo(
            f"Prefect does not answer ({error or type(error).__name__}); see that `rackrise up` or "
            "its server runs, and what PREFECT_API_URL says",
            err=True,
        )
        raise typer.Exit(Exit.UNREACHABLE) from None
    except ObjectNotFound:
        said = f"Prefect knows no deployment {name}: start a worker, which registers it"
        typer.echo(f"{said} (`rackrise worker`)", err=True)
        raise typer.Exit(Exit.UNREACHABLE) from None
    state = run.state
    if state is None or not state.is_final():
        typer.echo(f"{name} has not ended within {seconds:g} s: is a worker running?", err=True)
        raise typer.Exit(Exit.UNREACHABLE)
    if not state.is_completed():
        typer.echo(state.message or f"{name} is {state.name}", err=True)
        raise typer.Exit(Exit.REFUSED)
    return run


async def artifacts_of(run: UUID) -> list[Artifact]:
    """What a run has shown in Prefect."""
    from prefect import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    async with get_client() as client:
        return await client.read_artifacts(artifact_filter=mine)
