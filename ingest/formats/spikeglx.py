"""SpikeGLX: a `.meta` text (key=value) beside a `.bin` of little-endian int16, all channels of a sample together.

    run_g0_t0.imec0.ap.meta + .bin     a probe's wide band (AP) or, in `.lf`, its slow band (LF), and a sync word
    run_g0_t0.nidq.meta + .bin         the NI-DAQ's analog channels and digital words

Each stream file is a Recording; those of one probe share its clock. A file is complete when it has the size that its
`.meta` states. Gains follow the vendor's metadata guide: imec `imAiRangeMax / imMaxInt / gain` with the gains of
`~imroTbl`, NI-DAQ `niAiRangeMax / 32768 / gain`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channels import columns_of
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._dates import iso_date
from neuroloom.ingest.formats._edges import high_s
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import HIGH, Events, Segment, Signal, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "SpikeGLX"
MODALITY = "wideband"
TESTED_ON = "files written by this project only"

_BLOCK_SAMPLES = 1 << 20
# "Time synchronization errors of 5 to 10 ms (owing to T-zero error)" without a sync pulse, less with one (SpikeGLX user
# manual, "Synchronization"). Doubled, for safety.
TOGETHER_S = 0.02
_FIXED_GAIN = 80.0  # of probes without a gain per channel, Neuropixels 2.0


def sniff(path: Path, head: bytes) -> bool:
    """True for a `.meta` text of SpikeGLX."""
    return b"\nfileSizeBytes=" in b"\n" + head and b"typeThis=" in _whole_head(path, head)


def _whole_head(path: Path, head: bytes) -> bytes:
    """The keys that matter may follow a long table: `typeThis` comes late in the alphabet."""
    if not head or path.is_dir() or path.stat().st_size > 10_000_000:
        return b""
    return path.read_bytes()


def files(path: Path) -> tuple[Path, ...]:
    """The `.meta` and its `.bin`. Raises FormatError where that is missing."""
    binary = path.with_suffix(".bin")
    if not is_there(binary):
        raise FormatError(f"{path}: {binary.name} is not beside it; the samples are wanted")
    return path, binary


def read(path: Path) -> list[Recording]:
    """One Recording of the probe's or the NI-DAQ's clock: its band, and the edges of its digital lines."""
    _, binary = files(path)
    meta = _meta(path)
    samples, rate_hz = _samples(path, binary, meta)
    base = Timebase(rate_hz=rate_hz, n_samples=samples.shape[0])
    is_probe = meta["typeThis"] == "imec"
    streams: list[Stream] = []
    analog = _probe_signal(path, meta, samples, base) if is_probe else _nidq_signal(path, meta, samples, base)
    if analog is not None:
        streams.append(analog)
    n_words = _counts(path, meta, "snsApLfSy")[2] if is_probe else _counts(path, meta, "snsMnMaXaDw")[3]
    for k in range(n_words):
        column = samples.shape[1] - n_words + k
        edges = _pulses(samples, column, base, name="sync" if n_words == 1 else f"sync {k}")
        streams.append(edges)
    return [
        Recording(
            clock=re.sub(r"\.(ap|lf)$", "", path.stem),
            format="spikeglx",
            files=(path, binary),
            streams=tuple(streams),
            start=iso_date(meta.get("fileCreateTime", "")),
            started_with=_run(path),
        )
    ]


def _meta(path: Path) -> dict[str, str]:
    text = path.read_text(encoding="utf-8", errors="replace")
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    meta = {key.strip().lstrip("~"): value.strip() for key, _, value in pairs}
    if meta.get("typeThis") not in ("imec", "nidq"):
        raise FormatError(f"{path}: typeThis is {meta.get('typeThis')!r}; imec or nidq is wanted")
    return meta


def _float(path: Path, meta: Mapping[str, str], key: str) -> float:
    try:
        value = float(meta[key])
    except (KeyError, ValueError) as error:
        raise FormatError(f"{path}: {key} is {meta.get(key)!r}; a number is wanted") from error
    if not (np.isfinite(value) and value > 0):
        raise FormatError(f"{path}: {key} is {value}; a number above 0 is wanted")
    return value


def _counts(path: Path, meta: Mapping[str, str], key: str) -> list[int]:
    try:
        return [int(part) for part in meta[key].split(",")]
    except (KeyError, ValueError) as error:
        raise FormatError(f"{path}: {key} is {meta.get(key)!r}; counts of channels are wanted") from error


def _samples(path: Path, binary: Path, meta: Mapping[str, str]) -> tuple[NDArray[np.int16], float]:
    """A memory map of shape (T, C), and the rate (calibrated by SpikeGLX where it was)."""
    n_channels = int(_float(path, meta, "nSavedChans"))
    stated, found = int(_float(path, meta, "fileSizeBytes")), binary.stat().st_size
    if stated != found:
        raise FormatError(f"{binary}: {found} bytes; its .meta states {stated}: still being copied, or cut off")
    if found % (2 * n_channels):
        raise FormatError(f"{binary}: {found} bytes do not hold whole samples of {n_channels} channels")
    rate_hz = _float(path, meta, "imSampRate" if meta["typeThis"] == "imec" else "niSampRate")
    return np.memmap(binary, "<i2", mode="r", shape=(found // (2 * n_channels), n_channels)), rate_hz


def _probe_signal(path: Path, meta: Mapping[str, str], samples: NDArray[np.int16], base: Timebase) -> Signal | None:
    n_ap, n_lf, _ = _counts(path, meta, "snsApLfSy")
    n = n_ap or n_lf
    if n == 0:
        return None
    if n > samples.shape[1]:
        raise FormatError(f"{path}: snsApLfSy states {n} channels; {samples.shape[1]} are saved")
    band, column = ("ap", 3) if n_ap else ("lf", 4)
    saved = _saved_channels(meta, samples.shape[1])[:n]
    volts = _float(path, meta, "imAiRangeMax") / float(meta.get("imMaxInt", 512))
    gains = _imro_gains(meta, column)
    names = tuple(f"{band.upper()}{i}" for i in saved)
    return Signal(
        name=band,
        modality="wideband" if n_ap else "lfp",
        segments=(Segment(samples=columns_of(samples, np.arange(n)), timebase=base),),
        channel_names=names,
        unit="uV",
        gain=np.array([volts * 1e6 / gains.get(i % 384, _FIXED_GAIN) for i in saved]),
        offset=np.zeros(n),
        table=_sites(meta, n),
    )


def _saved_channels(meta: Mapping[str, str], n_saved: int) -> list[int]:
    """Acquired channel of each saved one: "0:15,768" is 0 to 15 and 768."""
    text = meta.get("snsSaveChanSubset", "")
    found: list[int] = []
    for part in re.findall(r"\d+(?::\d+)?", text):
        first, _, last = part.partition(":")
        found += range(int(first), min(int(last or first), int(first) + n_saved) + 1)
    return found if len(found) == n_saved else list(range(n_saved))


def _imro_gains(meta: Mapping[str, str], column: int) -> dict[int, float]:
    """Gain per channel of `(channel bank reference apgain lfgain filter)`; empty for probes with one fixed gain."""
    rows = [row.split() for row in re.findall(r"\(([^()]*)\)", meta.get("imroTbl", ""))]
    return {int(row[0]): float(row[column]) for row in rows if len(row) == 6}


def _sites(meta: Mapping[str, str], n: int) -> dict[str, tuple[Any, ...]]:
    """Position of each site from `~snsGeomMap`: `(shank:x:z:used)` after a head that states the pitch of shanks."""
    head = re.match(r"\(([^()]*)\)", meta.get("snsGeomMap", ""))
    rows = [row.split(":") for row in re.findall(r"\(([^()]*)\)", meta.get("snsGeomMap", "")) if row.count(":") == 3]
    if head is None or len(rows) < n:
        return {}
    pitch_um = float(head.group(1).split(",")[2])
    sites = [(int(s), float(x), float(z)) for s, x, z, _ in rows[:n]]
    return {
        "x_um": tuple(x + shank * pitch_um for shank, x, _ in sites),
        "y_um": tuple(z for _, _, z in sites),
        "group": tuple(shank for shank, _, _ in sites),
    }


def _nidq_signal(path: Path, meta: Mapping[str, str], samples: NDArray[np.int16], base: Timebase) -> Signal | None:
    n_mn, n_ma, n_xa, _ = _counts(path, meta, "snsMnMaXaDw")
    n = n_mn + n_ma + n_xa
    if n == 0:
        return None
    volts = _float(path, meta, "niAiRangeMax") / 32768
    gains = [float(meta.get("niMNGain", 1))] * n_mn + [float(meta.get("niMAGain", 1))] * n_ma + [1.0] * n_xa
    return Signal(
        name="nidq",
        modality="aux",
        segments=(Segment(samples=columns_of(samples, np.arange(n)), timebase=base),),
        channel_names=tuple(f"XA{i}" if i >= n_mn + n_ma else f"M{i}" for i in range(n)),
        unit="V",
        gain=volts / np.array(gains),
        offset=np.zeros(n),
    )


def _pulses(samples: NDArray[np.int16], column: int, base: Timebase, *, name: str) -> Events:
    """Every bit of a digital word that goes up, labelled by its number, and how long it stays; read block by block."""
    at: list[NDArray[np.int64]] = []
    changed: list[NDArray[np.uint16]] = []
    after: list[NDArray[np.uint16]] = []
    before = np.zeros(0, dtype=np.uint16)
    for start in range(0, samples.shape[0], _BLOCK_SAMPLES):
        word = np.ascontiguousarray(samples[start : start + _BLOCK_SAMPLES, column]).view(np.uint16)
        joined = np.concatenate([before if before.size else word[:1], word])
        changes = np.flatnonzero(joined[1:] != joined[:-1])
        at.append(start + changes)
        changed.append(joined[1:][changes] ^ joined[:-1][changes])
        after.append(joined[1:][changes])
        before = word[-1:]
    times_s = base.seconds(np.concatenate(at) if at else np.zeros(0))
    flips, words = (np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint16) for parts in (changed, after))
    rises, widths, bits = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
    for bit in range(16):
        mine, up = (flips >> bit) & 1 == 1, (words >> bit) & 1 == 1
        rises.append(times_s[mine & up])
        widths.append(high_s(times_s[mine & up], times_s[mine & ~up]))
        bits.append(np.full(rises[-1].size, bit))
    order = np.argsort(np.concatenate(rises), kind="stable")
    return Events(
        name=name,
        modality="sync",
        times_s=np.concatenate(rises)[order],
        labels=tuple(str(bit) for bit in np.concatenate(bits)[order]),
        table={HIGH: tuple(np.concatenate(widths)[order].tolist())},
    )


def _run(path: Path) -> tuple[str, float] | None:
    """All files of `run_g0_t0` begin at the same moment."""
    found = re.match(r"(.+_g\d+_t\w+)\.(imec|nidq|obx)", path.name)
    return (found.group(1), TOGETHER_S) if found else None
