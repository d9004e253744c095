"""``rackrise site``: the site file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(help="The site file: subnets, domains, install trees, host groups, rules.")


@app.command()
def apply(file: Annotated[Path, typer.Argument(help="The site's TOML file.")]) -> None:
    """Make the inventory and the boot servers' defaults what FILE says; says what it changed."""
    from deployments.settings import InventorySettings, ProxyClientSettings
    from deployments.site import apply as apply_site
    from integrations.errors import OutsideError
    from inventory.errors import InventoryError

    url = InventorySettings().database_url.get_secret_value()
    try:
        for line in asyncio.run(apply_site(file, url, ProxyClientSettings())):
            typer.echo(line)
    except (InventoryError, OutsideError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
