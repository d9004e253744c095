"""``rackrise backup`` and ``rackrise restore``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from deployments.backup import Source

__all__ = ["backup", "restore"]

Data = Annotated[
    Path, typer.Option(help="The data directory of `rackrise up`.", envvar="RACKRISE_DATA")
]
_DATA = Path("/var/lib/rackrise")


def backup(
    file: Annotated[Path, typer.Argument(help="Where the backup is to be.")],
    data: Data = _DATA,
    force: Annotated[bool, typer.Option(help="Overwrite FILE.")] = False,
) -> None:
    """Write inventory, Prefect's database and keys into FILE, while everything runs.

    FILE holds secrets and is readable by its owner only. Other databases than those of the data
    directory: RACKRISE_DATABASE_URL, PREFECT_API_DATABASE_CONNECTION_URL, RACKRISE_TOKEN_KEY.
    """
    from deployments.backup import backup as make

    _tell(make(file, _source(data), force=force))


def restore(
    file: Annotated[Path, typer.Argument(help="From `rackrise backup`.")],
    data: Data = _DATA,
    force: Annotated[
        bool, typer.Option(help="Also where something is; it is kept beside.")
    ] = False,
) -> None:
    """Make the site what it was when FILE was made, or change nothing. No program may run on it."""
    from deployments.restore import restore as make

    _tell(make(file, _source(data), force=force))


def _source(data: Path) -> Source:
    from deployments.backup import Source

    return Source(
        data=data,
        database=os.environ.get("RACKRISE_DATABASE_URL"),
        prefect=os.environ.get("PREFECT_API_DATABASE_CONNECTION_URL"),
        token_key=os.environ.get("RACKRISE_TOKEN_KEY"),
    )


def _tell(work: Coroutine[Any, Any, list[str]]) -> None:
    from deployments.dumping import BackupError

    try:
        for line in asyncio.run(work):
            typer.echo(line)
    except BackupError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
