"""``rackrise puppet``: Puppet servers, and what they are told of hosts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.completion import host_names
from cli.inventory import with_inventory
from cli.output import Json, print_json

if TYPE_CHECKING:
    from inventory.database import AsyncSession
    from inventory.models import Classification

__all__ = ["app"]

app = typer.Typer(help="Puppet servers, and what they are told of hosts.")

_File = typer.Option(exists=True, dir_okay=False, readable=True, help="A file in PEM.")


@app.command()
def credentials(
    block: Annotated[str, typer.Argument(help="Name that the site file calls them by.")],
    certificate: Annotated[Path, _File],
    key: Annotated[Path, _File],
    ca: Annotated[Path, _File],
) -> None:
    """Keep our certificate for a Puppet server's CA in a Prefect block; an older one is replaced.

    On the Puppet server: puppetserver ca generate --ca-client --certname rackrise.example.org
    """
    from pydantic import SecretStr

    from tasks.credentials import PuppetCredentials

    kept = PuppetCredentials(
        certificate=certificate.read_text(),
        private_key=SecretStr(key.read_text()),
        ca=ca.read_text(),
    )

    async def keep() -> None:
        await PuppetCredentials.aregister_type_and_schema()
        await kept.asave(block, overwrite=True)

    asyncio.run(keep())
    typer.echo(f"kept as {block}; hosts that were held for the old ones can be retried")


@app.command()
def changes(
    name: Annotated[str, typer.Argument(help="Full name of the host.", autocompletion=host_names)],
    as_json: Json = False,
) -> None:
    """What Puppet was told of a host, and how that has changed, the newest last."""
    from inventory import classification, hosts

    async def look(session: AsyncSession) -> list[Classification]:
        host = await hosts.named(session, name)
        return await classification.changes(session, host.id)

    found = list(reversed(with_inventory(look)))
    if as_json:
        print_json(found)
        return
    for one in found:
        typer.echo(f"{one.answered_at:%Y-%m-%d %H:%M:%S} UTC\n{one.difference}\n")
