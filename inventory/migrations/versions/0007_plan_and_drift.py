"""What a sweep found not to be as it should be, and the kickstarts that hosts were given.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables."""
    words = ("host", "system", "place", "key", "judgement", "words")
    op.create_table(
        "drift",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in words),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "renderedkickstart",
        sa.Column("build_id", sa.Uuid(), nullable=False),
        sa.Column("rendered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["build_id"], ["build.id"]),
        sa.PrimaryKeyConstraint("build_id"),
    )


def downgrade() -> None:
    """Take both away."""
    op.drop_table("renderedkickstart")
    op.drop_table("drift")
