"""Candlepins, what hosts are to them, and what hosts report to have.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _json(name: str, default: str | None = None) -> sa.Column[object]:
    kind = postgresql.JSONB(astext_type=sa.Text())
    return sa.Column(name, kind, nullable=False, server_default=default)


def _time(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    """Make the tables; no host group could have had Candlepin until now."""
    op.create_table(
        "candlepin",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("ca", sa.String(), nullable=True),
        sa.Column("credentials", sa.String(), nullable=False),
        sa.Column("front", sa.String(), nullable=False),
        sa.Column("front_ca", sa.String(), nullable=True),
        sa.Column("content_url", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("url"),
    )
    op.create_table(
        "consumer",
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("candlepin_id", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("build_id", sa.Uuid(), nullable=False),
        _time("chosen_at"),
        _time("registered_at", nullable=True),
        _time("checked_in_at", nullable=True),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"]),
        sa.ForeignKeyConstraint(["candlepin_id"], ["candlepin.id"]),
        sa.ForeignKeyConstraint(["build_id"], ["build.id"]),
        sa.PrimaryKeyConstraint("host_id"),
        sa.UniqueConstraint("uuid"),
    )
    op.create_table(
        "profile",
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("content_type", sa.String(), nullable=False),
        _time("received_at"),
        _time("changed_at"),
        _json("items"),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"]),
        sa.PrimaryKeyConstraint("host_id", "content_type"),
    )
    op.create_table(
        "profilechange",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("content_type", sa.String(), nullable=False),
        _time("at"),
        _json("added"),
        _json("removed"),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_profilechange_host_id", "profilechange", ["host_id"])
    op.drop_column("hostgroup", "candlepin")
    for column in ("owner", "activation_key"):
        op.add_column("hostgroup", sa.Column(column, sa.String(), nullable=True))
    op.add_column("hostgroup", sa.Column("candlepin_id", sa.Integer(), nullable=True))
    op.create_foreign_key(
        "hostgroup_candlepin_id_fkey", "hostgroup", "candlepin", ["candlepin_id"], ["id"]
    )
    op.add_column("hostgroup", _json("content_environments", "[]"))
    op.alter_column("hostgroup", "content_environments", server_default=None)
    op.add_column("build", sa.Column("registration_hash", sa.String(), nullable=True))
    op.create_unique_constraint("build_registration_hash_key", "build", ["registration_hash"])
    op.add_column(
        "reportedrepository",
        sa.Column("source", sa.String(), nullable=False, server_default="first_boot"),
    )
    op.alter_column("reportedrepository", "source", server_default=None)
    op.drop_constraint("reportedrepository_pkey", "reportedrepository")
    op.create_primary_key(
        "reportedrepository_pkey", "reportedrepository", ["host_id", "source", "repository"]
    )


def downgrade() -> None:
    """Forget Candlepin, its consumers and what hosts reported through its front."""
    op.execute("DELETE FROM reportedrepository WHERE source <> 'first_boot'")
    op.drop_constraint("reportedrepository_pkey", "reportedrepository")
    op.drop_column("reportedrepository", "source")
    op.create_primary_key(
        "reportedrepository_pkey", "reportedrepository", ["host_id", "repository"]
    )
    op.drop_constraint("build_registration_hash_key", "build")
    op.drop_column("build", "registration_hash")
    op.drop_column("hostgroup", "content_environments")
    op.drop_constraint("hostgroup_candlepin_id_fkey", "hostgroup")
    for column in ("candlepin_id", "activation_key", "owner"):
        op.drop_column("hostgroup", column)
    op.add_column(
        "hostgroup",
        sa.Column("candlepin", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.alter_column("hostgroup", "candlepin", server_default=None)
    op.drop_index("ix_profilechange_host_id", "profilechange")
    for table in ("profilechange", "profile", "consumer", "candlepin"):
        op.drop_table(table)
