"""How many hosts are under way at a place, and whether a wave's limits leave room for one more."""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import col, select

from inventory.database import AsyncSession
from inventory.life import AT_WORK, HostState
from inventory.models import Build, Host, HostGroup, InstallTree, Subnet, Wave

__all__ = ["UNDER_WAY", "has_room"]

UNDER_WAY = AT_WORK | {HostState.SELECTED, HostState.PREPARING}
"""Hosts in these states take their share of a limit; one that is held asks nothing of anybody."""


async def has_room(session: AsyncSession, wave: Wave, group: HostGroup) -> bool:
    """Whether one more host may be under way in the subnet, at the boot server and at the Pulp."""
    subnet = await session.get_one(Subnet, group.subnet_id)
    tree = await session.get_one(InstallTree, group.install_tree_id)
    limits = [
        (wave.per_subnet, col(HostGroup.subnet_id) == subnet.id),
        (wave.per_boot_server, col(Subnet.boot_server) == subnet.boot_server),
    ]
    if tree.pulp_id is not None:
        limits.append((wave.per_pulp, col(InstallTree.pulp_id) == tree.pulp_id))
    for limit, there in limits:
        if limit > 0 and await _under_way(session, there) >= limit:
            return False
    return True


async def _under_way(session: AsyncSession, there: sa.ColumnElement[bool]) -> int:
    """All hosts under way at a place: of this wave, of others, and those ordered one by one."""
    found = await session.exec(
        select(sa.func.count())
        .select_from(Build)
        .join(Host, col(Host.id) == col(Build.host_id))
        .join(HostGroup, col(HostGroup.id) == col(Build.host_group_id))
        .join(Subnet, col(Subnet.id) == col(HostGroup.subnet_id))
        .join(InstallTree, col(InstallTree.id) == col(HostGroup.install_tree_id))
        .where(col(Build.closed_at).is_(None), col(Host.state).in_(UNDER_WAY), there)
    )
    return found.one()
