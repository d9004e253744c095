"""What people do with the site file, kept in the audit log: it is applied."""

from __future__ import annotations

from datetime import datetime

from inventory import audit, rights
from inventory.database import AsyncSession
from inventory.models import Role
from inventory.rights import Actor
from inventory.site_apply import Change, ChangeKind, apply_site
from inventory.site_tables import SiteFile

__all__ = ["apply"]


async def apply(
    session: AsyncSession, actor: Actor, file: SiteFile, *, at: datetime
) -> list[Change]:
    """Make the inventory what a site file says; where that changes nothing, nothing is kept.

    Returns:
        One entry for each element, in the order of the tables.

    Raises:
        Forbidden: they are no admin of everything.
        NameOfOperator: a discovery rule has the name of one that was made by hand.
    """
    rights.require(actor, Role.ADMIN, everywhere=True)
    changes = await apply_site(session, file)
    # Names of keys only: parameters of Puppet's classes, for one, may be passwords.
    done = {
        f"{one.what} {one.name}": ": ".join(filter(None, (one.kind, ", ".join(one.keys))))
        for one in changes
        if one.kind is not ChangeKind.UNCHANGED
    }
    if done:
        await audit.record(session, actor, "apply", f"site {file.site.name}", after=done, at=at)
    return changes
