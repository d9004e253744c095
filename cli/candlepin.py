"""``rackrise candlepin``: who we are in a Candlepin."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(help="Candlepins, at which hosts are registered.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """A command of its own, though it has one only."""


@app.command()
def credentials(
    block: Annotated[str, typer.Argument(help="Name that the site file calls them by.")],
    oauth_key: Annotated[
        str, typer.Option(help="OAuth key; empty: speak as the user, with a password.")
    ] = "",
    user: Annotated[str, typer.Option(help="Candlepin's user in whose name we speak.")] = "admin",
) -> None:
    """Keep key and secret for a Candlepin in a Prefect block; an older one is replaced.

    The secret, or the user's password, is asked for, or taken from RACKRISE_CANDLEPIN_SECRET. In
    Candlepin: candlepin.auth.oauth.enable=true, candlepin.auth.oauth.consumer.KEY.secret=SECRET
    """
    from pydantic import SecretStr

    from tasks.credentials import CandlepinCredentials

    secret = os.environ.get("RACKRISE_CANDLEPIN_SECRET")
    secret = secret or typer.prompt("Secret", hide_input=True)
    kept = CandlepinCredentials(oauth_key=oauth_key, user=user, secret=SecretStr(secret))

    async def keep() -> None:
        await CandlepinCredentials.aregister_type_and_schema()
        await kept.asave(block, overwrite=True)

    asyncio.run(keep())
    typer.echo(f"kept as {block}; hosts that were held for the old ones can be retried")
