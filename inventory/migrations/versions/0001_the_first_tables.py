"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to the newer shape."""
    op.create_table(
        "bmc",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("mac", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("credentials", sa.String(), nullable=False),
        sa.Column(
            "settings", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.CheckConstraint("mac ~ '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$'", name="bmc_mac_normal"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("mac"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "operatingsystem",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kickstart_version", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "proxy",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("host_url", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("gateway_url", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "workerlease",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "domain",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("proxy_id", sa.Integer(), nullable=False),
        sa.Column(
            "name_servers",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["proxy_id"],
            ["proxy.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "installtree",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("operating_system_id", sa.Integer(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("architecture", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["operating_system_id"],
            ["operatingsystem.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "subnet",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("network", postgresql.CIDR(), nullable=False),
        sa.Column("range_from", postgresql.INET(), nullable=False),
        sa.Column("range_to", postgresql.INET(), nullable=False),
        sa.Column("gateway", postgresql.INET(), nullable=True),
        sa.Column(
            "name_servers",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.Column("boot_server", postgresql.INET(), nullable=False),
        sa.Column("boot_port", sa.Integer(), nullable=False),
        sa.Column(
            "filenames", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("dhcp_proxy_id", sa.Integer(), nullable=False),
        sa.Column("tftp_proxy_id", sa.Integer(), nullable=False),
        sa.Column("domain_id", sa.Integer(), nullable=False),
        sa.Column("discovery_options", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dhcp_proxy_id"],
            ["proxy.id"],
        ),
        sa.ForeignKeyConstraint(
            ["domain_id"],
            ["domain.id"],
        ),
        sa.ForeignKeyConstraint(
            ["site_id"],
            ["site.id"],
        ),
        sa.ForeignKeyConstraint(
            ["tftp_proxy_id"],
            ["proxy.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("site_id", "network"),
    )
    op.create_table(
        "hostgroup",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("operating_system_id", sa.Integer(), nullable=False),
        sa.Column("install_tree_id", sa.Integer(), nullable=False),
        sa.Column("subnet_id", sa.Integer(), nullable=False),
        sa.Column("domain_id", sa.Integer(), nullable=False),
        sa.Column("loader", sa.String(), nullable=False),
        sa.Column("root_password_hash", sa.String(), nullable=False),
        sa.Column(
            "packages", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("kernel_options", sa.String(), nullable=False),
        sa.Column("kickstart_template", sa.String(), nullable=False),
        sa.Column(
            "after_build",
            sa.Enum(
                "local_boot",
                "remove",
                name="afterbuild",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "on_failure",
            sa.Enum(
                "hold",
                "undo",
                name="onfailure",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("pulp", sa.Boolean(), nullable=False),
        sa.Column("candlepin", sa.Boolean(), nullable=False),
        sa.Column("puppet", sa.Boolean(), nullable=False),
        sa.Column("install_minutes", sa.Integer(), nullable=False),
        sa.Column("first_boot_minutes", sa.Integer(), nullable=False),
        sa.Column(
            "parameters", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["domain_id"],
            ["domain.id"],
        ),
        sa.ForeignKeyConstraint(
            ["install_tree_id"],
            ["installtree.id"],
        ),
        sa.ForeignKeyConstraint(
            ["operating_system_id"],
            ["operatingsystem.id"],
        ),
        sa.ForeignKeyConstraint(
            ["subnet_id"],
            ["subnet.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "discoveryrule",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("condition", sa.String(), nullable=False),
        sa.Column("host_group_id", sa.Integer(), nullable=False),
        sa.Column("host_name", sa.String(), nullable=False),
        sa.Column("host_limit", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["host_group_id"],
            ["hostgroup.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "host",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "discovered",
                "selected",
                "preparing",
                "rebooting",
                "installing",
                "installed",
                "first_boot",
                "in_operation",
                "held",
                "cancelled",
                "decommissioning",
                "retired",
                name="hoststate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("host_group_id", sa.Integer(), nullable=True),
        sa.Column("discovery_rule_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["discovery_rule_id"],
            ["discoveryrule.id"],
        ),
        sa.ForeignKeyConstraint(
            ["host_group_id"],
            ["hostgroup.id"],
        ),
        sa.ForeignKeyConstraint(
            ["site_id"],
            ["site.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_index(op.f("ix_host_state"), "host", ["state"], unique=False)
    op.create_table(
        "build",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("host_group_id", sa.Integer(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "outcome",
            sa.Enum(
                "in_operation",
                "cancelled",
                "superseded",
                "retired",
                name="buildoutcome",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("asked_by", sa.String(), nullable=True),
        sa.Column("token_hash", sa.String(), nullable=True),
        sa.Column("token_spent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kickstarts", sa.Integer(), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "held_from",
            sa.Enum(
                "discovered",
                "selected",
                "preparing",
                "rebooting",
                "installing",
                "installed",
                "first_boot",
                "in_operation",
                "held",
                "cancelled",
                "decommissioning",
                "retired",
                name="hoststate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("held_step", sa.Integer(), nullable=True),
        sa.Column("held_reason", sa.String(), nullable=True),
        sa.Column("held_advice", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["host_group_id"],
            ["hostgroup.id"],
        ),
        sa.ForeignKeyConstraint(
            ["host_id"],
            ["host.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("host_id", "generation"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_index(
        "build_open_once",
        "build",
        ["host_id"],
        unique=True,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "facts",
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "values", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["host_id"],
            ["host.id"],
        ),
        sa.PrimaryKeyConstraint("host_id", "source"),
    )
    op.create_table(
        "interface",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("mac", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("provisioning", sa.Boolean(), nullable=False),
        sa.Column("subnet_id", sa.Integer(), nullable=True),
        sa.Column("ip", postgresql.INET(), nullable=True),
        sa.Column("discovered_ip", postgresql.INET(), nullable=True),
        sa.CheckConstraint("mac ~ '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$'", name="mac_normal"),
        sa.ForeignKeyConstraint(
            ["host_id"],
            ["host.id"],
        ),
        sa.ForeignKeyConstraint(
            ["subnet_id"],
            ["subnet.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("ip"),
        sa.UniqueConstraint("mac"),
    )
    op.create_index(
        "interface_provisioning_once",
        "interface",
        ["host_id"],
        unique=True,
        postgresql_where=sa.text("provisioning"),
    )
    op.create_index(op.f("ix_interface_host_id"), "interface", ["host_id"], unique=False)
    op.create_table(
        "callback",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "facts",
                "kickstart",
                "progress",
                "built",
                "failed",
                "report",
                name="callbackkind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("build_id", sa.Uuid(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("remote", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["build_id"],
            ["build.id"],
        ),
        sa.ForeignKeyConstraint(
            ["host_id"],
            ["host.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    op.create_index(
        "callback_unhandled",
        "callback",
        ["id"],
        unique=False,
        postgresql_where=sa.text("handled_at IS NULL"),
    )
    op.create_index(op.f("ix_callback_build_id"), "callback", ["build_id"], unique=False)
    op.create_index(op.f("ix_callback_host_id"), "callback", ["host_id"], unique=False)
    op.create_table(
        "claim",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("build_id", sa.Uuid(), nullable=False),
        sa.Column(
            "phase",
            sa.Enum(
                "discovery-intake",
                "inception",
                "anaconda-build",
                "first-boot",
                name="phase",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("company", sa.Uuid(), nullable=False),
        sa.Column("flow_run_id", sa.Uuid(), nullable=True),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["build_id"],
            ["build.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("build_id", "phase", "attempt"),
    )
    op.create_index("claim_company", "claim", ["company"], unique=False)
    op.create_index(
        "claim_live_once",
        "claim",
        ["build_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "effect",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("build_id", sa.Uuid(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column(
            "before", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column(
            "after", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column(
            "earlier", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column(
            "state",
            sa.Enum(
                "intended",
                "applied",
                "verified",
                "undone",
                name="effectstate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("intended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["build_id"],
            ["build.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("build_id", "system", "place", "key"),
    )
    op.create_index(op.f("ix_effect_build_id"), "effect", ["build_id"], unique=False)
    op.create_table(
        "step",
        sa.Column("build_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "running",
                "done",
                "failed",
                "not asked for",
                name="stepstate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "evidence",
            sa.Enum(
                "implied",
                "reported",
                "observed",
                name="evidence",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("seen", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("flow_run_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["build_id"],
            ["build.id"],
        ),
        sa.PrimaryKeyConstraint("build_id", "number"),
    )


def downgrade() -> None:
    """Go back to the older shape."""
    op.drop_table("step")
    op.drop_index(op.f("ix_effect_build_id"), table_name="effect")
    op.drop_table("effect")
    op.drop_index(
        "claim_live_once", table_name="claim", postgresql_where=sa.text("ended_at IS NULL")
    )
    op.drop_index("claim_company", table_name="claim")
    op.drop_table("claim")
    op.drop_index(op.f("ix_callback_host_id"), table_name="callback")
    op.drop_index(op.f("ix_callback_build_id"), table_name="callback")
    op.drop_index(
        "callback_unhandled", table_name="callback", postgresql_where=sa.text("handled_at IS NULL")
    )
    op.drop_table("callback")
    op.drop_index(op.f("ix_interface_host_id"), table_name="interface")
    op.drop_index(
        "interface_provisioning_once",
        table_name="interface",
        postgresql_where=sa.text("provisioning"),
    )
    op.drop_table("interface")
    op.drop_table("facts")
    op.drop_index(
        "build_open_once", table_name="build", postgresql_where=sa.text("closed_at IS NULL")
    )
    op.drop_table("build")
    op.drop_index(op.f("ix_host_state"), table_name="host")
    op.drop_table("host")
    op.drop_table("discoveryrule")
    op.drop_table("hostgroup")
    op.drop_table("subnet")
    op.drop_table("installtree")
    op.drop_table("domain")
    op.drop_table("workerlease")
    op.drop_table("site")
    op.drop_table("proxy")
    op.drop_table("operatingsystem")
    op.drop_table("bmc")
