"""The text of 16 KiB that every Neuralynx file begins with: `-Name value` lines, and in old ones dates after `##`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from neuroloom.ingest.formats import FormatError

MAGIC = b"######## Neuralynx"
HEADER_BYTES = 1 << 14

_DATES = (
    (re.compile(r"-TimeCreated (\S+) (\S+)"), "%Y/%m/%d"),
    (re.compile(r"## (?:Time|Date) Opened:* \([mdy/]+\): (\S+)\s+(?:\(h:m:s\.ms\)|At Time:) (\S+)"), "%m/%d/%Y"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is needed of it. None for what it does not state.

    entity: name of the channel or electrode. record_bytes: 0 where not stated. opened: without a time zone.
    """

    entity: str
    record_bytes: int
    rate_hz: float | None
    volts_per_bit: float | None
    is_inverted: bool
    ad_channel: int
    opened: datetime | None


def header_of(path: Path) -> Header:
    """Raises FormatError where it is cut off, or a number in it is none."""
    with path.open("rb") as file:
        raw = file.read(HEADER_BYTES)
    if len(raw) < HEADER_BYTES:
        raise FormatError(f"{path}: {len(raw)} bytes; a header has {HEADER_BYTES}: cut off, or still being copied")
    text = raw.rstrip(b"\x00").decode("latin-1")
    found = {key: value.strip() for key, value in re.findall(r"^\s*-(\w+)[ \t]+(.*)$", text, re.M)}
    return Header(
        entity=found.get("AcqEntName", "").split(" ")[0],
        record_bytes=int(_number(path, found, "RecordSize") or 0),
        rate_hz=_rate_hz(path, found),
        volts_per_bit=_number(path, found, "ADBitVolts"),
        is_inverted=found.get("InputInverted", "").lower() == "true",
        ad_channel=int(_number(path, found, "ADChannel") or 0),
        opened=_opened(text),
    )


def _number(path: Path, found: Mapping[str, str], key: str) -> float | None:
    """The first number of an entry, which has one per wire of a tetrode."""
    text = found.get(key, "").partition(" ")[0]
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise FormatError(f"{path}: -{key} is {text[:40]!r}; a number is wanted") from error


def _rate_hz(path: Path, found: Mapping[str, str]) -> float | None:
    """As stated; the first Cheetahs sampled every so many whole µs whatever they stated."""
    rate_hz = _number(path, found, "SamplingFrequency")
    if rate_hz is None:
        return None
    if not 0 < rate_hz <= 1e6:
        raise FormatError(f"{path}: -SamplingFrequency is {rate_hz:g}; more than 0 and up to 1e6 Hz are wanted")
    return 1e6 / (1e6 // rate_hz) if found.get("NLX_Base_Class_Type") == "CscAcqEnt" else rate_hz


def _opened(text: str) -> datetime | None:
    for pattern, days in _DATES:
        if (match := pattern.search(text)) is not None:
            for clock in ("%H:%M:%S.%f", "%H:%M:%S"):
                try:
                    return datetime.strptime(f"{match[1]} {match[2]}", f"{days} {clock}")
                except ValueError:
                    continue
    return None
