"""``rackrise webhooks``: who outside is told of what happens to hosts."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from cli.inventory import with_inventory
from cli.output import Json, moment, print_json, print_table, table, tell

if TYPE_CHECKING:
    from inventory.database import AsyncSession
    from inventory.models import Delivery, HostEvent
    from inventory.webhook_rows import WebhookRow

__all__ = ["app"]

app = typer.Typer(help="Webhooks: who outside is told of events.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="How the webhook is called.")]


@app.command()
def add(
    name: Name,
    url: Annotated[str, typer.Argument(help="Where deliveries are sent.")],
    kind: Annotated[list[str] | None, typer.Option(help="Only events of this kind.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="Only of hosts of this site.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="Only of hosts of this group.")] = None,
    as_json: Json = False,
) -> None:
    """Tell somebody of events from now on. Its secret is made, and shown this once.

    Needs RACKRISE_SECRET_KEY, as the workers have it.
    """
    from cli.actor import at_the_command_line
    from inventory import acts_on_webhooks, webhooks
    from inventory.models import now

    key = os.environ.get("RACKRISE_SECRET_KEY", "")
    wanted = webhooks.Wanted(url, tuple(kind or ()), tuple(site or ()), tuple(group or ()))

    async def work(session: AsyncSession) -> str:
        _, secret = await acts_on_webhooks.add(
            session, at_the_command_line(), name, wanted, key=key, at=now()
        )
        return secret

    secret = with_inventory(work)
    sentence = f"{name} is told from now on; its deliveries are signed with\n{secret}"
    tell(sentence, {"name": name, "secret": secret}, as_json=as_json)


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """Show all webhooks."""
    from inventory import webhooks
    from inventory.webhook_rows import webhook_row

    found = with_inventory(webhooks.list_all)
    if as_json:
        print_json([webhook_row(one) for one in found])
        return
    rows = table("Webhook", "URL", "Told of", "State")
    for one in found:
        limits = [*one.kinds, *one.sites, *one.host_groups]
        state = "enabled" if one.enabled else f"disabled: {one.disabled_why}"
        rows.add_row(one.name, one.url, ", ".join(limits) or "everything", state)
    print_table(rows)


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show the last hundred deliveries of a webhook, and what became of them."""
    from inventory import deliveries
    from inventory.webhook_rows import delivery_row

    async def work(session: AsyncSession) -> list[tuple[Delivery, HostEvent]]:
        return await deliveries.of_webhook(session, name)

    found = with_inventory(work)
    if as_json:
        print_json([delivery_row(one, event) for one, event in found])
        return
    rows = table("Event", "Host", "At", "Attempts", "State", "Said")
    states: Counter[str] = Counter()
    for one, event in found:
        state = "delivered" if one.delivered_at else "owed" if one.next_at else "given up"
        states[state] += 1
        rows.add_row(
            event.kind, event.host, moment(event.at), str(one.attempts), state, one.last_error
        )
    print_table(rows)
    typer.echo(", ".join(f"{count} {state}" for state, count in states.items()) or "none yet")


@app.command()
def enable(name: Name, as_json: Json = False) -> None:
    """Tell a webhook again that was disabled."""
    from cli.actor import at_the_command_line
    from inventory import acts_on_webhooks
    from inventory.models import now
    from inventory.webhook_rows import webhook_row

    async def work(session: AsyncSession) -> WebhookRow:
        actor = at_the_command_line()
        changed = await acts_on_webhooks.set_enabled(session, actor, name, True, at=now())
        return webhook_row(changed)

    sentence = f"{name} is told from now on; for what was given up: rackrise webhooks redeliver"
    tell(sentence, with_inventory(work), as_json=as_json)


@app.command()
def redeliver(name: Name, as_json: Json = False) -> None:
    """Send once more what was given up."""
    from cli.actor import at_the_command_line
    from inventory import acts_on_webhooks
    from inventory.models import now

    async def work(session: AsyncSession) -> int:
        return await acts_on_webhooks.redeliver(session, at_the_command_line(), name, at=now())

    again = with_inventory(work)
    tell(f"{again} deliveries are tried once more", {"deliveries": again}, as_json=as_json)


@app.command()
def remove(name: Name, as_json: Json = False) -> None:
    """Forget a webhook, and what it is owed."""
    from cli.actor import at_the_command_line
    from inventory import acts_on_webhooks
    from inventory.models import now

    async def work(session: AsyncSession) -> None:
        await acts_on_webhooks.remove(session, at_the_command_line(), name, at=now())

    with_inventory(work)
    tell(f"{name} is told nothing more", {"removed": name}, as_json=as_json)
