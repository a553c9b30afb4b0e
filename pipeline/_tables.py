"""Tables of the catalog that look after what is there: when it was last read, and what people were told."""

from __future__ import annotations

import time

from sqlalchemy import JSON, BigInteger, Float, Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The tables of the catalog."""


class CheckRow(Base):
    """When a published version was last read to the byte. damage: as `verify --json` has it; empty where it is sound.

    validator: what found it to be valid NWB; its bytes need not be validated again while that stays the same.
    """

    __tablename__ = "checks"

    id: Mapped[str] = mapped_column(String, primary_key=True)
    version: Mapped[str] = mapped_column(String, primary_key=True)
    checked_at: Mapped[float] = mapped_column(Float, default=time.time)
    n_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    seconds: Mapped[float] = mapped_column(Float, default=0.0)
    validator: Mapped[str] = mapped_column(String, default="")
    damage: Mapped[list[dict[str, str]]] = mapped_column(JSON, default=list)


class AlertRow(Base):
    """One thing to tell by one way ("webhook", "mail"). told_at: 0 until it was; next_at: not to be tried before."""

    __tablename__ = "alerts"

    key: Mapped[str] = mapped_column(String, primary_key=True)
    way: Mapped[str] = mapped_column(String, primary_key=True)
    kind: Mapped[str] = mapped_column(String, default="")
    words: Mapped[str] = mapped_column(String, default="")
    at: Mapped[float] = mapped_column(Float, default=time.time)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    next_at: Mapped[float] = mapped_column(Float, default=0.0)
    told_at: Mapped[float] = mapped_column(Float, default=0.0)
    owner: Mapped[str] = mapped_column(String, default="")
    problem: Mapped[str] = mapped_column(String, default="")
