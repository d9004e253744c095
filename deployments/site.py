"""Applies a site file: inventory first, then the boot servers' defaults, both told in sentences."""

from __future__ import annotations

from pathlib import Path

from deployments.proxies import proxy_clients
from deployments.settings import ProxyClientSettings
from inventory.database import make_engine, make_sessions
from inventory.sitefile import apply_site, read_site_file
from tasks.site import write_defaults

__all__ = ["apply"]


async def apply(file: Path, database_url: str, settings: ProxyClientSettings) -> list[str]:
    """Make the inventory and the boot servers' defaults what the site file says; idempotent.

    Returns:
        What was changed, a sentence each.

    Raises:
        SiteFileError: the file is not valid; names each line and reason, and changes nothing.
        NameOfOperator: one of its discovery rules has the name of one that was made by hand.
        OutsideError: a boot server does not take its default.
    """
    wanted = read_site_file(file)
    engine = make_engine(database_url, pool_size=2)
    sessions = make_sessions(engine)
    try:
        async with sessions.begin() as session:
            changes = await apply_site(session, wanted)
        async with proxy_clients(settings) as (proxies, _, _):
            written = await write_defaults(sessions, proxies)
    finally:
        await engine.dispose()
    return [*(str(change) for change in changes), *written]
