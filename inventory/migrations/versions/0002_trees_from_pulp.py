"""Install trees from Pulp, and the tree that each build began with.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let a tree be a plain URL or a Pulp distribution."""
    op.create_table(
        "pulp",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("credentials", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.alter_column("installtree", "url", existing_type=sa.String(), nullable=True)
    op.add_column("installtree", sa.Column("pulp_id", sa.Integer(), nullable=True))
    for name in ("base_path", "remote", "variant"):
        op.add_column("installtree", sa.Column(name, sa.String(), nullable=True))
    op.create_foreign_key("installtree_pulp_id_fkey", "installtree", "pulp", ["pulp_id"], ["id"])
    op.create_check_constraint("url_or_pulp", "installtree", "(url IS NULL) <> (pulp_id IS NULL)")
    op.create_check_constraint(
        "pulp_has_path", "installtree", "(pulp_id IS NULL) = (base_path IS NULL)"
    )
    op.drop_column("hostgroup", "pulp")
    op.add_column("build", sa.Column("tree_url", sa.String(), nullable=True))
    op.add_column("build", sa.Column("tree_pin", sa.String(), nullable=True))
    # Builds that are under way install from the plain trees that there were until now.
    op.execute(
        "UPDATE build SET tree_url = installtree.url FROM hostgroup, installtree "
        "WHERE hostgroup.id = build.host_group_id AND installtree.id = hostgroup.install_tree_id"
    )


def downgrade() -> None:
    """Back to plain trees; those of a Pulp, and their host groups, must be gone before."""
    op.drop_column("build", "tree_pin")
    op.drop_column("build", "tree_url")
    op.add_column(
        "hostgroup", sa.Column("pulp", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.alter_column("hostgroup", "pulp", server_default=None)
    op.drop_constraint("pulp_has_path", "installtree")
    op.drop_constraint("url_or_pulp", "installtree")
    op.drop_constraint("installtree_pulp_id_fkey", "installtree")
    for name in ("variant", "remote", "base_path", "pulp_id"):
        op.drop_column("installtree", name)
    op.alter_column("installtree", "url", existing_type=sa.String(), nullable=False)
    op.drop_table("pulp")
