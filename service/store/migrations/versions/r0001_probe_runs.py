"""Runs of robustness probes, their units, and leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ORDERED_TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "probe_runs",
        sa.Column("id", _ORDERED_TEXT, nullable=False),
        sa.Column("suite", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("started_at", _TIME),
        sa.Column("finished_at", _TIME),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("digests", sa.JSON, nullable=False),
        sa.Column("budget", sa.JSON, nullable=False),
        sa.Column("units_total", sa.Integer, nullable=False),
        sa.Column("error_kind", sa.Text, nullable=False),
        sa.Column("error_message", sa.Text, nullable=False),
        sa.Column("results", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_probe_runs"),
    )
    op.create_index("ix_probe_runs_suite_id", "probe_runs", ["suite", "id"])
    op.create_table(
        "probe_units",
        sa.Column("run_id", _ORDERED_TEXT, nullable=False),
        sa.Column("key", _ORDERED_TEXT, nullable=False),
        sa.Column("finished_at", _TIME, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("trials", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "key", name="pk_probe_units"),
        sa.ForeignKeyConstraint(["run_id"], ["probe_runs.id"], name="fk_probe_units_run_id", ondelete="CASCADE"),
    )
    op.create_table(
        "leases",
        sa.Column("name", _ORDERED_TEXT, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
