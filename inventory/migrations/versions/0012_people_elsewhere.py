"""People whose groups at an OpenID provider give them no rights any more.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Whoever is disabled was disabled by a person."""
    # The default stays: a program of the version before makes people without it.
    op.add_column(
        "person",
        sa.Column("disabled_by_provider", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    """Take it back; whoever is disabled stays so."""
    op.drop_column("person", "disabled_by_provider")
