"""``rackrise waves``: many hosts, a canary first, then batches that grow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.actor import at_the_command_line
from cli.inventory import with_inventory
from cli.output import Json, moment, print_json, print_table, table, tell

if TYPE_CHECKING:
    from inventory.database import AsyncSession
    from inventory.wave_rows import WaveDetail, WavePage, WaveRow

__all__ = ["app"]

app = typer.Typer(
    help="Waves: provision many hosts, a canary first, then batches that grow.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="How the wave is called.")]


@app.command()
def start(
    name: Name,
    group: Annotated[str, typer.Option(help="The host group that the hosts become.")],
    host: Annotated[
        list[str] | None, typer.Argument(help="Names of hosts, in the order of their turn.")
    ] = None,
    hosts_from: Annotated[
        Path | None,
        typer.Option(
            help="File with a name on each line; - is standard input.",
            allow_dash=True,
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    canary: Annotated[int, typer.Option(help="Hosts of the first batch.")] = 1,
    growth: Annotated[
        float, typer.Option(help="How many times as large as the one before a batch is.")
    ] = 2.0,
    largest: Annotated[int, typer.Option(help="Hosts of a batch at most; 0: no limit.")] = 0,
    failures: Annotated[
        float, typer.Option(help="Stop when more than this share has failed; from 0 to 1.")
    ] = 0.1,
    per_subnet: Annotated[
        int, typer.Option(help="Hosts under way at a time in the subnet; 0: no limit.")
    ] = 0,
    per_boot_server: Annotated[
        int, typer.Option(help="Likewise at the boot server; 0: no limit.")
    ] = 0,
    per_pulp: Annotated[int, typer.Option(help="Likewise at the Pulp; 0: no limit.")] = 0,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Hosts that have a system may be in it: they are installed anew, and what is on "
            "their disks is lost.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Start a wave; it goes on by itself. If one host cannot be in it, nothing is started."""
    from inventory import acts_on_waves
    from inventory.models import now
    from inventory.wave_draft import Draft

    listed = _lines(hosts_from) if hosts_from is not None else []
    draft = Draft(
        name=name,
        host_group=group,
        hosts=(*(host or ()), *listed),
        canary=canary,
        growth=growth,
        largest=largest,
        failure_share=failures,
        per_subnet=per_subnet,
        per_boot_server=per_boot_server,
        per_pulp=per_pulp,
        rebuild=rebuild,
    )

    async def work(session: AsyncSession) -> WaveRow:
        await acts_on_waves.start(session, at_the_command_line(), draft, at=now())
        return await _row(session, name)

    sentence = f"{name} runs with {len(draft.hosts)} hosts; see: rackrise waves show {name}"
    tell(sentence, with_inventory(work), as_json=as_json)


@app.command("list")
def list_all(
    limit: Annotated[int, typer.Option(min=1, help="So many at most, the newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """Waves, the newest first."""
    from inventory import wave_views
    from inventory.scope import Scope

    async def work(session: AsyncSession) -> WavePage:
        return await wave_views.overview(session, Scope(), limit=limit)

    found = with_inventory(work)
    if as_json:
        print_json(found.waves)
        return
    rows = table("Wave", "Group", "State", "Batch", "Hosts", "Good", "Failed", "Begun", "Why")
    for one in found.waves:
        batch = "" if one.batch is None else str(one.batch)
        numbers = [batch, str(one.hosts), str(one.good), str(one.failed)]
        rows.add_row(one.name, one.host_group, one.state, *numbers, moment(one.made_at), one.why)
    print_table(rows)
    if found.next is not None:
        typer.echo(f"There are older ones: --limit {2 * limit}")


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """A wave with each of its hosts; batch 0 is the canary."""
    from inventory import wave_views
    from inventory.scope import Scope

    async def work(session: AsyncSession) -> WaveDetail:
        return await wave_views.detail(session, Scope(), name)

    found = with_inventory(work)
    if as_json:
        print_json(found)
        return
    wave = found.wave
    typer.echo(f"{wave.name}: {wave.state}, {wave.host_group}, begun by {wave.asked_by}")
    if wave.why:
        typer.echo(wave.why)
    typer.echo(
        f"{wave.waiting} waiting, {wave.under_way} under way, {wave.good} good, "
        f"{wave.failed} failed ({wave.share:.0%}; {found.failure_share:.0%} may), "
        f"{wave.refused} refused, {wave.let_go} let go"
    )
    rows = table("Host", "Batch", "Outcome", "Reason")
    for one in found.hosts:
        ended = f"{one.ended}, forgiven" if one.forgiven else one.ended
        rows.add_row(one.name, "" if one.batch is None else str(one.batch), ended, one.reason)
    print_table(rows)


@app.command()
def pause(name: Name, as_json: Json = False) -> None:
    """Order no more hosts for now; those under way go on."""
    from inventory import acts_on_waves
    from inventory.models import now

    async def work(session: AsyncSession) -> WaveRow:
        await acts_on_waves.pause(session, at_the_command_line(), name, at=now())
        return await _row(session, name)

    tell(f"{name} is paused; hosts under way go on", with_inventory(work), as_json=as_json)


@app.command("go-on")
def go_on(name: Name, as_json: Json = False) -> None:
    """Let a paused or stopped wave go on; after a stop the failures so far count no more."""
    from inventory import acts_on_waves
    from inventory.models import now

    async def work(session: AsyncSession) -> WaveRow:
        await acts_on_waves.go_on(session, at_the_command_line(), name, at=now())
        return await _row(session, name)

    tell(f"{name} goes on", with_inventory(work), as_json=as_json)


@app.command()
def cancel(name: Name, as_json: Json = False) -> None:
    """Let the hosts go that are not ordered yet; those under way go on."""
    from inventory import acts_on_waves
    from inventory.models import now

    async def work(session: AsyncSession) -> WaveRow:
        await acts_on_waves.cancel(session, at_the_command_line(), name, at=now())
        return await _row(session, name)

    tell(f"{name} is cancelled; hosts under way go on", with_inventory(work), as_json=as_json)


async def _row(session: AsyncSession, name: str) -> WaveRow:
    from inventory import wave_views
    from inventory.scope import Scope

    return (await wave_views.detail(session, Scope(), name, limit=1)).wave


def _lines(path: Path) -> list[str]:
    text = sys.stdin.read() if str(path) == "-" else path.read_text()
    return [line.strip() for line in text.splitlines() if line.strip()]
