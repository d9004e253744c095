"""What has happened to hosts, and who is told of it outside, as tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from inventory.models.columns import json, now, time

__all__ = ["EVENT_POSITION", "Delivery", "HostEvent", "Webhook"]

EVENT_POSITION = sa.Sequence("hostevent_position", metadata=SQLModel.metadata)
"""Where an event stands in the one order that all readers see."""


class HostEvent(SQLModel, table=True):
    """One state that a host has entered, written in the transaction in which it did."""

    __table_args__ = (
        sa.Index("hostevent_unnumbered", "id", postgresql_where=sa.text("position IS NULL")),
    )

    id: int = Field(default=None, sa_column=sa.Column(sa.BigInteger, primary_key=True))
    uid: UUID = Field(default_factory=uuid4, unique=True)
    """How the outside knows it: unlike ``id`` it is never given twice, not even by a restore."""
    position: int | None = Field(
        default=None, sa_column=sa.Column(sa.BigInteger, unique=True, nullable=True)
    )
    """Given when it was committed; readers go by it. None: nobody has given it one yet."""
    at: datetime = time(default_factory=now, index=True)
    kind: str
    """``host.discovered``, ``host.held``, …: see ``inventory.events.KINDS``."""
    host_id: int = Field(foreign_key="host.id", index=True)
    host: str
    """Its name at that time, as are site and host group."""
    site: str
    host_group: str | None = None
    data: dict[str, Any] = json()
    """The state before and after, the build, and of one that is held why."""


class Webhook(SQLModel, table=True):
    """Somebody outside who wants to be told."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    url: str
    kinds: list[str] = json(default_factory=list)
    """Of events; empty: all."""
    sites: list[str] = json(default_factory=list)
    """Only of hosts there; empty: of all."""
    host_groups: list[str] = json(default_factory=list)
    """Only of hosts of these; empty: of all."""
    sealed_secret: str
    """What its deliveries are signed with; opened with the key of the installation."""
    enabled: bool = True
    disabled_why: str = ""
    """Why it is told nothing."""
    made_by: str
    made_at: datetime = time(default_factory=now)


class Delivery(SQLModel, table=True):
    """One event that one webhook is owed, or was."""

    __table_args__ = (
        sa.UniqueConstraint("webhook_id", "event_id"),
        sa.Index(
            "delivery_owed",
            "webhook_id",
            "next_at",
            postgresql_where=sa.text("next_at IS NOT NULL"),
        ),
        sa.Index(
            "delivery_before",
            *("webhook_id", "host_id", "id"),
            postgresql_where=sa.text("next_at IS NOT NULL"),
        ),
    )

    id: int = Field(default=None, sa_column=sa.Column(sa.BigInteger, primary_key=True))
    webhook_id: int = Field(foreign_key="webhook.id")
    event_id: int = Field(
        sa_column=sa.Column(
            sa.BigInteger, sa.ForeignKey("hostevent.id"), nullable=False, index=True
        )
    )
    host_id: int
    """Of the event; earlier ones of the same host go first."""
    made_at: datetime = time(default_factory=now)
    """Since when it is owed: after a day it is given up."""
    attempts: int = 0
    next_at: datetime | None = time(default=None, nullable=True)
    """When it is tried next; None: it is settled."""
    delivered_at: datetime | None = time(default=None, nullable=True)
    """When the receiver had taken it; None with no ``next_at``: it was given up."""
    last_status: int | None = None
    """Of HTTP; None: there was no answer."""
    last_error: str = ""
