"""``rackrise site``: the site file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cli.exits import Exit
from cli.output import Json, print_json

__all__ = ["app"]

app = typer.Typer(help="The site file: subnets, domains, install trees, host groups, rules.")


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="The site's TOML file.")], as_json: Json = False
) -> None:
    """Make the inventory and the boot servers' defaults what FILE says; says what it changed."""
    from cli.actor import at_the_command_line
    from deployments.settings import InventorySettings, ProxyClientSettings
    from deployments.site import apply as apply_site
    from integrations.errors import OutsideError
    from inventory.errors import InventoryError

    url = InventorySettings().database_url.get_secret_value()
    try:
        changes = asyncio.run(apply_site(file, url, ProxyClientSettings(), at_the_command_line()))
    except (InventoryError, OutsideError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(Exit.REFUSED) from None
    if as_json:
        print_json(changes)
        return
    for line in changes:
        typer.echo(line)
