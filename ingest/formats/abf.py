"""Axon Binary Format 1 and 2 (pCLAMP, AxoScope): sweeps of interleaved int16 or float32, tags.

    a sweep is a segment at its own time, as the file's synch array has it; gap-free recordings are one segment
    channels of one unit are a Signal
    tags are Events; those an external trigger set are "sync"

Design rationale: neo.rawio.AxonRawIO, which the tests compare with, gives ABF 1 tags without their text and time, times
tags of ABF 2 in samples instead of synch units (721 s for 180 s), and joins the sweeps of a file without a synch array.
pyABF gets tags right and puts every sweep of ABF 1 end to end (1 s apart for 90 s). Neither is right in all of these;
the vendor's own field descriptions are followed instead. Compressed files, which no reader knows, are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._abf_header import EPISODIC, MAGIC_1, MAGIC_2, Header, header_of
from neuroloom.ingest.formats._channels import columns_of, grouped, numbered
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Segment, Signal, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "Axon ABF 1 and 2"
MODALITY = "aux"
TESTED_ON = "17 real files of pyABF: versions 1.3 to 2.9, int16 and float32, up to 187 sweeps, broken dates and units"
KEEPS = (
    "every sample with its gain and offset, sweeps at their own times, tags with their text; not command waveforms, "
    "which the file only describes"
)

_EXTERNAL = 2
_TAG_KINDS = {0: "time", 1: "comment", 2: "external", 3: "voice", 4: "new file", 5: "annotation"}


def sniff(path: Path, head: bytes) -> bool:
    """True for the four letters that an ABF file begins with, and a header that follows."""
    return head[:4] in (MAGIC_1, MAGIC_2) and len(head) >= 512


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def incomplete(path: Path) -> str:
    """Why the samples that the header states are not all there; "" where they are."""
    try:
        _check_size(path, header_of(path))
    except FormatError as error:
        return str(error)
    return ""


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per unit, and the tags."""
    stated = header_of(path)
    repairs: list[str] = []
    _check_size(path, stated)
    streams: list[Stream] = [*_signals(path, stated, _segments(path, stated, repairs), repairs), *_tags(stated)]
    return [
        Recording(
            clock=path.stem,
            format="abf",
            files=(path,),
            streams=tuple(streams),
            start=stated.start,
            repairs=tuple(repairs),
        )
    ]


def _check_size(path: Path, stated: Header) -> None:
    size, wanted = path.stat().st_size, stated.data_at + stated.n_values * stated.dtype.itemsize
    if stated.n_values <= 0 or stated.data_at <= 0:
        raise FormatError(f"{path}: states {stated.n_values} values at byte {stated.data_at}; some samples are wanted")
    if wanted > size:
        raise FormatError(f"{path}: states {wanted} bytes and has {size}: still being copied, or cut off")


def _segments(path: Path, stated: Header, repairs: list[str]) -> list[Segment]:
    """The sweeps, memory-mapped."""
    n_channels = len(stated.channels)
    lengths, starts_s = _sweeps(path, stated, repairs)
    raw = np.memmap(path, stated.dtype, mode="r", offset=stated.data_at, shape=(stated.n_values,))
    segments = []
    for first, length, start_s in zip(np.cumsum(lengths) - lengths, lengths, starts_s, strict=True):
        samples = raw[first : first + length].reshape(-1, n_channels)
        base = Timebase(rate_hz=stated.rate_hz, start_s=float(start_s), n_samples=samples.shape[0])
        segments.append(Segment(samples=samples, timebase=base))
    return segments


def _sweeps(path: Path, stated: Header, repairs: list[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values per sweep, of all channels together, and when each began."""
    n_channels = len(stated.channels)
    if not len(stated.sweeps):
        return _unstated(path, stated, repairs)
    lengths = stated.sweeps["length"].astype(np.int64)
    in_samples, in_ticks = int(lengths.sum()), float(lengths.sum()) * stated.tick_s * stated.rate_hz * n_channels
    if in_samples > stated.n_values and round(in_ticks) <= stated.n_values:
        lengths = np.rint(lengths * stated.tick_s * stated.rate_hz * n_channels).astype(np.int64)
    if (lengths <= 0).any() or int(lengths.sum()) > stated.n_values or (lengths % n_channels).any():
        raise FormatError(
            f"{path}: {len(lengths)} sweeps of {int(lengths.sum())} values in all; whole samples of {n_channels} "
            f"channels within {stated.n_values} values are wanted"
        )
    if int(lengths.sum()) < stated.n_values:
        repairs.append(Defect(f"{stated.n_values - int(lengths.sum())} values after the last sweep left out"))
    return lengths, stated.sweeps["tick"].astype(np.int64) * stated.tick_s


def _unstated(path: Path, stated: Header, repairs: list[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Without a synch array: one stretch, or sweeps as far apart as the protocol has them."""
    n, rest = divmod(stated.n_values, len(stated.channels))
    if rest:
        repairs.append(Defect(f"{rest} values after the last whole sample left out"))
    whole = n * len(stated.channels)
    per_sweep = stated.values_per_episode
    if stated.mode != EPISODIC or stated.episodes < 2 or per_sweep * stated.episodes != whole:
        return np.array([whole]), np.zeros(1)
    lasts_s = per_sweep / len(stated.channels) / stated.rate_hz
    apart_s = max(stated.apart_s if np.isfinite(stated.apart_s) else 0.0, lasts_s)
    repairs.append(
        Defect(f"no times of its {stated.episodes} sweeps: placed {apart_s:g} s apart, as its protocol has them")
    )
    return np.full(stated.episodes, per_sweep), np.arange(stated.episodes) * apart_s


def _signals(path: Path, stated: Header, segments: list[Segment], repairs: list[str]) -> list[Signal]:
    names = numbered([channel.name for channel in stated.channels], repairs)
    kept = [kept_unit(channel.unit) for channel in stated.channels]
    signals = []
    for _, unit, suffix, columns in grouped(["adc"] * len(names), [unit for unit, _ in kept]):
        factor = np.array([kept[i][1] for i in columns])
        try:
            signals.append(_signal(f"adc{suffix}", unit, segments, names, columns, stated, factor))
        except ValueError as error:
            raise FormatError(f"{path}: {error}") from error
    return signals


def _signal(
    name: str,
    unit: str,
    segments: list[Segment],
    names: list[str],
    columns: NDArray[np.int64],
    stated: Header,
    factor: NDArray[Any],
) -> Signal:
    is_float = stated.dtype.kind == "f"  # floats are values already
    gains = np.array([1.0 if is_float else stated.channels[i].gain for i in columns])
    offsets = np.array([0.0 if is_float else stated.channels[i].offset for i in columns])
    return Signal(
        name=name,
        modality="aux",
        segments=tuple(Segment(samples=columns_of(s.samples, columns), timebase=s.timebase) for s in segments),
        channel_names=tuple(names[i] for i in columns),
        unit=unit,
        gain=gains * factor,
        offset=offsets * factor,
    )


def _tags(stated: Header) -> list[Events]:
    """What was noted while recording, in order of time, counted in the synch array's unit."""
    found: list[Events] = []
    for name, modality, rows in (
        ("tags", "events", stated.tags[stated.tags["kind"] != _EXTERNAL]),
        ("external tags", "sync", stated.tags[stated.tags["kind"] == _EXTERNAL]),
    ):
        if not len(rows):
            continue
        rows = rows[np.argsort(rows["tick"], kind="stable")]
        kinds = tuple(_TAG_KINDS.get(kind, str(kind)) for kind in rows["kind"].tolist())
        texts = [raw.partition(b"\x00")[0].decode("latin-1").strip() for raw in rows["text"].tolist()]
        labels = tuple(text or kind for text, kind in zip(texts, kinds, strict=True))
        times_s = rows["tick"].astype(np.int64) * stated.tick_s
        found.append(Events(name=name, modality=modality, times_s=times_s, labels=labels, table={"kind": kinds}))
    return found
