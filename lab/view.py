"""How the demo shows hosts and arrows: one symbol for each arrow, by its evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.table import Table

from inventory.arrows import WAY, Evidence, arrows_of
from inventory.fleet import FleetRow
from inventory.life import HostState
from inventory.models import StepState
from inventory.overview import ArrowRow

__all__ = ["LEGEND", "Fleet", "arrows_in_full", "arrows_in_short", "fleet_table", "summary"]

_EVIDENCE = {Evidence.OBSERVED: "●", Evidence.REPORTED: "◐", Evidence.IMPLIED: "○"}
_STATE = {
    StepState.PENDING: "·",
    StepState.RUNNING: "▸",
    StepState.FAILED: "✗",
    StepState.NOT_ASKED: "–",  # noqa: RUF001 - a dash as long as the others are wide
}
LEGEND = "● observed  ◐ reported  ○ implied  – not asked for  ▸ under way  ✗ failed  · to come"  # noqa: RUF001
_SETTLED = frozenset({StepState.DONE, StepState.NOT_ASKED})


@dataclass(frozen=True)
class Fleet:
    """What the inventory knows of the hosts at one moment."""

    hosts: Sequence[FleetRow]
    arrows: Mapping[str, Sequence[ArrowRow]]
    """By the host's name."""

    @property
    def in_operation(self) -> list[FleetRow]:
        """Hosts that have arrived."""
        return [one for one in self.hosts if one.state == HostState.IN_OPERATION]

    @property
    def held(self) -> list[FleetRow]:
        """Hosts that wait for a person."""
        return [one for one in self.hosts if one.state == HostState.HELD]

    @property
    def unsettled(self) -> list[tuple[str, ArrowRow]]:
        """Arrows that are neither done nor not asked for, with their host's name."""
        return [
            (name, one)
            for name, rows in self.arrows.items()
            for one in rows
            if one.state not in _SETTLED
        ]


def _symbol(row: ArrowRow) -> str:
    if row.state == StepState.DONE and row.evidence is not None:
        return _EVIDENCE[Evidence(row.evidence)]
    return _STATE.get(StepState(row.state), "?")


def _symbols(rows: Sequence[ArrowRow]) -> str:
    """34 symbols, with a gap between two phases."""
    by_number = {row.number: _symbol(row) for row in rows}
    return " ".join(
        "".join(by_number.get(one.number, "·") for one in arrows_of(phase)) for phase in WAY
    )


def fleet_table(fleet: Fleet, now: datetime) -> Table:
    """A line for each host."""
    table = Table("host", "arrows 1-5  6-17  18-29  30-34", "state", "since", caption=LEGEND)
    for host in fleet.hosts:
        state = host.state if host.held_reason is None else f"held: {host.held_reason[:60]}"
        seconds = f"{(now - host.since).total_seconds():.0f} s"
        table.add_row(host.name, _symbols(fleet.arrows.get(host.name, ())), state, seconds)
    return table


def arrows_in_full(rows: Sequence[ArrowRow]) -> str:
    """A line for each arrow of one host: evidence, when, which, and what was seen."""
    lines = (
        f"{_symbol(row)} {row.evidence or row.state:<13} {_time(row):<8}  {row.label}"
        f"{': ' if row.error or row.seen else ''}{row.error or row.seen}"
        for row in rows
    )
    return "\n".join(lines)


def arrows_in_short(rows: Sequence[ArrowRow]) -> str:
    """All arrows of one host in a few lines: number, symbol, time."""
    return "  ".join(f"{row.number}{_symbol(row)}{_time(row)}".rstrip() for row in rows)


def _time(row: ArrowRow) -> str:
    return f"{row.at.astimezone(UTC):%H:%M:%S}" if row.at else ""


def summary(fleet: Fleet, hosts: int) -> str:
    """The demo's last line."""
    rows = [one for rows in fleet.arrows.values() for one in rows]
    count = Counter(one.evidence for one in rows if one.state == StepState.DONE)
    not_asked = sum(one.state == StepState.NOT_ASKED for one in rows)
    return (
        f"hosts in operation: {len(fleet.in_operation)} of {hosts}; "
        f"arrows: {count[Evidence.OBSERVED]} observed, {count[Evidence.REPORTED]} reported, "
        f"{count[Evidence.IMPLIED]} implied, {not_asked} not asked for"
    )
