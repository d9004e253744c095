"""When discovery rules provision what they take, and who may change them.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_WORDS = {
    "provision": ("provisionwhen", "at_once", ("at_once", "in_window", "when_asked")),
    "managed_by": ("managedby", "site file", ("site file", "operator")),
}


def upgrade() -> None:
    """Rules that are there come from the site file, and provision at once, as they did."""
    for column, (name, default, words) in _WORDS.items():
        op.add_column(
            "discoveryrule",
            sa.Column(column, sa.String(32), nullable=False, server_default=default),
        )
        op.alter_column("discoveryrule", column, server_default=None)
        listed = ", ".join(f"'{one}'" for one in words)
        op.create_check_constraint(name, "discoveryrule", f"{column} IN ({listed})")
    op.add_column(
        "discoveryrule", sa.Column("windows", JSONB(), nullable=False, server_default="[]")
    )
    op.alter_column("discoveryrule", "windows", server_default=None)
    op.add_column(
        "discoveryrule", sa.Column("time_zone", sa.String(), nullable=False, server_default="UTC")
    )
    op.alter_column("discoveryrule", "time_zone", server_default=None)


def downgrade() -> None:
    """Take it back; rules that were to wait are taken out of use, for they could wait no more."""
    op.execute("UPDATE discoveryrule SET enabled = false WHERE provision <> 'at_once'")
    op.drop_column("discoveryrule", "time_zone")
    op.drop_column("discoveryrule", "windows")
    for column, (name, _, _) in reversed(_WORDS.items()):
        op.drop_constraint(name, "discoveryrule", type_="check")
        op.drop_column("discoveryrule", column)
