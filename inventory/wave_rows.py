"""Waves, their batches and hosts, as everybody who looks gets them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from inventory.models import WaveState

__all__ = ["BatchRow", "WaveDetail", "WaveHostRow", "WavePage", "WaveRow"]


@dataclass(frozen=True)
class WaveRow:
    """One wave at a glance."""

    id: int
    name: str
    host_group: str
    state: WaveState
    why: str
    asked_by: str
    made_at: datetime
    ended_at: datetime | None
    hosts: int
    waiting: int
    under_way: int
    good: int
    failed: int
    forgiven: int
    """Of those that failed: they failed before a person let the wave go on."""
    refused: int
    let_go: int
    """Not ordered any more, because the wave was cancelled."""
    batch: int | None
    """The present batch, from 0, the canary; None: none has begun."""
    share: float
    """Of the hosts that are in operation or have failed unforgiven, these: from 0 to 1."""

    @property
    def progress(self) -> float:
        """How many of a hundred hosts have been through."""
        return 100 * (1 - (self.waiting + self.under_way) / self.hosts) if self.hosts else 100.0


@dataclass(frozen=True)
class WavePage:
    """Some waves, the newest first."""

    waves: list[WaveRow]
    next: int | None
    """Ask again with this as ``before``; None: there are no more."""


@dataclass(frozen=True)
class BatchRow:
    """One batch that has begun."""

    number: int
    """From 0, the canary."""
    hosts: int
    waiting: int
    under_way: int
    good: int
    failed: int
    refused: int


@dataclass(frozen=True)
class WaveHostRow:
    """One host of a wave."""

    id: int
    name: str
    position: int
    batch: int | None
    build: UUID | None
    ended: str
    """``waiting``, ``under way``, ``in operation``, ``failed``, ``refused`` or ``let go``."""
    reason: str
    forgiven: bool


@dataclass(frozen=True)
class WaveDetail:
    """A wave with its batches, and its hosts in their order."""

    wave: WaveRow
    canary: int
    growth: float
    largest: int
    failure_share: float
    per_subnet: int
    per_boot_server: int
    per_pulp: int
    rebuild: bool
    batches: tuple[BatchRow, ...]
    hosts: tuple[WaveHostRow, ...]
    next: int | None
    """Ask again with this as ``after``; None: there are no more hosts."""
