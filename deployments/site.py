"""Applies a site file: inventory first, then the boot servers' defaults, both told in sentences."""

from __future__ import annotations

from pathlib import Path

from deployments.proxies import proxy_clients
from deployments.settings import ProxyClientSettings
from inventory import acts_on_site
from inventory.database import make_engine, make_sessions
from inventory.models import now
from inventory.rights import Actor
from inventory.sitefile import read_site_file
from tasks.site import write_defaults

__all__ = ["apply"]


async def apply(
    file: Path, database_url: str, settings: ProxyClientSettings, actor: Actor
) -> list[str]:
    """Make the inventory and the boot servers' defaults what the site file says; idempotent.

    What it changes in the inventory is kept in the audit log in the actor's name.

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
            changes = await acts_on_site.apply(session, actor, wanted, at=now())
        async with proxy_clients(settings) as (proxies, _, _):
            written = await write_defaults(sessions, proxies)
    finally:
        await engine.dispose()
    return [*(str(change) for change in changes), *written]
