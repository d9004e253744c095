"""People, their tokens and sign-ins, what they did, and the plans that they asked for.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _text(*names: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(), nullable=nullable) for name in names]


def _json(*names: str, nullable: bool = False) -> list[sa.Column[object]]:
    return [sa.Column(name, JSONB(none_as_null=True), nullable=nullable) for name in names]


def _time(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _word(column: str, name: str, *words: str) -> tuple[sa.Column[str], sa.CheckConstraint]:
    listed = ", ".join(f"'{one}'" for one in words)
    return (
        sa.Column(column, sa.String(32), nullable=False),
        sa.CheckConstraint(f"{column} IN ({listed})", name=name),
    )


_ROLES = ("viewer", "operator", "admin")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "person",
        sa.Column("id", sa.Integer(), nullable=False),
        *_text("name"),
        *_text("password_hash", "subject", nullable=True),
        *_word("role", "role", *_ROLES),
        *_json("sites", "host_groups"),
        _time("made_at"),
        _time("disabled_at", nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("subject"),
    )
    op.create_table(
        "apitoken",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        *_text("name", "hash"),
        *_word("role", "role", *_ROLES),
        _time("made_at"),
        _time("expires_at", nullable=True),
        _time("used_at", nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"]),
        sa.UniqueConstraint("person_id", "name"),
        sa.UniqueConstraint("hash"),
    )
    op.create_table(
        "signin",
        *_text("hash"),
        sa.Column("person_id", sa.Integer(), nullable=False),
        _time("made_at"),
        _time("seen_at"),
        sa.PrimaryKeyConstraint("hash"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"]),
    )
    op.create_index("ix_signin_person_id", "signin", ["person_id"])
    op.create_table(
        "auditentry",
        sa.Column("id", sa.BigInteger(), nullable=False),
        _time("at"),
        *_text("who"),
        *_word("door", "door", "console", "API", "command line", "Prefect"),
        *_text("action", "about"),
        *_text("site", "host_group", nullable=True),
        *_json("before", "after", nullable=True),
        *_text("note"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("audit_entry_about", "auditentry", ["about", "id"])
    op.create_table(
        "idempotentanswer",
        sa.Column("person_id", sa.Integer(), nullable=False),
        *_text("key", "request"),
        sa.Column("status", sa.Integer(), nullable=False),
        *_text("body"),
        _time("at"),
        sa.PrimaryKeyConstraint("person_id", "key"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"]),
    )
    op.create_index("ix_idempotentanswer_at", "idempotentanswer", ["at"])
    op.create_table(
        "planrequest",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        *_text("host_group", "name", "asked_by"),
        _time("asked_at"),
        sa.Column("flow_run_id", sa.Uuid(), nullable=True),
        _time("done_at", nullable=True),
        *_text("text", "error", nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"]),
    )
    op.create_index("ix_planrequest_host_id", "planrequest", ["host_id"])


def downgrade() -> None:
    """Take them away."""
    for table in ("planrequest", "idempotentanswer", "auditentry", "signin", "apitoken", "person"):
        op.drop_table(table)
