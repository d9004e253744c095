"""Builds with all that happens in them, as tables: steps, callbacks, claims, effects."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from inventory.arrows import Evidence, Phase
from inventory.life import HostState
from inventory.models.columns import json, now, time, word

__all__ = [
    "Build",
    "BuildOutcome",
    "Callback",
    "CallbackKind",
    "Claim",
    "Drift",
    "Effect",
    "EffectState",
    "RenderedKickstart",
    "Step",
    "StepState",
    "WorkerLease",
]


class BuildOutcome(StrEnum):
    """How a build ended."""

    IN_OPERATION = "in_operation"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    RETIRED = "retired"


class Build(SQLModel, table=True):
    """One generation of one host. At most one of a host is open, kept so by a unique index."""

    __table_args__ = (
        sa.UniqueConstraint("host_id", "generation"),
        sa.Index(
            "build_open_once", "host_id", unique=True, postgresql_where=sa.text("closed_at IS NULL")
        ),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    host_id: int = Field(foreign_key="host.id")
    generation: int = 1
    host_group_id: int | None = Field(default=None, foreign_key="hostgroup.id")
    opened_at: datetime = time(default_factory=now)
    closed_at: datetime | None = time(default=None, nullable=True)
    outcome: BuildOutcome | None = word(BuildOutcome, default=None, nullable=True)
    asked_by: str | None = None
    """Who or what asked for it: a person, a rule, a schedule, a flow run."""
    token_hash: str | None = Field(default=None, unique=True)
    """SHA-256 of the one-time token, in hexadecimal; the token itself is never kept."""
    token_spent_at: datetime | None = time(default=None, nullable=True)
    """When ``built`` or ``failed`` came; the hash stays, so that a repeat is known."""
    certificate_hash: str | None = None
    """SHA-256 of the token that comes with the host's certificate request."""
    certificate_key: str | None = None
    """SHA-256 of the public key that came with it first; with another key it is a stranger's."""
    registration_hash: str | None = Field(default=None, unique=True)
    """SHA-256 of the token that comes with the host's registration at Candlepin."""
    certificate_stale: bool = False
    """The host installs anew, so that a certificate for its former key is in its way."""
    tree_url: str | None = None
    """Base of the tree that this build installs from, from its inception to its end."""
    tree_pin: str | None = None
    """Base path of the pin that keeps that tree in Pulp; None: the tree is not in Pulp."""
    tree_publication: str | None = None
    """What the pin serves, by Pulp's own reference: a pin that is lost is made again from it."""
    kickstarts: int = 0
    """How often the kickstart was fetched."""
    deadline: datetime | None = time(default=None, nullable=True)
    """When the present wait for the host ends."""
    network_boots: int = 0
    """How often the host came back into discovery since it was sent into its installer."""
    network_booted_at: datetime | None = time(default=None, nullable=True)
    """When it did so last."""
    trouble_since: datetime | None = time(default=None, nullable=True)
    """Since when something is not well though the host is not held; None: all is well."""
    trouble: str = ""
    """What: it is slower than its kind usually is, or boots the network instead of its disk."""
    given_up: str | None = None
    """Who gave it up, or what failed; None: nobody has."""
    held_from: HostState | None = word(HostState, default=None, nullable=True)
    held_step: int | None = None
    held_reason: str | None = None
    held_advice: str | None = None


class StepState(StrEnum):
    """How far an arrow is."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    NOT_ASKED = "not asked for"


class Step(SQLModel, table=True):
    """One arrow of one build: what people look at."""

    build_id: UUID = Field(foreign_key="build.id", primary_key=True)
    number: int = Field(primary_key=True)
    state: StepState = word(StepState, default=StepState.PENDING)
    evidence: Evidence | None = word(Evidence, default=None, nullable=True)
    seen: str = ""
    """The evidence in words: what was read back, from where."""
    error: str | None = None
    attempts: int = 0
    started_at: datetime | None = time(default=None, nullable=True)
    ended_at: datetime | None = time(default=None, nullable=True)
    flow_run_id: UUID | None = None


class CallbackKind(StrEnum):
    """What a host or a server told us."""

    FACTS = "facts"
    KICKSTART = "kickstart"
    PROGRESS = "progress"
    BUILT = "built"
    FAILED = "failed"
    REPORT = "report"
    PUPPET_REPORT = "puppet_report"


class Callback(SQLModel, table=True):
    """One thing that we were told, kept as received before it is answered."""

    __table_args__ = (
        sa.Index("callback_unhandled", "id", postgresql_where=sa.text("handled_at IS NULL")),
    )

    id: int = Field(default=None, sa_column=sa.Column(sa.BigInteger, primary_key=True))
    kind: CallbackKind = word(CallbackKind)
    key: str = Field(unique=True)
    """The same telling told again has the same key."""
    host_id: int = Field(foreign_key="host.id", index=True)
    build_id: UUID | None = Field(default=None, foreign_key="build.id", index=True)
    received_at: datetime = time(default_factory=now)
    remote: str
    """Address of the host that spoke, as well as we can know it."""
    body: str = ""
    handled_at: datetime | None = time(default=None, nullable=True)


class Claim(SQLModel, table=True):
    """The right to run a phase of a build, written before the flow run is created.

    One live claim a build, one claim a (build, phase, attempt): by construction one run at a time.
    """

    __table_args__ = (
        sa.UniqueConstraint("build_id", "phase", "attempt"),
        sa.Index(
            "claim_live_once", "build_id", unique=True, postgresql_where=sa.text("ended_at IS NULL")
        ),
        sa.Index("claim_company", "company"),
    )

    id: int = Field(default=None, sa_column=sa.Column(sa.BigInteger, primary_key=True))
    build_id: UUID = Field(foreign_key="build.id")
    phase: Phase = word(Phase)
    attempt: int
    company: UUID
    """The hosts that travel together have the same; it is the flow run's idempotency key."""
    flow_run_id: UUID | None = None
    worker: str | None = None
    """Lease of the worker that runs it; None until one has taken it up."""
    made_at: datetime = time(default_factory=now)
    withdrawn_at: datetime | None = time(default=None, nullable=True)
    """When something else was asked for: its run changes nothing more, and then lets go of it."""
    ended_at: datetime | None = time(default=None, nullable=True)


class WorkerLease(SQLModel, table=True):
    """Says which workers live: one row for each start of a worker, renewed while it lives."""

    name: str = Field(primary_key=True)
    """``<worker>/<boot>``, unique for each start."""
    until: datetime = time()


class EffectState(StrEnum):
    """How far a change outside is."""

    INTENDED = "intended"
    APPLIED = "applied"
    VERIFIED = "verified"
    UNDONE = "undone"
    LEFT = "left"
    """Not undone, because what is there is not ours, or not one host's to take away."""


class Effect(SQLModel, table=True):
    """One change that we made outside, written before it is made."""

    __table_args__ = (sa.UniqueConstraint("build_id", "system", "place", "key"),)

    id: int = Field(default=None, sa_column=sa.Column(sa.BigInteger, primary_key=True))
    build_id: UUID = Field(foreign_key="build.id", index=True)
    system: str
    """``DHCP``, ``DNS``, ``TFTP``, ``boot file``."""
    place: str
    """Where exactly: the proxy that wrote it, and there the subnet, zone or directory."""
    key: str
    """What identifies the record there: MAC address, name and type, path."""
    before: dict[str, Any] | None = json(default=None, nullable=True)
    after: dict[str, Any] | None = json(default=None, nullable=True)
    """None: the effect was the record's removal."""
    earlier: list[dict[str, Any] | None] = json(default_factory=list)
    """What this build wrote there before ``after``, oldest first: ours too when it is undone."""
    state: EffectState = word(EffectState, default=EffectState.INTENDED)
    intended_at: datetime = time(default_factory=now)
    applied_at: datetime | None = time(default=None, nullable=True)
    verified_at: datetime | None = time(default=None, nullable=True)
    undone_at: datetime | None = time(default=None, nullable=True)
    seen: str = ""
    """What was seen when it was undone, or why it was left."""


class Drift(SQLModel, table=True):
    """What the last sweep found not to be as it should be; each sweep replaces them all."""

    id: int = Field(default=None, sa_column=sa.Column(sa.BigInteger, primary_key=True))
    found_at: datetime = time(default_factory=now)
    host: str
    system: str
    place: str
    key: str
    judgement: str
    """``missing``, ``changed``, ``foreign``, ``leaked`` or ``not readable``."""
    words: str


class RenderedKickstart(SQLModel, table=True):
    """The kickstart that a build's host was given last, without its secrets."""

    build_id: UUID = Field(foreign_key="build.id", primary_key=True)
    rendered_at: datetime = time(default_factory=now)
    text: str
