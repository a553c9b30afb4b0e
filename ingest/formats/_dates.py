"""Dates of recordings: None for what is none, is not clear, or lies beyond the years that Python counts."""

from __future__ import annotations

import re
from datetime import datetime, timedelta


def iso_date(text: str) -> datetime | None:
    """`2024-05-01T10:00:00`."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def written_date(day: str, time: str) -> datetime | None:
    """A day and a time of day as vendors write them: `27/09/2011` and `1:13:39 PM`, `09.06.2015` and `15:27:25`.

    None where day and month could be either way round: dots mean that the day comes first, slashes mean nothing.
    """
    parts = re.match(r"\s*(\d{1,4})([-./])(\d{1,2})\2(\d{1,4})", day)
    at = re.match(r"\s*(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,:](\d{1,6}))?)?\s*([AP]M)?", time, re.IGNORECASE)
    if parts is None or at is None:
        return None
    first, second, third = int(parts[1]), int(parts[3]), int(parts[4])
    if len(parts[1]) == 4:
        year, month, day_of_month = first, second, third
    elif second > 12:
        year, month, day_of_month = third, first, second
    elif first > 12 or first == second or parts[2] == ".":
        year, month, day_of_month = third, second, first
    else:
        return None
    hour = int(at[1]) % 12 + 12 * (at[5].upper() == "PM") if at[5] else int(at[1])
    try:
        return datetime(year, month, day_of_month, hour, int(at[2]), int(at[3] or 0), int((at[4] or "0").ljust(6, "0")))
    except ValueError:
        return None


def later(start: datetime | None, seconds: float | None) -> datetime | None:
    """So many seconds after `start`, where both are known."""
    try:
        return start + timedelta(seconds=seconds) if start is not None and seconds is not None else None
    except OverflowError:
        return None
