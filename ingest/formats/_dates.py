"""Dates of recordings: None for what is none, or beyond the years that Python counts."""

from __future__ import annotations

from datetime import datetime, timedelta


def iso_date(text: str) -> datetime | None:
    """`2024-05-01T10:00:00`."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def later(start: datetime | None, seconds: float | None) -> datetime | None:
    """So many seconds after `start`, where both are known."""
    try:
        return start + timedelta(seconds=seconds) if start is not None and seconds is not None else None
    except OverflowError:
        return None
