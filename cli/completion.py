"""What a shell completes: names from the inventory, quickly, and silently nothing without it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inventory.models import Host, HostGroup

__all__ = ["group_names", "host_names"]

_SECONDS = 2.0
"""Somebody waits for it with a finger on the tabulator."""
_MOST = 200


def host_names(incomplete: str) -> list[str]:
    """Names of hosts that begin so."""
    return _names(incomplete, groups=False)


def group_names(incomplete: str) -> list[str]:
    """Names of host groups that begin so."""
    return _names(incomplete, groups=True)


def _names(incomplete: str, *, groups: bool) -> list[str]:
    try:
        from inventory.models import Host, HostGroup

        return asyncio.run(_read(HostGroup if groups else Host, incomplete))
    except Exception:
        # In the middle of a command line no message is of use; the command itself gives it.
        return []


async def _read(table: type[Host] | type[HostGroup], incomplete: str) -> list[str]:
    from sqlmodel import col, select

    from deployments.settings import InventorySettings
    from inventory.database import make_engine, make_sessions

    name = col(table.name)
    # Names of hosts are kept in lower case; of groups as the site file spells them.
    begins = name.istartswith(incomplete, autoescape=True)
    engine = make_engine(InventorySettings().database_url.get_secret_value(), pool_size=1)
    try:
        async with asyncio.timeout(_SECONDS), make_sessions(engine)() as session:
            found = await session.exec(select(table.name).where(begins).order_by(name).limit(_MOST))
            return list(found)
    finally:
        await engine.dispose()
