"""``rackrise content``: install trees in Pulp."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import typer

from cli.output import Json, print_json

__all__ = ["app"]

app = typer.Typer(help="Install trees in Pulp.")


@dataclass(frozen=True)
class _Started:
    """A run that goes on in a worker."""

    flow_run_id: UUID
    name: str


@app.command()
def credentials(
    block: Annotated[str, typer.Argument(help="Name that the site file calls them by.")],
    user: Annotated[str, typer.Option(help="User of the Pulp.")],
) -> None:
    """Keep the credentials of a Pulp in a Prefect block; an older one of the name is replaced.

    The password is asked for, or taken from RACKRISE_PULP_PASSWORD.
    """
    from pydantic import SecretStr

    from tasks.credentials import PulpCredentials

    secret = os.environ.get("RACKRISE_PULP_PASSWORD")
    secret = secret or typer.prompt("Password", hide_input=True)

    async def keep() -> None:
        await PulpCredentials.aregister_type_and_schema()
        kept = PulpCredentials(user=user, password=SecretStr(secret))
        await kept.asave(block, overwrite=True)

    asyncio.run(keep())
    typer.echo(f"kept as {block}; hosts that were held for the old ones can be retried")


@app.command()
def sync(
    trees: Annotated[list[str] | None, typer.Argument(help="Names; without: all.")] = None,
    as_json: Json = False,
) -> None:
    """Start the synchronisation of install trees; it goes on in a worker."""
    from prefect.deployments import arun_deployment

    async def start() -> _Started:
        run = await arun_deployment(
            "sync-content/sync-content",
            parameters={"trees": trees or []},
            flow_run_name=f"sync-content · {', '.join(trees or ['all trees'])}",
            timeout=0,
        )
        return _Started(run.id, run.name)

    started = asyncio.run(start())
    if as_json:
        print_json(started)
    else:
        typer.echo(f"started as {started.name}; see it in Prefect's UI")
