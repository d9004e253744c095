"""Hosts, and what they have told us of themselves, as tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import INET
from sqlmodel import Field, SQLModel

from inventory.life import HostState
from inventory.models.columns import json, now, time, word

__all__ = [
    "Classification",
    "Consumer",
    "Facts",
    "Host",
    "Interface",
    "Profile",
    "ProfileChange",
    "ReportedRepository",
]


class Host(SQLModel, table=True):
    """One machine."""

    id: int = Field(default=None, primary_key=True)
    site_id: int = Field(foreign_key="site.id")
    name: str = Field(unique=True)
    """Full name; before it has one, ``mac525400aabb01`` after its boot interface."""
    state: HostState = word(HostState, default=HostState.DISCOVERED, index=True)
    state_since: datetime = time(default_factory=now)
    host_group_id: int | None = Field(default=None, foreign_key="hostgroup.id")
    discovery_rule_id: int | None = Field(default=None, foreign_key="discoveryrule.id")
    created_at: datetime = time(default_factory=now)


class Classification(SQLModel, table=True):
    """What Puppet was told of a host; a row for each change, so that it can be looked at."""

    id: int = Field(default=None, primary_key=True)
    host_id: int = Field(foreign_key="host.id", index=True)
    answered_at: datetime = time(default_factory=now)
    answer: str
    """As YAML."""
    difference: str
    """Lines that went (``-``) and came (``+``) since the answer before."""


class Consumer(SQLModel, table=True):
    """What a host is to Candlepin; written down before Candlepin is asked to make it."""

    host_id: int = Field(foreign_key="host.id", primary_key=True)
    candlepin_id: int = Field(foreign_key="candlepin.id")
    owner: str
    """Key of its organization."""
    uuid: str = Field(unique=True)
    """Chosen by us, so that a registration that is repeated makes no second consumer."""
    build_id: UUID = Field(foreign_key="build.id")
    """In which it registered."""
    chosen_at: datetime = time(default_factory=now)
    registered_at: datetime | None = time(default=None, nullable=True)
    """When Candlepin had it; None: nobody has heard so."""
    checked_in_at: datetime | None = time(default=None, nullable=True)
    """When the host last came with its identity certificate."""


class Profile(SQLModel, table=True):
    """What a host last reported to have: packages, modules, repositories, whatever it is."""

    host_id: int = Field(foreign_key="host.id", primary_key=True)
    content_type: str = Field(primary_key=True)
    """``rpm``, ``deb``, ``modulemd``, ``enabled_repos``; others are kept as they come."""
    received_at: datetime = time(default_factory=now)
    changed_at: datetime = time(default_factory=now)
    """When it was last another one than before."""
    items: list[Any] = json()


class ProfileChange(SQLModel, table=True):
    """How a host's profile differed from the one before."""

    id: int = Field(default=None, sa_column=sa.Column(sa.BigInteger, primary_key=True))
    host_id: int = Field(foreign_key="host.id", index=True)
    content_type: str
    at: datetime = time(default_factory=now)
    added: list[Any] = json()
    removed: list[Any] = json()


class Interface(SQLModel, table=True):
    """A network interface of a host. No two have the same MAC address, nor the same address."""

    __table_args__ = (
        # One spelling: in two spellings one interface could belong to two hosts.
        sa.CheckConstraint("mac ~ '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$'", name="mac_normal"),
        sa.Index(
            "interface_provisioning_once",
            "host_id",
            unique=True,
            postgresql_where=sa.text("provisioning"),
        ),
    )

    id: int = Field(default=None, primary_key=True)
    host_id: int = Field(foreign_key="host.id", index=True)
    mac: str = Field(unique=True)
    name: str = ""
    provisioning: bool = False
    """The one that boots the network."""
    subnet_id: int | None = Field(default=None, foreign_key="subnet.id")
    ip: str | None = Field(default=None, sa_type=INET, unique=True)
    """The address that it is to have for good; unique, and so the reservation of that address."""
    discovered_ip: str | None = Field(default=None, sa_type=INET)
    """The temporary address that it last reported."""


class Facts(SQLModel, table=True):
    """The latest facts of a host from one source."""

    host_id: int = Field(foreign_key="host.id", primary_key=True)
    source: str = Field(primary_key=True)
    """``discovery``, ``first_boot``, ``puppet`` or ``rhsm``."""
    received_at: datetime = time(default_factory=now)
    values: dict[str, Any] = json()


class ReportedRepository(SQLModel, table=True):
    """A package repository that a host says it uses (arrow 26)."""

    host_id: int = Field(foreign_key="host.id", primary_key=True)
    source: str = Field(primary_key=True)
    """Who said so: ``first_boot`` or ``rhsm``. They see other repositories of one host."""
    repository: str = Field(primary_key=True)
    """Its name on the host."""
    url: str
    reported_at: datetime = time(default_factory=now)
    compared_at: datetime | None = time(default=None, nullable=True)
    """When it was compared with what our Pulps serve; None: not yet."""
    distribution: str | None = None
    """Which one serves it; None: none of ours, once it was compared."""
