"""``rackrise hosts``: look at hosts, provision them, let held ones go on."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.inventory import with_inventory

if TYPE_CHECKING:
    from inventory.database import AsyncSession

__all__ = ["app"]

app = typer.Typer(help="Hosts: look at them, provision them, let held ones go on.")


@app.command("list")
def list_hosts() -> None:
    """All hosts: state, since when, and why those that are held are held."""
    from inventory.overview import fleet

    table = Table("host", "state", "since", "address", "held at, because")
    for row in with_inventory(fleet):
        held = f"{row.held_step or '-'}: {row.held_reason}" if row.held_reason else ""
        table.add_row(row.name, row.state, f"{row.since:%H:%M:%S}", row.ip or "", held)
    Console().print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(help="Full name of the host.")]) -> None:
    """One host's arrows: state, evidence, when, and what was seen."""
    from inventory.overview import arrows_of_host

    table = Table("arrow", "state", "evidence", "at", "seen")
    for row in with_inventory(lambda session: arrows_of_host(session, name)):
        table.add_row(
            row.label,
            row.state,
            row.evidence or "",
            f"{row.at:%H:%M:%S}" if row.at else "",
            row.error or row.seen,
        )
    Console().print(table)


@app.command()
def provision(
    name: Annotated[str, typer.Argument(help="Name of a discovered host.")],
    group: Annotated[str, typer.Option("--group", help="Host group that it becomes.")],
    as_name: Annotated[str | None, typer.Option("--name", help="Name that it gets.")] = None,
) -> None:
    """Provision a host: its run starts at once."""
    from inventory import hosts, orders
    from inventory.database import CHANNEL_CALLBACKS, notify
    from inventory.models import now

    async def order(session: AsyncSession) -> None:
        host = await hosts.named(session, name)
        wanted = await orders.group_named(session, group)
        who = f"{getpass.getuser()} at the command line"
        await orders.provision(session, host, wanted, name=as_name, asked_by=who, at=now())
        await notify(session, CHANNEL_CALLBACKS)

    with_inventory(order)
    typer.echo(f"{name} is on its way; see: rackrise hosts show {as_name or name}")


@app.command()
def retry(name: Annotated[str, typer.Argument(help="Full name of a held host.")]) -> None:
    """Let a held host go on at its unfinished step."""
    from inventory import hosts, orders
    from inventory.models import now

    async def order(session: AsyncSession) -> str:
        phase = await orders.retry(session, await hosts.named(session, name), at=now())
        if phase is None:
            return "is waited for anew: start the machine again if it stands still"
        return f"goes on with {phase}"

    typer.echo(f"{name} {with_inventory(order)}")
