"""Which of the systems that a host group may do without have to do with some hosts."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlmodel import col, select

from inventory.arrows import Needs
from inventory.database import AsyncSession
from inventory.models import Build, Consumer, HostGroup

__all__ = ["needs_of"]


async def needs_of(session: AsyncSession, build_ids: Collection[UUID]) -> frozenset[Needs]:
    """The systems that at least one of these builds has to do with.

    With Candlepin also a host that is a consumer still, though its group names it no more.
    """
    found = await session.exec(
        select(HostGroup.puppet_id, HostGroup.candlepin_id, Consumer.uuid)
        .select_from(Build)
        .outerjoin(HostGroup, col(HostGroup.id) == col(Build.host_group_id))
        .outerjoin(Consumer, col(Consumer.host_id) == col(Build.host_id))
        .where(col(Build.id).in_(list(build_ids)))
        .distinct()
    )
    needs = set()
    for puppet, candlepin, consumer in found:
        if puppet is not None:
            needs.add(Needs.PUPPET)
        if candlepin is not None or consumer is not None:
            needs.add(Needs.CANDLEPIN)
    return frozenset(needs)
