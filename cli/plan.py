"""``rackrise plan`` and ``rackrise drift``: what would be done, and what is not as it should be."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.completion import group_names, host_names
from cli.inventory import with_inventory
from cli.output import Json, print_json
from cli.runs import artifacts_of, ran

if TYPE_CHECKING:
    from inventory.database import AsyncSession
    from inventory.models import Drift

__all__ = ["drift", "plan"]


def plan(
    hosts: Annotated[
        list[str] | None, typer.Argument(help="Names of hosts.", autocompletion=host_names)
    ] = None,
    group: Annotated[
        str,
        typer.Option(
            "--group",
            help="Host group that they would become; else their own.",
            autocompletion=group_names,
        ),
    ] = "",
    name: Annotated[str, typer.Option("--name", help="Name that a single host would get.")] = "",
    as_json: Json = False,
) -> None:
    """Show what provisioning would create, change and leave, and what is in the way; touch nothing.

    Without names: of all hosts of the group. To have somebody approve a plan before it is carried
    out, run the deployment plan in Prefect's UI, with approve.
    """
    if not hosts and not group:
        raise typer.BadParameter("name hosts, or a host group with --group")

    async def look() -> dict[str | None, str]:
        run = await ran("plan", {"hosts": hosts or [], "host_group": group, "name": name})
        return {one.key: str(one.data) for one in await artifacts_of(run.id)}

    shown = asyncio.run(look())
    if as_json:
        print_json(json.loads(shown["plan-lines"]))
    else:
        typer.echo(shown["plan"].replace("```\n", "").replace("```", "").strip())


def drift(
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what is ours; nobody else's is touched.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare what every server really holds with what should be there, and say what differs."""

    async def read(session: AsyncSession) -> list[Drift]:
        from sqlmodel import select

        from inventory.models import Drift

        return list(await session.exec(select(Drift).order_by(Drift.host, Drift.system)))

    asyncio.run(ran("drift", {"repair": repair}))
    found = with_inventory(read)
    if as_json:
        print_json(found)
        return
    for one in found:
        record = f"{one.system} {one.key} at {one.place}".strip()
        typer.echo(f"{one.judgement:12} {one.host}: {record}: {one.words}")
    if not found:
        typer.echo("everything is as it should be")
