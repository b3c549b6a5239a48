"""The tables. `migrations/` makes them; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Double, ForeignKey, Index, MetaData, String, Text, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Ordered by code points on every database, whatever the server's language: pages and streams rely on the order.
ORDERED_TEXT = String().with_variant(String(collation="C"), "postgresql")


class UtcTime(TypeDecorator[datetime]):
    """An aware time in, the same moment in UTC out. SQLite keeps no time zones of its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ProbeRunRow(Base):
    __tablename__ = "probe_runs"
    __table_args__ = (Index(None, "suite", "id"),)

    id: Mapped[str] = mapped_column(ORDERED_TEXT, primary_key=True)  # UUIDv7: later runs sort after earlier ones
    suite: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    seed: Mapped[int] = mapped_column(BigInteger)
    trigger: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
    holder: Mapped[str] = mapped_column(Text)
    digests: Mapped[Any] = mapped_column(JSON)
    budget: Mapped[Any] = mapped_column(JSON)
    units_total: Mapped[int]
    error_kind: Mapped[str] = mapped_column(Text)
    error_message: Mapped[str] = mapped_column(Text)
    results: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)


class ProbeUnitRow(Base):
    __tablename__ = "probe_units"

    run_id: Mapped[str] = mapped_column(ForeignKey(ProbeRunRow.id, ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(ORDERED_TEXT, primary_key=True)
    finished_at: Mapped[datetime] = mapped_column(UtcTime)
    seconds: Mapped[float] = mapped_column(Double)
    trials: Mapped[Any] = mapped_column(JSON)


class LeaseRow(Base):
    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(ORDERED_TEXT, primary_key=True)
    holder: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[float] = mapped_column(Double)  # seconds since 1970 by the database's clock
