"""The headers of ABF 1 (fields at fixed bytes) and ABF 2 (sections found through an index), as one Header.

Offsets are those of the vendor's ABF headers, as Neo and pyABF have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError

MAGIC_1, MAGIC_2 = b"ABF ", b"ABF2"
BLOCK_BYTES = 512
MAX_SWEEPS, MAX_TAGS, MAX_STRINGS_BYTES = 1_000_000, 1_000_000, 1 << 20
EPISODIC = 5

_HEAD_1 = {
    "mode": (8, "<i2"), "n_values": (10, "<i4"), "ignored": (14, "<i2"), "episodes": (16, "<i4"), "date": (20, "<i4"),
    "second": (24, "<i4"), "data": (40, "<i4"), "tags": (44, "<i4", 2), "sweeps": (92, "<i4", 2),
    "format": (100, "<i2"), "n_channels": (120, "<i2"), "interval_us": (122, "<f4"), "tick_us": (130, "<f4"),
    "per_episode": (138, "<i4"), "apart_s": (178, "<f4"), "range": (244, "<f4"), "resolution": (252, "<i4"),
    "ms": (366, "<i2"), "order": (410, "<i2", 16), "names": (442, "S10", 16), "units": (602, "S8", 16),
    "adc_gain": (730, "<f4", 16), "scale": (922, "<f4", 16), "offset": (986, "<f4", 16), "gain": (1050, "<f4", 16),
    "signal_offset": (1114, "<f4", 16), "telegraph": (4512, "<i2", 16), "telegraph_gain": (4576, "<f4", 16),
}  # fmt: skip
_HEAD_2 = {"episodes": (12, "<u4"), "date": (16, "<u4"), "ms": (20, "<u4"), "format": (30, "<u2")}
_SECTIONS_2 = {"protocol": 76, "adc": 92, "strings": 220, "data": 236, "tags": 252, "sweeps": 316}
_PROTOCOL_2 = {
    "mode": (0, "<i2"), "interval_us": (2, "<f4"), "packed": (6, "u1"), "tick_us": (14, "<f4"),
    "per_episode": (22, "<i4"), "apart_s": (62, "<f4"), "range": (110, "<f4"), "resolution": (118, "<i4"),
}  # fmt: skip
_ADC_2 = {
    "telegraph": (2, "<i2"), "telegraph_gain": (6, "<f4"), "adc_gain": (28, "<f4"), "scale": (40, "<f4"),
    "offset": (44, "<f4"), "gain": (48, "<f4"), "signal_offset": (52, "<f4"), "name": (74, "<i4"), "unit": (78, "<i4"),
}  # fmt: skip
_TAG = np.dtype([("tick", "<i4"), ("text", "S56"), ("kind", "<i2"), ("number", "<i2")])
_SWEEP = np.dtype([("tick", "<i4"), ("length", "<i4")])
_STRINGS_HEAD_BYTES = 44


@dataclass(frozen=True, kw_only=True)
class Channel:
    """Value in `unit` = gain * original + offset."""

    name: str
    unit: str
    gain: float
    offset: float


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file states.

    data_at: byte of the first value. n_values: of all channels together. tick_s: what sweeps and tags are timed in.
    sweeps: ticks and lengths (of all channels together), none where the file is one stretch or does not say.
    episodes, values_per_episode, apart_s: how many sweeps, how long, and from start to start, 0 where not stated.
    """

    mode: int
    dtype: np.dtype[Any]
    data_at: int
    n_values: int
    rate_hz: float
    tick_s: float
    sweeps: NDArray[Any]
    tags: NDArray[Any]
    episodes: int
    values_per_episode: int
    apart_s: float
    channels: tuple[Channel, ...]
    start: datetime | None


def header_of(path: Path) -> Header:
    """Raises FormatError where it is none, cut off, or states what cannot be."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic not in (MAGIC_1, MAGIC_2):
        raise FormatError(f"{path}: begins with {magic!r}; {MAGIC_1!r} or {MAGIC_2!r} is wanted")
    with np.errstate(all="ignore"):  # what is infinite or not a number is looked at
        return _first(path) if magic == MAGIC_1 else _second(path)


def _first(path: Path) -> Header:
    head = _rows(path, _dtype(_HEAD_1, 6144), 1, 0)[0]
    n = int(head["n_channels"])
    if not 1 <= n <= 16:
        raise FormatError(f"{path}: {n} channels; 1 to 16 are wanted")
    order = head["order"][:n].tolist()
    if len(set(order)) < n or not all(0 <= k < 16 for k in order):
        order = list(range(n))  # some programs wrote one number for all; then they lie in order
    fields = ("range", "resolution")
    channels = tuple(
        _channel(path, {key: head[key] for key in fields} | {key: head[key][k] for key in _ADC_2 if key in _HEAD_1},
                 _text(head["names"][k]) or f"ch{k}", _text(head["units"][k]))
        for k in order
    )  # fmt: skip
    dtype = _sample_dtype(path, int(head["format"]))
    interval_us = _above_0(path, "interval between samples", float(head["interval_us"]))
    tags, sweeps = ([int(v) for v in head[key]] for key in ("tags", "sweeps"))
    return Header(
        mode=int(head["mode"]),
        dtype=dtype,
        data_at=int(head["data"]) * BLOCK_BYTES + int(head["ignored"]) * dtype.itemsize,
        n_values=int(head["n_values"]),
        rate_hz=1e6 / (interval_us * n),
        tick_s=_tick_s(float(head["tick_us"]), interval_us),
        sweeps=_section(path, "sweeps", (sweeps[0], _SWEEP.itemsize, sweeps[1]), _SWEEP, MAX_SWEEPS),
        tags=_section(path, "tags", (tags[0], _TAG.itemsize, tags[1]), _TAG, MAX_TAGS),
        episodes=int(head["episodes"]),
        values_per_episode=int(head["per_episode"]),
        apart_s=float(head["apart_s"]),
        channels=channels,
        start=_date(int(head["date"]), int(head["second"]) * 1000 + int(head["ms"])),
    )


def _second(path: Path) -> Header:
    head = _rows(path, _dtype(_HEAD_2, 512), 1, 0)[0]
    index: dict[str, tuple[int, int, int]] = {
        key: _rows(path, np.dtype("<u4,<u4,<i8"), 1, at)[0].tolist() for key, at in _SECTIONS_2.items()
    }
    protocol = _section(path, "protocol", index["protocol"], _dtype(_PROTOCOL_2, 122), 1)
    adc = _section(path, "channels", index["adc"], _dtype(_ADC_2, 82), 1024)
    if not len(protocol) or not len(adc):
        raise FormatError(f"{path}: {len(adc)} channels and {len(protocol)} protocols; at least one of both is wanted")
    stated = protocol[0]
    if stated["packed"]:
        raise FormatError(f"{path}: its samples are compressed; ABF files that are not are read")
    words = _strings(path, *index["strings"])
    channels = tuple(
        _channel(
            path,
            {key: stated[key] for key in ("range", "resolution")} | {key: row[key] for key in _ADC_2},
            _word(words, int(row["name"])) or f"ch{k}",
            _word(words, int(row["unit"])),
        )
        for k, row in enumerate(adc)
    )
    interval_us = _above_0(path, "interval between samples", float(stated["interval_us"]))
    return Header(
        mode=int(stated["mode"]),
        dtype=_sample_dtype(path, int(head["format"])),
        data_at=index["data"][0] * BLOCK_BYTES,
        n_values=index["data"][2],
        rate_hz=1e6 / interval_us,
        tick_s=_tick_s(float(stated["tick_us"]), interval_us / len(channels)),
        sweeps=_section(path, "sweeps", index["sweeps"], _SWEEP, MAX_SWEEPS),
        tags=_section(path, "tags", index["tags"], _TAG, MAX_TAGS),
        episodes=int(head["episodes"]),
        values_per_episode=int(stated["per_episode"]),
        apart_s=float(stated["apart_s"]),
        channels=channels,
        start=_date(int(head["date"]), int(head["ms"])),
    )


def _channel(path: Path, row: Any, name: str, unit: str) -> Channel:
    """Gain and offset as the vendor defines them: the range of the converter through every amplifier on the way."""
    through = float(row["scale"]) * float(row["gain"]) * float(row["adc_gain"]) * float(row["resolution"])
    through *= float(row["telegraph_gain"]) if int(row["telegraph"]) == 1 else 1.0
    gain = float(row["range"]) / through if through else float("inf")
    offset = float(row["offset"]) - float(row["signal_offset"])
    if not (np.isfinite([gain, offset]).all() and gain != 0):
        raise FormatError(f"{path}: channel {name!r} has gain {gain} and offset {offset}; finite ones are wanted")
    return Channel(name=name, unit=unit, gain=gain, offset=offset)


def _dtype(fields: dict[str, Any], n_bytes: int) -> np.dtype[Any]:
    return np.dtype({
        "names": list(fields), "offsets": [field[0] for field in fields.values()],
        "formats": [field[1:] if len(field) > 2 else field[1] for field in fields.values()], "itemsize": n_bytes,
    })  # fmt: skip


def _rows(path: Path, dtype: np.dtype[Any], n: int, at: int) -> NDArray[Any]:
    size = path.stat().st_size
    if at < 0 or n < 0 or at + n * dtype.itemsize > size:
        raise FormatError(f"{path}: {n} entries at byte {at} of its header go beyond its {size} bytes: cut off")
    return np.fromfile(path, dtype, n, offset=at)


def _section(path: Path, what: str, where: tuple[int, int, int], dtype: np.dtype[Any], most: int) -> NDArray[Any]:
    """The entries of a section, which may be longer than what is read of them. where: block, bytes of each, number."""
    block, entry_bytes, n = where
    if n == 0 or block == 0:
        return np.zeros(0, dtype)
    if not 0 < n <= most or not dtype.itemsize <= entry_bytes <= 1 << 16:
        raise FormatError(f"{path}: {n} {what} of {entry_bytes} bytes; up to {most} of {dtype.itemsize} are wanted")
    padded = [("entry", dtype), ("rest", f"V{entry_bytes - dtype.itemsize}")][
        : 2 if entry_bytes > dtype.itemsize else 1
    ]
    entries: NDArray[Any] = _rows(path, np.dtype(padded), n, block * BLOCK_BYTES)["entry"]
    return entries


def _strings(path: Path, block: int, n_bytes: int, n: int) -> list[str]:
    """All words of the file, which others refer to by their place, the first being 1."""
    if not n or not _STRINGS_HEAD_BYTES < n_bytes <= MAX_STRINGS_BYTES:
        return []
    raw = _rows(path, np.dtype("u1"), n_bytes, block * BLOCK_BYTES).tobytes()
    return [word.decode("latin-1").strip() for word in raw[_STRINGS_HEAD_BYTES:].split(b"\x00")]


def _word(words: Sequence[str], place: int) -> str:
    return words[place - 1] if 1 <= place <= len(words) else ""


def _text(raw: bytes) -> str:
    return raw.partition(b"\x00")[0].decode("latin-1").strip()


def _sample_dtype(path: Path, kind: int) -> np.dtype[Any]:
    if kind not in (0, 1):
        raise FormatError(f"{path}: data format {kind}; 0 (16-bit integers) or 1 (32-bit floats) is wanted")
    return np.dtype("<f4" if kind else "<i2")


def _above_0(path: Path, what: str, value: float) -> float:
    if not 0 < value < 1e12:
        raise FormatError(f"{path}: {what} is {value}; a number above 0 is wanted")
    return value


def _tick_s(tick_us: float, value_us: float) -> float:
    """What sweeps are timed in: as stated, or values of all channels together where that is 0."""
    return (tick_us if 0 < tick_us < 1e9 else value_us) / 1e6


def _date(day: int, ms: int) -> datetime | None:
    """`20180425` and milliseconds of the day; the oldest files have `980425`. None for what is no date."""
    year, month_day = divmod(day, 10_000)
    year += 1900 if 80 <= year < 100 else 2000 if 0 < year < 80 else 0
    try:
        return datetime(year, month_day // 100, month_day % 100) + timedelta(milliseconds=ms)
    except (ValueError, OverflowError):
        return None
