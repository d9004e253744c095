"""``rackrise content``: install trees in Pulp."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(help="Install trees in Pulp.")


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
) -> None:
    """Start the synchronisation of install trees; it goes on in a worker."""
    from prefect.deployments import arun_deployment

    async def start() -> str:
        run = await arun_deployment(
            "sync-content/sync-content",
            parameters={"trees": trees or []},
            flow_run_name=f"sync-content · {', '.join(trees or ['all trees'])}",
            timeout=0,
        )
        return f"{run.name}, run {run.id}"

    typer.echo(f"started as {asyncio.run(start())}; see it in Prefect's UI")
