"""Events of hosts, webhooks that are told of them, and notices for whoever looks at a host.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TOLD_OF = ("host", "interface", "build", "step", "wavehost")
"""Tables whose changes open pages are told of."""

# Statement by statement and not row by row: one statement changes many steps of a build. Within a
# transaction PostgreSQL itself makes one of equal notices. A notice has less than 8000 bytes.
_TELL = """
CREATE FUNCTION rackrise_tell_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    hosts text;
BEGIN
    IF TG_TABLE_NAME = 'step' THEN
        SELECT string_agg(id::text, ' ') INTO hosts FROM (
            SELECT DISTINCT build.host_id AS id FROM build
            WHERE build.id IN (SELECT DISTINCT build_id FROM changed) ORDER BY id) AS each;
    ELSIF TG_TABLE_NAME = 'host' THEN
        SELECT string_agg(id::text, ' ' ORDER BY id) INTO hosts FROM changed;
    ELSE
        SELECT string_agg(id::text, ' ') INTO hosts FROM (
            SELECT DISTINCT host_id AS id FROM changed ORDER BY id) AS each;
    END IF;
    IF hosts IS NOT NULL THEN
        PERFORM pg_notify(
            'rackrise_change', CASE WHEN octet_length(hosts) < 8000 THEN hosts ELSE '*' END);
    END IF;
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    """Make the tables, and let every change of a host be told."""
    _make_events()
    _make_webhooks()
    op.execute(_TELL)
    for table in _TOLD_OF:
        # A trigger with the rows of its statement can be for one kind of statement only.
        for kind in ("insert", "update"):
            op.execute(
                f"CREATE TRIGGER tell_{kind} AFTER {kind} ON {table} "
                "REFERENCING NEW TABLE AS changed "
                "FOR EACH STATEMENT EXECUTE FUNCTION rackrise_tell_change()"
            )


def _moment(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _make_events() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("hostevent_position")))
    op.create_table(
        "hostevent",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        _moment("at"),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("host_group", sa.String(), nullable=True),
        sa.Column("data", JSONB(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid"),
        sa.UniqueConstraint("position"),
    )
    op.create_index("ix_hostevent_at", "hostevent", ["at"])
    op.create_index("ix_hostevent_host_id", "hostevent", ["host_id"])
    op.create_index(
        "hostevent_unnumbered",
        "hostevent",
        ["id"],
        postgresql_where=sa.text("position IS NULL"),
    )


def _make_webhooks() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        *(sa.Column(name, JSONB(), nullable=False) for name in ("kinds", "sites", "host_groups")),
        sa.Column("sealed_secret", sa.String(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_why", sa.String(), nullable=False),
        sa.Column("made_by", sa.String(), nullable=False),
        _moment("made_at"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("webhook_id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        _moment("made_at"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _moment("next_at", nullable=True),
        _moment("delivered_at", nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhook.id"]),
        sa.ForeignKeyConstraint(["event_id"], ["hostevent.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("webhook_id", "event_id"),
    )
    op.create_index("ix_delivery_event_id", "delivery", ["event_id"])
    owed = sa.text("next_at IS NOT NULL")
    op.create_index("delivery_owed", "delivery", ["webhook_id", "next_at"], postgresql_where=owed)
    op.create_index(
        "delivery_before", "delivery", ["webhook_id", "host_id", "id"], postgresql_where=owed
    )


def downgrade() -> None:
    """Take all of it away."""
    for table in _TOLD_OF:
        for kind in ("insert", "update"):
            op.execute(f"DROP TRIGGER tell_{kind} ON {table}")
    op.execute("DROP FUNCTION rackrise_tell_change()")
    for table in ("delivery", "webhook", "hostevent"):
        op.drop_table(table)
    op.execute("DROP SEQUENCE hostevent_position")
