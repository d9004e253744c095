"""What it takes to give a build up: two more phases, effects that are left, claims withdrawn.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_STATES = (
    *("discovered", "selected", "preparing", "rebooting", "installing", "installed"),
    *("first_boot", "in_operation", "held", "cancelled", "decommissioning", "retired"),
)
_PHASES = ("discovery-intake", "inception", "anaconda-build", "first-boot")
_EFFECTS = ("intended", "applied", "verified", "undone")


def _admit(table: str, column: str, name: str, words: tuple[str, ...], *more: str) -> None:
    op.drop_constraint(name, table, type_="check")
    listed = ", ".join(f"'{one}'" for one in (*words, *more))
    op.create_check_constraint(name, table, f"{column} IN ({listed})")


def upgrade() -> None:
    """Admit the new words, and make room for what is new of claims, effects and builds."""
    states = (*_STATES[:9], "cancelling", *_STATES[9:])
    _admit("host", "state", "hoststate", states)
    _admit("build", "held_from", "hoststate", states)
    _admit("claim", "phase", "phase", _PHASES, "cancel", "decommission")
    _admit("effect", "state", "effectstate", _EFFECTS, "left")
    op.add_column("claim", sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("effect", sa.Column("seen", sa.String(), nullable=False, server_default=""))
    op.alter_column("effect", "seen", server_default=None)
    op.add_column("build", sa.Column("given_up", sa.String(), nullable=True))
    op.add_column(
        "build", sa.Column("network_boots", sa.Integer(), nullable=False, server_default="0")
    )
    op.alter_column("build", "network_boots", server_default=None)
    for name in ("network_booted_at", "trouble_since"):
        op.add_column("build", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.add_column("build", sa.Column("trouble", sa.String(), nullable=False, server_default=""))
    op.alter_column("build", "trouble", server_default=None)


def downgrade() -> None:
    """Take it back; what the old words cannot say must be gone."""
    names = ("trouble", "trouble_since", "network_booted_at", "network_boots", "given_up")
    for name in names:
        op.drop_column("build", name)
    op.drop_column("effect", "seen")
    op.drop_column("claim", "withdrawn_at")
    _admit("effect", "state", "effectstate", _EFFECTS)
    _admit("claim", "phase", "phase", _PHASES)
    _admit("build", "held_from", "hoststate", _STATES)
    _admit("host", "state", "hoststate", _STATES)
