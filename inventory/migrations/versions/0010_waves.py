"""Waves, and the hosts in them.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "wave",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("host_group_id", sa.Integer(), nullable=False),
        sa.Column("canary", sa.Integer(), nullable=False),
        sa.Column("growth", sa.Float(), nullable=False),
        sa.Column("largest", sa.Integer(), nullable=False),
        sa.Column("failure_share", sa.Float(), nullable=False),
        sa.Column("per_subnet", sa.Integer(), nullable=False),
        sa.Column("per_boot_server", sa.Integer(), nullable=False),
        sa.Column("per_pulp", sa.Integer(), nullable=False),
        sa.Column("rebuild", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["host_group_id"], ["hostgroup.id"]),
        sa.UniqueConstraint("name"),
        sa.CheckConstraint(
            "state IN ('running', 'paused', 'stopped', 'done', 'cancelled')", name="wavestate"
        ),
    )
    op.create_index("wave_watched", "wave", ["id"], postgresql_where=sa.text("ended_at IS NULL"))
    op.create_table(
        "wavehost",
        sa.Column("wave_id", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("operated", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.Integer(), nullable=True),
        sa.Column("batch", sa.Integer(), nullable=True),
        sa.Column("build_id", sa.Uuid(), nullable=True),
        sa.Column("outcome", sa.String(32), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("forgiven", sa.Boolean(), nullable=False),
        sa.Column("let_go_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("wave_id", "host_id"),
        sa.ForeignKeyConstraint(["wave_id"], ["wave.id"]),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"]),
        sa.ForeignKeyConstraint(["group_id"], ["hostgroup.id"]),
        sa.ForeignKeyConstraint(["build_id"], ["build.id"]),
        sa.CheckConstraint("outcome IN ('in_operation', 'failed', 'refused')", name="waveoutcome"),
    )
    op.create_index(
        "wave_host_once",
        "wavehost",
        ["host_id"],
        unique=True,
        postgresql_where=sa.text("let_go_at IS NULL"),
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_table("wavehost")
    op.drop_table("wave")
