"""People who run racks: who they are, what they may do, and what they did, as tables."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from inventory.models.columns import json, now, time, word

__all__ = [
    "ApiToken",
    "AuditEntry",
    "Door",
    "IdempotentAnswer",
    "Person",
    "PlanRequest",
    "Role",
    "SignIn",
]


class Role(StrEnum):
    """What a person may do; each may do what those before it may."""

    VIEWER = "viewer"
    """Looks."""
    OPERATOR = "operator"
    """Provisions hosts, lets them go on, gives them up; rules and waves."""
    ADMIN = "admin"
    """People, tokens of others, webhooks."""


class Door(StrEnum):
    """Where somebody came in."""

    CONSOLE = "console"
    API = "API"
    CLI = "command line"
    PREFECT = "Prefect"


class Person(SQLModel, table=True):
    """Somebody who may sign in."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    password_hash: str | None = None
    """By argon2id; None: signs in elsewhere, or not at all."""
    subject: str | None = Field(default=None, unique=True)
    """Who it is to the OpenID provider: ``<issuer> <sub>``."""
    role: Role = word(Role, default=Role.VIEWER)
    sites: list[str] = json(default_factory=list)
    """Names of the sites whose hosts it is about; empty: all."""
    host_groups: list[str] = json(default_factory=list)
    """Names of the host groups; empty: all. Hosts without a group are everybody's."""
    made_at: datetime = time(default_factory=now)
    disabled_at: datetime | None = time(default=None, nullable=True)
    """Since when nothing of it is believed; None: it may sign in."""
    disabled_by_provider: bool = Field(
        default=False, sa_column_kwargs={"server_default": sa.false()}
    )
    """Whether it is only so because no group at the OpenID provider gives it rights any more."""


class ApiToken(SQLModel, table=True):
    """By which a program speaks in a person's name."""

    __table_args__ = (sa.UniqueConstraint("person_id", "name"),)

    id: int = Field(default=None, primary_key=True)
    person_id: int = Field(foreign_key="person.id")
    name: str
    """What it is for."""
    hash: str = Field(unique=True)
    """SHA-256, in hexadecimal; the token itself is shown once and never kept."""
    role: Role = word(Role, default=Role.VIEWER)
    """At most what it may do; never more than the person."""
    made_at: datetime = time(default_factory=now)
    expires_at: datetime | None = time(default=None, nullable=True)
    used_at: datetime | None = time(default=None, nullable=True)
    """Last, to the minute."""


class SignIn(SQLModel, table=True):
    """One browser in which a person is signed in."""

    hash: str = Field(primary_key=True)
    """SHA-256 of what the browser's cookie holds."""
    person_id: int = Field(foreign_key="person.id", index=True)
    made_at: datetime = time(default_factory=now)
    seen_at: datetime = time(default_factory=now)
    """Last, to the minute."""


class AuditEntry(SQLModel, table=True):
    """One thing that somebody did."""

    __table_args__ = (sa.Index("audit_entry_about", "about", "id"),)

    id: int = Field(default=None, sa_column=sa.Column(sa.BigInteger, primary_key=True))
    at: datetime = time(default_factory=now)
    who: str
    door: Door = word(Door)
    action: str
    """``provision``, ``retry``, ``add rule``, ``change person``, …"""
    about: str
    """What it was done to: ``host web01.example.org``, ``rule big ones``."""
    site: str | None = None
    """Of the host; None: it is about no host."""
    host_group: str | None = None
    before: dict[str, Any] | None = json(default=None, nullable=True)
    after: dict[str, Any] | None = json(default=None, nullable=True)
    note: str = ""
    """What the person said to it."""


class IdempotentAnswer(SQLModel, table=True):
    """What a request with an idempotency key was answered, so that its repeat does nothing more."""

    person_id: int = Field(foreign_key="person.id", primary_key=True)
    key: str = Field(primary_key=True)
    request: str
    """SHA-256 of method, path and body: the same key for something else is a mistake."""
    status: int = 0
    body: str = ""
    at: datetime = Field(sa_type=sa.DateTime(timezone=True), index=True)


class PlanRequest(SQLModel, table=True):
    """Somebody wants to see what provisioning a host would do, and what came of it."""

    id: int = Field(default=None, primary_key=True)
    host_id: int = Field(foreign_key="host.id", index=True)
    host_group: str
    """Name; empty: the host's own."""
    name: str
    """That the host would get; empty: its own."""
    asked_by: str
    asked_at: datetime = time(default_factory=now)
    flow_run_id: UUID | None = None
    """Which makes it; None: the dispatcher has not seen it yet."""
    done_at: datetime | None = time(default=None, nullable=True)
    text: str | None = None
    """The plan in words."""
    error: str | None = None
    """Why there is none."""
