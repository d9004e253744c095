"""Columns as all tables have them: words, times with their zone, JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

__all__ = ["json", "now", "time", "word"]


def now() -> datetime:
    """The present moment, with its zone; tests pass their own clock instead."""
    return datetime.now(UTC)


def word(enum: type[StrEnum], **more: Any) -> Any:
    """A column of plain text that admits an enumeration's values only."""
    kind = sa.Enum(
        enum,
        native_enum=False,
        length=32,
        values_callable=lambda members: [member.value for member in members],
        create_constraint=True,
        name=enum.__name__.lower(),
    )
    return Field(sa_type=kind, **more)


def time(**more: Any) -> Any:
    """A moment with its zone."""
    return Field(sa_type=sa.DateTime(timezone=True), **more)


def json(**more: Any) -> Any:
    """Any JSON value."""
    # None is SQL's NULL: as JSON's own null it would be a value that is there.
    return Field(sa_type=JSONB(none_as_null=True), **more)
