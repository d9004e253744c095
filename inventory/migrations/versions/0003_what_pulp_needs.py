"""How each Pulp is reached, what pins serve, and the repositories that hosts report.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Keep a Pulp's API root and CA, a build's publication, and reported repositories."""
    op.add_column(
        "pulp",
        sa.Column("api_root", sa.String(), nullable=False, server_default="/pulp/api/v3/"),
    )
    op.alter_column("pulp", "api_root", server_default=None)
    op.add_column("pulp", sa.Column("ca", sa.String(), nullable=True))
    op.add_column("build", sa.Column("tree_publication", sa.String(), nullable=True))
    op.create_table(
        "reportedrepository",
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("repository", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("compared_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("distribution", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"]),
        sa.PrimaryKeyConstraint("host_id", "repository"),
    )


def downgrade() -> None:
    """Forget them."""
    op.drop_table("reportedrepository")
    op.drop_column("build", "tree_publication")
    op.drop_column("pulp", "ca")
    op.drop_column("pulp", "api_root")
