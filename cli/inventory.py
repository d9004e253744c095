"""How a command reaches the inventory: one transaction, and errors as sentences."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import typer

from cli.exits import Exit

if TYPE_CHECKING:
    from inventory.database import AsyncSession

__all__ = ["with_inventory"]

Result = TypeVar("Result")


def with_inventory(work: Callable[[AsyncSession], Awaitable[Result]]) -> Result:
    """Do work in one transaction; what the inventory refuses ends the command."""
    from pydantic import ValidationError

    from deployments.settings import InventorySettings
    from inventory.database import make_engine, make_sessions
    from inventory.errors import InventoryError

    async def run() -> Result:
        engine = make_engine(InventorySettings().database_url.get_secret_value(), pool_size=1)
        try:
            async with make_sessions(engine).begin() as session:
                return await work(session)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except InventoryError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(Exit.REFUSED) from None
    except OSError as error:
        typer.echo(
            f"the inventory does not answer ({error}); see that `rackrise up` or its database "
            "runs, and what RACKRISE_DATABASE_URL says",
            err=True,
        )
        raise typer.Exit(Exit.UNREACHABLE) from None
    except ValidationError:
        typer.echo(
            "where is the inventory? Set RACKRISE_DATABASE_URL as `rackrise up` prints it", err=True
        )
        raise typer.Exit(Exit.REFUSED) from None
