"""``rackrise doctor``: whether all is there that provisioning needs, and what to do if not."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exits import Exit
from cli.output import Json, print_json, print_table, table

if TYPE_CHECKING:
    from tasks.doctor.checked import Checked, Kind

__all__ = ["doctor"]

_SIGNS = {
    "ok": "[green]ok[/]",
    "failed": "[bold red]FAILED[/]",
    "not tried": "[yellow]not tried[/]",
}


def doctor(
    only: Annotated[
        str,
        typer.Option(
            help="Kinds of systems, with commas: dhcp, tftp, dns, trees, pulp, puppet, candlepin, "
            "power, gateway. Else all."
        ),
    ] = "",
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds until a worker must have tried everything.")
    ] = 300,
    as_json: Json = False,
) -> None:
    """Try every configured system with the calls that provisioning makes, and leave no trace.

    Exit codes: 0 everything is well; 1 something is not; 2 wrong usage, or refused; 3 inventory,
    Prefect or a worker is not reachable.
    """
    kinds = _kinds(only)
    found, code = asyncio.run(_examine(kinds, timeout))
    if as_json:
        print_json(found)
    else:
        _show(found)
    raise typer.Exit(code)


def _kinds(only: str) -> list[Kind]:
    from tasks.doctor.checked import Kind

    words = [one.strip().lower() for one in only.split(",") if one.strip()]
    known = {one.value for one in Kind}
    if wrong := [one for one in words if one not in known]:
        listed = ", ".join(one.value for one in Kind)
        raise typer.BadParameter(f"{', '.join(wrong)}: there are {listed}", param_hint="--only")
    return [Kind(one) for one in words]


async def _examine(kinds: list[Kind], seconds: float) -> tuple[list[Checked], Exit]:
    from deployments.readiness import GATEWAY, NEEDED, examine_installation
    from tasks.doctor.checked import Outcome, failures_last

    here = await examine_installation()
    if any(one.system in NEEDED and one.outcome is not Outcome.OK for one in here):
        typer.echo("no flow can run: only what can be seen from here was looked at", err=True)
        return failures_last(here), Exit.UNREACHABLE
    try:
        there = await _from_worker(kinds, seconds)
    except typer.Exit as end:
        # What went wrong with the run has been said; what was seen from here is shown all the same.
        return failures_last(here), Exit(end.exit_code)
    reached = {one.place for one in there if one.system == GATEWAY and one.outcome is Outcome.OK}
    found = failures_last([*(_lenient(one, reached) for one in here), *there])
    failed = any(one.outcome is Outcome.FAILED for one in found)
    return found, Exit.FAULT if failed else Exit.DONE


def _lenient(one: Checked, reached: set[str]) -> Checked:
    """A gateway that the worker reaches need not be reachable from an operator's machine."""
    from tasks.doctor.checked import Outcome

    if one.place not in reached or one.outcome is not Outcome.FAILED:
        return one
    seen = f"the worker reaches it, this machine does not: {one.seen}"
    return one.model_copy(update={"outcome": Outcome.NOT_TRIED, "seen": seen, "advice": ""})


async def _from_worker(kinds: list[Kind], seconds: float) -> list[Checked]:
    from cli.runs import artifacts_of, ran
    from tasks.doctor.checked import Checked

    run = await ran("doctor", {"only": [one.value for one in kinds]}, seconds)
    shown = await artifacts_of(run.id)
    rows = [row for one in shown if one.key == "doctor" for row in json.loads(str(one.data))]
    return [Checked.model_validate(row) for row in rows]


def _show(found: list[Checked]) -> None:
    from rich.markup import escape

    shown = table("system", "place", "check", "", "seen", "s")
    last = ""
    for one in found:
        if last and one.system != last:
            shown.add_section()
        system, last = one.system if one.system != last else "", one.system
        words = escape(one.seen) + (f"\n[bold]→ {escape(one.advice)}[/]" if one.advice else "")
        sign = _SIGNS[one.outcome.value]
        place, check = escape(one.place), escape(one.check)
        shown.add_row(system, place, check, sign, words, f"{one.seconds:.1f}")
    print_table(shown)
    count = {sign: sum(one.outcome.value == sign for one in found) for sign in _SIGNS}
    typer.echo(", ".join(f"{number} {sign}" for sign, number in count.items() if number))
