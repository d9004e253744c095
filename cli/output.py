"""How commands show what they found: tables for people, JSON for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

__all__ = ["Json", "moment", "print_json", "print_table", "table", "tell"]

_PIPE_COLUMNS = 400

Json = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]


def table(*columns: str) -> Table:
    """An empty table."""
    made = Table()
    for one in columns:
        # A name that is cut short cannot be searched for.
        made.add_column(one, overflow="fold")
    return made


def print_table(rows: Table) -> None:
    """Show a table as wide as the terminal."""
    screen = Console()
    # In a pipe nobody sees eighty columns; a row stays a line there for whoever filters it.
    (screen if screen.is_terminal else Console(width=_PIPE_COLUMNS)).print(rows)


def print_json(value: object) -> None:
    """Write a dataclass, a model or a list of them as JSON; times in ISO 8601, in UTC."""
    from typing import Any

    from pydantic import TypeAdapter

    typer.echo(TypeAdapter(Any).dump_json(value, indent=2).decode())


def tell(sentence: str, now: object, *, as_json: bool) -> None:
    """Say what was done: a sentence to people, to programs the thing as it is now."""
    if as_json:
        print_json(now)
    else:
        typer.echo(sentence)


def moment(at: datetime) -> str:
    """A time as people read it, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
