"""``rackrise bmc``: switch the machines whose BMCs the site file describes (arrow 1)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.inventory import with_inventory
from cli.output import Json, tell

if TYPE_CHECKING:
    from integrations.power import Power
    from inventory.database import AsyncSession
    from inventory.models import Bmc

__all__ = ["app"]

app = typer.Typer(help="Machines with a BMC: see whether they have power, and switch them.")
Name = Annotated[str, typer.Argument(help="Name of the BMC in the site file.")]


@app.command()
def credentials(
    block: Annotated[str, typer.Argument(help="Name that the site file calls them by.")],
    user: Annotated[str, typer.Option(help="Account on the BMC, or user of the SSH server.")],
    private_key: Annotated[
        Path | None, typer.Option(help="For SSH instead of a password: file of the key.")
    ] = None,
) -> None:
    """Keep the credentials of BMCs in a Prefect block; an older one of the name is replaced.

    The password is asked for, or taken from RACKRISE_BMC_PASSWORD.
    """
    from pydantic import SecretStr

    from tasks.credentials import PowerCredentials

    if private_key is not None:
        key = SecretStr(private_key.read_text())
        kept = PowerCredentials(user=user, private_key=key)
    else:
        secret = os.environ.get("RACKRISE_BMC_PASSWORD") or typer.prompt(
            "Password", hide_input=True
        )
        kept = PowerCredentials(user=user, password=SecretStr(secret))

    async def keep() -> None:
        await PowerCredentials.aregister_type_and_schema()
        await kept.asave(block, overwrite=True)

    asyncio.run(keep())
    typer.echo(f"kept as {block}; hosts that were held for the old ones can be retried")


@app.command()
def state(name: Name, as_json: Json = False) -> None:
    """Say whether a machine has power."""
    _tell(name, _switch(name, lambda power: power.state()), as_json=as_json)


@app.command()
def on(name: Name, as_json: Json = False) -> None:
    """Switch a machine on, as arrow 1 has it; it boots the network next."""

    async def switch(power: Power) -> str:
        from integrations.errors import Unsupported
        from integrations.power import BootDevice

        try:
            await power.boot_once(BootDevice.PXE)
        except Unsupported as error:
            typer.echo(f"its own boot order decides: {error.said}", err=True)
        await power.on()
        return await power.state()

    _tell(name, _switch(name, switch), as_json=as_json)


@app.command()
def off(name: Name, as_json: Json = False) -> None:
    """Switch a machine off hard."""

    async def switch(power: Power) -> str:
        await power.off()
        return await power.state()

    _tell(name, _switch(name, switch), as_json=as_json)


def _tell(name: str, state: str, *, as_json: bool) -> None:
    tell(state, {"name": name, "power": state}, as_json=as_json)


def _switch(name: str, act: Callable[[Power], Awaitable[str]]) -> str:
    from integrations.errors import OutsideError
    from integrations.power.factory import power_for
    from tasks.company import Problem
    from tasks.credentials import power_settings

    async def find(session: AsyncSession) -> Bmc:
        from inventory.hosts import bmc_named

        return await bmc_named(session, name)

    async def switch(bmc: Bmc) -> str:
        power = power_for(await power_settings(bmc))
        try:
            return await act(power)
        finally:
            await power.close()

    try:
        return asyncio.run(switch(with_inventory(find)))
    except (OutsideError, Problem) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
