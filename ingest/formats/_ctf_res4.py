"""The `.res4` of a CTF folder: rate, trials, and per channel its kind, gain and the place of its first coil."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channel_list import Channel, uniquely
from neuroloom.ingest.formats._channels import kind_of

MAX_BYTES = 1 << 26
SYSTEM_CLOCK = "SCLK01-177"
_RUN_AT = 1844
_COIL = np.dtype(
    [
        ("pos_cm", ">f8", 3), ("-0", ">f8"), ("norm", ">f8", 3), ("-1", ">f8"), ("turns", ">i2"), ("-2", "V6"),
        ("area", ">f8"),
    ]
)  # fmt: skip
_ROW = np.dtype(
    [
        ("kind", ">i2"), ("run", ">i2"), ("coil_type", ">i4"), ("proper_gain", ">f8"), ("q_gain", ">f8"),
        ("io_gain", ">f8"), ("io_offset", ">f8"), ("n_coils", ">i2"), ("grade", ">i2"), ("-", ">i4"),
        ("coils", _COIL, 8), ("head", _COIL, 8),
    ]
)  # fmt: skip
# Type of sensor: kind, unit.
_KINDS = {0: ("ref_meg", "T"), 1: ("ref_meg", "T"), 5: ("mag", "T"), 9: ("eeg", "uV"), 11: ("stim", "a.u.")}
_DATES = ("%d/%m/%Y", "%d-%b-%Y", "%a, %b %d, %Y", "%Y/%m/%d")


@dataclass(frozen=True, kw_only=True)
class Res4:
    """n_samples: of a trial, n_before of them before its trigger. clock: column of the system clock, None without."""

    path: Path
    rate_hz: float
    n_trials: int
    n_samples: int
    n_before: int
    n_averaged: int
    start: datetime | None
    subject: str
    channels: tuple[Channel, ...]
    clock: int | None
    stated: dict[str, Any] = field(default_factory=dict)


def res4_of(path: Path) -> Res4:
    """Raises FormatError where it is cut off, or states what no recording has."""
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(f"{path}: {path.stat().st_size} bytes; at most {MAX_BYTES} are wanted")
    raw = path.read_bytes()
    try:
        return _parsed(path, raw)
    except (struct.error, IndexError) as error:
        raise FormatError(f"{path}: {len(raw)} bytes; it is cut off") from error


def _parsed(path: Path, raw: bytes) -> Res4:
    n_averaged, n_samples, n_channels = (
        struct.unpack_from(kind, raw, at)[0] for kind, at in ((">h", 776), (">i", 1288), (">h", 1292))
    )
    rate_hz, n_trials, n_before = (
        struct.unpack_from(kind, raw, at)[0] for kind, at in ((">d", 1296), (">h", 1312), (">i", 1316))
    )
    if not (np.isfinite(rate_hz) and rate_hz > 0) or n_samples < 1 or n_channels < 1 or not 0 <= n_before <= n_samples:
        raise FormatError(
            f"{path}: {n_channels} channels, {n_samples} samples per trial, {n_before} before its trigger, {rate_hz} "
            "Hz; some of each, and a rate above 0, are wanted"
        )
    names, rows = _rows(path, raw, n_channels)
    channels = [_channel(path, name, row) for name, row in zip(names, rows, strict=True)]
    grades = sorted({int(row["grade"]) for row in rows if row["kind"] == 5})
    stated: dict[str, Any] = {"positions": "CTF device coordinates, of the first coil"}
    return Res4(
        path=path,
        rate_hz=float(rate_hz),
        n_trials=n_trials,
        n_samples=n_samples,
        n_before=n_before,
        n_averaged=n_averaged,
        start=_date(_text(raw[1033:1288]), _text(raw[778:1033])),
        channels=tuple(uniquely(channels, [])),
        subject=_text(raw[1712:1744]),
        clock=names.index(SYSTEM_CLOCK) if SYSTEM_CLOCK in names else None,
        stated=stated | ({"ctf_compensation_grade": grades[-1]} if grades and grades[-1] else {}),
    )


def _rows(path: Path, raw: bytes, n_channels: int) -> tuple[list[str], Any]:
    """Names, and what else is stated of each; behind a description and the filters."""
    (n_text,) = struct.unpack_from(">i", raw, 1836)
    at = _RUN_AT + max(n_text, 0)
    (n_filters,) = struct.unpack_from(">h", raw, at)
    at += 2
    for _ in range(max(n_filters, 0)):
        (n_numbers,) = struct.unpack_from(">h", raw, at + 16)
        at += 18 + 8 * max(n_numbers, 0)
    if at + n_channels * (32 + _ROW.itemsize) > len(raw):
        raise FormatError(f"{path}: {len(raw)} bytes do not hold {n_channels} channels; it is cut off, or it lies")
    names = [_text(raw[at + 32 * k : at + 32 * (k + 1)]) for k in range(n_channels)]
    return names, np.frombuffer(raw, _ROW, n_channels, at + 32 * n_channels)


def _channel(path: Path, name: str, row: Any) -> Channel:
    kind, unit = _KINDS.get(int(row["kind"]), ("misc", "a.u."))
    scale = float(row["proper_gain"] * row["q_gain"])
    if not np.isfinite(scale) or scale == 0:
        raise FormatError(f"{path}: gain of {name!r} is {scale}; a finite one other than 0 is wanted")
    place = np.asarray(row["coils"]["pos_cm"][0], dtype=np.float64)
    about: dict[str, Any] = {}
    if unit == "T" and np.isfinite(place).all() and (place**2).sum() >= 1e-2:
        about = dict(zip(("x_mm", "y_mm", "z_mm"), (place * 10).tolist(), strict=True))
    gain = 1 / scale * (1e6 if unit == "uV" else 1.0)
    kind = "eog" if kind == "eeg" and kind_of(name) == "eog" else kind
    return Channel(name=name, kind=kind, unit=unit, gain=gain, about=about)


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _date(date: str, time: str) -> datetime | None:
    if "/" in time and ":" in date:  # entered the wrong way round, as some are
        date, time = time, date
    for date_form in _DATES:
        for time_form in ("%H:%M:%S", "%H:%M"):
            try:
                return datetime.strptime(f"{date} {time}", f"{date_form} {time_form}")
            except ValueError:
                continue
    return None
