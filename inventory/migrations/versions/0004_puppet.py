"""Puppet servers, what they are told of hosts, and the hosts' certificate requests.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KINDS = ("facts", "kickstart", "progress", "built", "failed", "report")


def _json(name: str) -> sa.Column[object]:
    return sa.Column(
        name, postgresql.JSONB(astext_type=sa.Text()), nullable=False, server_default="{}"
    )


def _only(kinds: tuple[str, ...]) -> None:
    op.drop_constraint("callbackkind", "callback")
    names = ", ".join(f"'{one}'" for one in kinds)
    op.create_check_constraint("callbackkind", "callback", f"kind IN ({names})")


def upgrade() -> None:
    """Make the tables; no host group could have had Puppet until now."""
    op.create_table(
        "puppet",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("certname", sa.String(), nullable=False),
        sa.Column("credentials", sa.String(), nullable=False),
        sa.Column("vardir", sa.String(), nullable=True),
        sa.Column("collected_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("certname"),
    )
    op.create_table(
        "hostoverride",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        _json("classes"),
        _json("parameters"),
        sa.Column("environment", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "classification",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("difference", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_classification_host_id", "classification", ["host_id"])
    op.drop_column("hostgroup", "puppet")
    op.add_column("hostgroup", sa.Column("puppet_id", sa.Integer(), nullable=True))
    op.create_foreign_key("hostgroup_puppet_id_fkey", "hostgroup", "puppet", ["puppet_id"], ["id"])
    op.add_column("hostgroup", _json("classes"))
    op.add_column(
        "hostgroup",
        sa.Column("environment", sa.String(), nullable=False, server_default="production"),
    )
    for table, column in (
        ("hostgroup", "classes"),
        ("hostgroup", "environment"),
        ("hostoverride", "classes"),
        ("hostoverride", "parameters"),
    ):
        op.alter_column(table, column, server_default=None)
    op.add_column("build", sa.Column("certificate_hash", sa.String(), nullable=True))
    op.add_column("build", sa.Column("certificate_key", sa.String(), nullable=True))
    op.add_column(
        "build",
        sa.Column("certificate_stale", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.alter_column("build", "certificate_stale", server_default=None)
    _only((*_KINDS, "puppet_report"))


def downgrade() -> None:
    """Forget Puppet and all that its servers told."""
    op.execute("DELETE FROM callback WHERE kind = 'puppet_report'")
    _only(_KINDS)
    for column in ("certificate_stale", "certificate_key", "certificate_hash"):
        op.drop_column("build", column)
    op.drop_column("hostgroup", "environment")
    op.drop_column("hostgroup", "classes")
    op.drop_constraint("hostgroup_puppet_id_fkey", "hostgroup")
    op.drop_column("hostgroup", "puppet_id")
    op.add_column(
        "hostgroup", sa.Column("puppet", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.alter_column("hostgroup", "puppet", server_default=None)
    op.drop_index("ix_classification_host_id", "classification")
    for table in ("classification", "hostoverride", "puppet"):
        op.drop_table(table)
