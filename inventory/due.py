"""Which builds are due for a run of which phase.

Derived from what is stored, never from what was heard, so that a crash, a duplicate or an early
callback changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col, select

from inventory.arrows import PROFILED, Phase
from inventory.database import AsyncSession
from inventory.life import HostState
from inventory.models import (
    Build,
    Callback,
    CallbackKind,
    Claim,
    Host,
    HostGroup,
    Interface,
    Step,
    StepState,
)

__all__ = ["Due", "due", "settle_callbacks"]

_STARTS: dict[Phase, tuple[set[HostState], tuple[CallbackKind, ...]]] = {
    Phase.DISCOVERY: ({HostState.DISCOVERED}, (CallbackKind.FACTS,)),
    Phase.INCEPTION: ({HostState.SELECTED, HostState.PREPARING}, ()),
    Phase.ANACONDA: ({HostState.INSTALLED}, ()),
    Phase.FIRST_BOOT: (
        {HostState.FIRST_BOOT},
        (CallbackKind.REPORT, CallbackKind.PUPPET_REPORT),
    ),
    Phase.CANCEL: ({HostState.CANCELLING}, ()),
    Phase.DECOMMISSION: ({HostState.DECOMMISSIONING}, ()),
}
"""The states in which a phase is ours to run, and the callbacks that it waits for."""

_WAITED_FOR = (CallbackKind.FACTS, CallbackKind.REPORT, CallbackKind.PUPPET_REPORT)


@dataclass(frozen=True)
class Due:
    """A build that waits for a run of a phase."""

    phase: Phase
    build: UUID
    subnet: int | None
    """Hosts of one subnet travel together: they need the same servers."""


async def due(session: AsyncSession, limit: int) -> list[Due]:
    """Builds that are due and claimed by nobody, the longest waiting first.

    Args:
        session: in the caller's transaction; claim them in it.
        limit: at most so many for each phase.
    """
    found: list[Due] = []
    for phase, (states, kinds) in _STARTS.items():
        claimed = sa.exists().where(
            col(Claim.build_id) == col(Build.id), col(Claim.ended_at).is_(None)
        )
        query = (
            select(Build.id, Interface.subnet_id)
            .join(Host, col(Host.id) == col(Build.host_id))
            .outerjoin(
                Interface,
                sa.and_(col(Interface.host_id) == col(Host.id), col(Interface.provisioning)),
            )
            .where(col(Build.closed_at).is_(None), col(Host.state).in_(states), ~claimed)
            .order_by(col(Host.state_since))
            .limit(limit)
        )
        for kind in kinds:
            query = query.where(_told(kind))
        if phase is Phase.FIRST_BOOT:
            query = query.where(_profiled())
        found += [Due(phase, build, subnet) for build, subnet in await session.exec(query)]
    return found


def _told(kind: CallbackKind) -> sa.ColumnElement[bool]:
    told = sa.exists().where(
        col(Callback.build_id) == col(Build.id),
        col(Callback.kind) == kind,
        col(Callback.handled_at).is_(None),
    )
    if kind is not CallbackKind.PUPPET_REPORT:
        return told
    # Waited for only where Puppet has something to say.
    without = sa.exists().where(
        col(HostGroup.id) == col(Build.host_group_id), col(HostGroup.puppet_id).is_(None)
    )
    return sa.or_(told, without)


def _profiled() -> sa.ColumnElement[bool]:
    """Packages and repositories are reported, or not asked for."""
    missing = sa.exists().where(
        col(Step.build_id) == col(Build.id),
        col(Step.number).in_(PROFILED),
        col(Step.state).not_in((StepState.DONE, StepState.NOT_ASKED)),
    )
    # A group that names Candlepin no more asks for nothing of it, as with Puppet.
    without = sa.exists().where(
        col(HostGroup.id) == col(Build.host_group_id), col(HostGroup.candlepin_id).is_(None)
    )
    return sa.or_(without, ~missing)


async def settle_callbacks(
    session: AsyncSession, claimed: Mapping[Phase, Collection[UUID]], at: datetime
) -> None:
    """Mark the callbacks that no run waits for any more.

    These are the ones that claimed runs were started for, those that only tell, facts of hosts that
    are past discovery, and whatever came for a build that has ended meanwhile.

    Args:
        session: the transaction in which the runs were claimed.
        claimed: their builds, by phase: what another phase waits for stays.
        at: the present.
    """
    started = [
        sa.and_(col(Callback.kind) == kind, col(Callback.build_id).in_(claimed.get(phase, ())))
        for phase, (_, kinds) in _STARTS.items()
        for kind in kinds
    ]
    past_discovery = sa.exists().where(
        col(Host.id) == col(Callback.host_id), col(Host.state) != HostState.DISCOVERED
    )
    # An agent runs again and again, also while its first report is judged.
    has_ended = sa.exists().where(
        col(Build.id) == col(Callback.build_id), col(Build.closed_at).is_not(None)
    )
    await session.exec(
        sa.update(Callback)
        .where(
            col(Callback.handled_at).is_(None),
            sa.or_(
                *started,
                has_ended,
                col(Callback.kind).not_in(_WAITED_FOR),
                sa.and_(col(Callback.kind) == CallbackKind.FACTS, past_discovery),
            ),
        )
        .values(handled_at=at)
        .execution_options(synchronize_session=False)
    )
