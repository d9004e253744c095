"""Waves, as tables: many hosts that are provisioned one batch after the other."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from inventory.models.columns import now, time, word

__all__ = ["Wave", "WaveHost", "WaveOutcome", "WaveState"]


class WaveState(StrEnum):
    """How far a wave is."""

    RUNNING = "running"
    PAUSED = "paused"
    """A person wants no more hosts to be ordered for now."""
    STOPPED = "stopped"
    """Too many of its hosts have failed."""
    DONE = "done"
    CANCELLED = "cancelled"


class Wave(SQLModel, table=True):
    """Many hosts that become one host group: a canary first, then batches that grow."""

    __table_args__ = (
        # What the dispatchers look for in each round.
        sa.Index("wave_watched", "id", postgresql_where=sa.text("ended_at IS NULL")),
    )

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    host_group_id: int = Field(foreign_key="hostgroup.id")
    canary: int
    """Hosts of the first batch."""
    growth: float
    """How many times as large as the batch before a batch is."""
    largest: int
    """Hosts that a batch has at most; 0: no limit."""
    failure_share: float
    """It stops when more than this share of its hosts have failed, from 0 to 1."""
    per_subnet: int
    """Hosts that may be under way at a time in its subnet, whoever ordered them; 0: no limit."""
    per_boot_server: int
    """Likewise at its boot server."""
    per_pulp: int
    """Likewise at its Pulp."""
    rebuild: bool = False
    """Hosts that have a system may be in it, and are installed anew."""
    state: WaveState = word(WaveState, default=WaveState.RUNNING)
    why: str = ""
    """Why it is paused, stopped or cancelled."""
    asked_by: str
    made_at: datetime = time(default_factory=now)
    ended_at: datetime | None = time(default=None, nullable=True)
    """When it was done, or cancelled and no host of it was under way any more."""
    turn: int = 0
    """Counts all hosts that waves have ordered: the wave with the lowest has its turn next."""


class WaveOutcome(StrEnum):
    """What became of a host of a wave."""

    IN_OPERATION = "in_operation"
    FAILED = "failed"
    """It is held, or its build was given up."""
    REFUSED = "refused"
    """It could not be ordered when its turn came."""


class WaveHost(SQLModel, table=True):
    """One host of one wave. No host is in two waves that have not ended."""

    __table_args__ = (
        sa.Index(
            "wave_host_once", "host_id", unique=True, postgresql_where=sa.text("let_go_at IS NULL")
        ),
    )

    wave_id: int = Field(foreign_key="wave.id", primary_key=True)
    host_id: int = Field(foreign_key="host.id", primary_key=True)
    position: int
    """Its place in the order in which the hosts were named."""
    generation: int = 0
    """Of the host's newest build when it came into the wave; 0: it had none."""
    operated: int = 0
    """Of its newest build that had gone into operation by then; 0: it had no system."""
    group_id: int | None = Field(default=None, foreign_key="hostgroup.id")
    """Of its open build when it came into the wave; None: it had none, or without a group."""
    batch: int | None = None
    """The batch that it is in, from 0, the canary; None: its turn has not come."""
    build_id: UUID | None = Field(default=None, foreign_key="build.id")
    """What was ordered; None: not yet, or it was refused."""
    outcome: WaveOutcome | None = word(WaveOutcome, default=None, nullable=True)
    reason: str = ""
    """Why it failed or was refused."""
    forgiven: bool = False
    """It had failed when a person let the wave go on: it does not count against it any more."""
    let_go_at: datetime | None = time(default=None, nullable=True)
    """When its wave was done or cancelled: another wave may have it."""
