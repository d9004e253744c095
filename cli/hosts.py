"""``rackrise hosts``: look at hosts, provision them, let them go on, give them up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.actor import at_the_command_line
from cli.completion import group_names, host_names
from cli.exits import Exit
from cli.inventory import with_inventory
from cli.output import Json, moment, print_json, print_table, table, tell

if TYPE_CHECKING:
    from inventory.database import AsyncSession
    from inventory.fleet import FleetRow
    from inventory.hardware import HardwareRow
    from inventory.life import HostState
    from inventory.models import Host, ProfileChange
    from inventory.overview import ArrowRow, EffectRow
    from inventory.profiles import ProfileRow
    from inventory.repositories import RepositoryRow
    from inventory.retries import Held

__all__ = ["app"]

app = typer.Typer(help="Hosts: look at them, provision them, let held ones go on.")


def _held(row: FleetRow) -> str:
    if row.state in ("cancelling", "cancelled", "decommissioning", "retired"):
        return row.given_up or ""
    if row.state != "held" or not row.held_reason:
        return row.trouble or ""
    return f"{row.held_step or '-'}: {row.held_reason}. {row.held_advice or ''}".rstrip(". ") + "."


@dataclass(frozen=True)
class _Shown:
    """All that is shown of one host."""

    host: FleetRow
    arrows: list[ArrowRow]
    hardware: list[HardwareRow]
    repositories: list[RepositoryRow]
    reported: list[ProfileRow]
    changed_outside: list[EffectRow]


@dataclass(frozen=True)
class _Came:
    """What came and went with one report."""

    at: datetime
    content_type: str
    removed: list[str]
    added: list[str]


@dataclass(frozen=True)
class _Acted:
    """Where a host is now that something was asked of it."""

    name: str
    state: HostState


@app.command("list")
def list_hosts(as_json: Json = False) -> None:
    """All hosts: state, since when, and why those that are held or given up are so."""
    from inventory.fleet import everyone

    rows = with_inventory(everyone)
    if as_json:
        print_json(rows)
        return
    shown = table("host", "state", "since (UTC)", "address", "held at, because; what to do")
    for row in rows:
        shown.add_row(row.name, row.state, moment(row.since), row.ip or "", _held(row))
    print_table(shown)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Full name of the host.", autocompletion=host_names)],
    as_json: Json = False,
) -> None:
    """One host: arrows with state, evidence and what was seen; hardware, what it has installed."""
    from inventory import hosts, profiles, repositories
    from inventory.fleet import everyone
    from inventory.hardware import hardware_of
    from inventory.overview import arrows_of_host, effects_of_host

    async def look(
        session: AsyncSession,
    ) -> tuple[
        list[ArrowRow],
        list[FleetRow],
        list[RepositoryRow],
        list[HardwareRow],
        list[ProfileRow],
        list[EffectRow],
    ]:
        host = await hosts.named(session, name)
        return (
            await arrows_of_host(session, name),
            await everyone(session, name),
            await repositories.of_host(session, host.id),
            await hardware_of(session, host.id),
            await profiles.of_host(session, host.id),
            await effects_of_host(session, host.id),
        )

    arrows, rows, used, hardware, reported, changed = with_inventory(look)
    if as_json:
        print_json(_Shown(rows[0], arrows, hardware, used, reported, changed))
        return
    shown = table("arrow", "state", "evidence", "at (UTC)", "seen")
    for row in arrows:
        shown.add_row(
            row.label,
            row.state,
            row.evidence or "",
            moment(row.at) if row.at else "",
            row.error or row.seen,
        )
    print_table(shown)
    if hardware:
        shown = table("hardware", "value", "by the facts of", "at (UTC)")
        for part in hardware:
            shown.add_row(part.what, part.value, part.source, moment(part.at))
        print_table(shown)
    if used:
        shown = table("repository", "address", "served by")
        for one in used:
            shown.add_row(one.name, one.url, one.known_as)
        print_table(shown)
    if reported:
        shown = table("reported", "how many", "at (UTC)", "last change (UTC)", "came", "went")
        for kind in reported:
            latest = (moment(kind.changed_at), f"{kind.added}", f"{kind.removed}")
            last = latest if kind.added or kind.removed else ("", "", "")
            shown.add_row(kind.content_type, f"{kind.count}", moment(kind.received_at), *last)
        print_table(shown)
    if changed:
        shown = table("changed outside", "where", "state", "at (UTC)", "seen")
        for effect in changed:
            record = f"{effect.system} {effect.key}"
            shown.add_row(record, effect.place, effect.state, moment(effect.at), effect.seen)
        print_table(shown)
    for host in rows:
        if said := _held(host):
            comes = "at " if host.state == "held" else "by " if host.given_up else "and "
            typer.echo(f"{host.name} is {host.state} {comes}{said}")


@app.command()
def packages(
    name: Annotated[str, typer.Argument(help="Full name of the host.", autocompletion=host_names)],
    changes: Annotated[bool, typer.Option("--changes", help="How they have changed.")] = False,
    as_json: Json = False,
) -> None:
    """The packages that a host last reported, a line each; or what came and went, and when."""
    from inventory import hosts, profiles

    async def look(session: AsyncSession) -> tuple[list[str], list[ProfileChange]]:
        host = await hosts.named(session, name)
        return (
            await profiles.packages_of(session, host.id),
            await profiles.changes_of(session, host.id),
        )

    now_there, changed = with_inventory(look)
    if as_json:
        words = profiles.in_words
        came = [
            _Came(one.at, one.content_type, [*map(words, one.removed)], [*map(words, one.added)])
            for one in changed
        ]
        print_json(came if changes else now_there)
        return
    if not changes:
        typer.echo("\n".join(now_there) or f"{name} has reported no packages")
        return
    for one in changed:
        typer.echo(f"{moment(one.at)} UTC, {one.content_type}")
        for sign, items in (("-", one.removed), ("+", one.added)):
            for item in items:
                typer.echo(f"  {sign} {profiles.in_words(item)}")
    if not changed:
        typer.echo(f"{name} has reported no change")


@app.command()
def provision(
    name: Annotated[
        str, typer.Argument(help="Name of a discovered host.", autocompletion=host_names)
    ],
    group: Annotated[
        str, typer.Option("--group", help="Host group that it becomes.", autocompletion=group_names)
    ],
    as_name: Annotated[str | None, typer.Option("--name", help="Name that it gets.")] = None,
    as_json: Json = False,
) -> None:
    """Provision a host: its run starts at once."""
    from inventory import acts
    from inventory.models import now

    async def order(session: AsyncSession) -> _Acted:
        who = at_the_command_line()
        return _acted(
            await acts.provision(session, who, name, group, as_name=as_name or "", at=now())
        )

    done = with_inventory(order)
    sentence = f"{name} is on its way; see: rackrise hosts show {done.name}"
    tell(sentence, done, as_json=as_json)


@app.command()
def rebuild(
    name: Annotated[
        str,
        typer.Argument(
            help="Full name of a host that was built before.", autocompletion=host_names
        ),
    ],
    group: Annotated[
        str | None,
        typer.Option(
            "--group", help="Host group that it becomes; else its own.", autocompletion=group_names
        ),
    ] = None,
    as_name: Annotated[
        str, typer.Option("--name", help="Name that it gets; else it keeps its own.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Install a host anew, under its address: what is on its disk is lost."""
    from inventory import acts
    from inventory.models import now

    async def order(session: AsyncSession) -> _Acted:
        who = at_the_command_line()
        return _acted(
            await acts.rebuild(session, who, name, group or "", as_name=as_name, at=now())
        )

    done = with_inventory(order)
    tell(f"{name} is built anew; see: rackrise hosts show {done.name}", done, as_json=as_json)


@app.command()
def cancel(
    name: Annotated[
        str,
        typer.Argument(help="Full name of a host that is being built.", autocompletion=host_names),
    ],
    why: Annotated[str, typer.Option(help="Kept beside who asked.")] = "",
    as_json: Json = False,
) -> None:
    """Give a host's build up, and undo what it has changed outside."""
    from inventory import acts
    from inventory.models import now

    async def order(session: AsyncSession) -> _Acted:
        return _acted(await acts.cancel(session, at_the_command_line(), name, why=why, at=now()))

    sentence = f"{name} is given up; what is undone: rackrise hosts show {name}"
    tell(sentence, with_inventory(order), as_json=as_json)


@app.command()
def decommission(
    name: Annotated[str, typer.Argument(help="Full name of a host.", autocompletion=host_names)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Let a host go for good: its address, names, boot files, certificate and consumer.

    The machine itself is not touched: switch it off, or it keeps an address that is free to others.
    """
    from inventory import acts
    from inventory.models import now

    if not yes:
        typer.confirm(f"Remove all that there is of {name} outside?", abort=True)

    async def order(session: AsyncSession) -> _Acted:
        return _acted(await acts.decommission(session, at_the_command_line(), name, at=now()))

    sentence = f"{name} leaves; what is undone: rackrise hosts show {name}"
    tell(sentence, with_inventory(order), as_json=as_json)


@app.command()
def retry(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Full names of held hosts.", autocompletion=host_names),
    ] = None,
    held_at: Annotated[
        int | None, typer.Option("--held-at", help="All hosts that are held at this step.")
    ] = None,
    because: Annotated[
        str, typer.Option("--because", help="Of these, only those with such words in the reason.")
    ] = "",
    group: Annotated[
        str,
        typer.Option(
            "--group", help="Of these, only those of a group.", autocompletion=group_names
        ),
    ] = "",
    everyone: Annotated[
        bool, typer.Option("--all", help="Also where they are held for different reasons.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let held hosts go on at their unfinished step."""
    from inventory import acts, retries
    from inventory.models import now

    if (held_at is None) == (not names):
        raise typer.BadParameter("name hosts, or give a step with --held-at")

    async def order(session: AsyncSession) -> retries.Retried:
        chosen = list(names or [])
        if held_at is not None:
            found = await retries.held_at(session, held_at, because=because, group=group)
            chosen = _same_reason(found, held_at, everyone=everyone)
        return await acts.retry(session, at_the_command_line(), chosen, at=now())

    told = with_inventory(order)
    if as_json:
        print_json(told)
    else:
        for name, phase in told.goes.items():
            waits = "is waited for anew: start the machine again if it stands still"
            typer.echo(f"{name} {waits if phase is None else f'goes on with {phase}'}")
        for why in told.refused.values():
            typer.echo(why, err=True)
    if told.refused:
        raise typer.Exit(Exit.REFUSED)


def _acted(host: Host) -> _Acted:
    return _Acted(host.name, host.state)


def _same_reason(found: list[Held], step: int, *, everyone: bool) -> list[str]:
    if not found:
        raise typer.BadParameter(f"no host is held at {step} for such a reason")
    if len(found) > 1 and not everyone:
        listed = "\n".join(f"{len(one.hosts):5}  {one.reason}" for one in found)
        ways = "choose with --because, or --all"
        raise typer.BadParameter(f"they are held for {len(found)} reasons; {ways}:\n{listed}")
    return [name for one in found for name in one.hosts]
