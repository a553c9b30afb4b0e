"""Signals as a BrainVision triplet: header, samples, markers. Integers stay integers, and memory does not grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest._nwb_layout import VOLTS
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Segment, Signal
from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.care._bids_plan import File
from neuroloom.pipeline.care._bids_text import cell

BLOCK_VALUES = 1 << 21
MOST_HALVED = 8  # times: 1/512 of the least step an original sample can make is little enough
BINARY = {"int16": "INT_16", "int32": "INT_32", "float32": "IEEE_FLOAT_32"}
_VHDR = """Brain Vision Data Exchange Header File Version 1.0

[Common Infos]
Codepage=UTF-8
DataFile={stem}.eeg
MarkerFile={stem}.vmrk
DataFormat=BINARY
DataOrientation=MULTIPLEXED
NumberOfChannels={n}
SamplingInterval={interval}

[Binary Infos]
BinaryFormat={binary}

[Channel Infos]
{channels}"""

_VMRK = """Brain Vision Data Exchange Marker File, Version 1.0

[Common Infos]
Codepage=UTF-8
DataFile={stem}.eeg

[Marker Infos]
{markers}"""


def brainvision(
    session: Session, one: File, segments: Sequence[Segment], path: Path, markers: Sequence[Events]
) -> Path:
    """Segments of the same moments as a BrainVision triplet; gives its header."""
    base = segments[0].timebase
    names = [name for signal in one.signals for name in signal.channel_names]
    spelled = _spelled(one.signals, segments)
    rows = max(1, BLOCK_VALUES // len(names))
    with path.with_suffix(".eeg").open("wb") as file:
        for first in range(0, base.n_samples, rows):
            part = slice(first, min(first + rows, base.n_samples))
            block = np.hstack([np.asarray(segment.samples[part]) for segment in segments])
            file.write(np.ascontiguousarray(spelled.of(block), dtype=spelled.dtype.newbyteorder("<")).tobytes())
    references = [str(r) for s in one.signals for r in s.table.get("reference", ("",) * len(s.channel_names))]
    channels = "".join(
        f"Ch{i}={_escaped(name)},{_escaped(reference)},{float(gain)!r},µV\n"
        for i, (name, reference, gain) in enumerate(zip(names, references, spelled.gain_uV, strict=True), 1)
    )
    said = {"n": len(names), "interval": repr(1e6 / base.rate_hz), "binary": BINARY[spelled.dtype.name]}
    path.with_suffix(".vhdr").write_text(_VHDR.format(**said, stem=path.name, channels=channels), encoding="utf-8")
    path.with_suffix(".vmrk").write_text(_markers(session, base, path.name, markers), encoding="utf-8")
    return path.with_suffix(".vhdr")


@dataclass(frozen=True, eq=False)
class _Spelled:
    """How samples are written: factor * original + shift as dtype, of which one is gain_uV; (C,) each, or 1 and 0."""

    dtype: np.dtype[Any]
    gain_uV: FloatArray
    factor: Any = 1
    shift: Any = 0

    def of(self, block: Any) -> Any:
        """A block of original samples, (T, C), as it is written."""
        return block if np.ndim(self.factor) == 0 else block.astype(self.factor.dtype) * self.factor + self.shift


def _spelled(signals: Sequence[Signal], segments: Sequence[Segment]) -> _Spelled:
    """The original integers where all are of one type and have no offset, else what comes nearest in BrainVision.

    BrainVision knows no offset, and an offset is seldom a whole multiple of the gain. Integers of 16 bits go into 32
    with a gain that is halved as often as there is room: what is lost is half of that at most, the same for all samples
    of a channel. Anything else becomes float32 microvolts.
    """
    gain = np.concatenate([signal.gain * VOLTS[signal.unit] * 1e6 for signal in signals])
    offset = np.concatenate([signal.offset * VOLTS[signal.unit] * 1e6 for signal in signals])
    dtypes = {segment.samples.dtype for segment in segments}
    dtype = segments[0].samples.dtype
    if len(dtypes) == 1 and dtype.name in BINARY and not offset.any():
        return _Spelled(dtype, gain)
    if all(one.kind in "iu" and one.itemsize <= 2 for one in dtypes) and gain.all():
        in_gains = offset / gain
        room = np.floor(np.log2(2.0**31 / (np.abs(in_gains) + 2.0**16 + 1)))
        if (room >= 0).all():
            factor = 2 ** np.minimum(room, MOST_HALVED).astype(np.int64)
            return _Spelled(np.dtype("int32"), gain / factor, factor, np.rint(in_gains * factor).astype(np.int64))
    return _Spelled(np.dtype("float32"), np.ones(len(gain)), gain, offset)


def _escaped(text: str) -> str:
    return cell(text).replace(",", "\\1") if text else ""


def _markers(session: Session, base: Any, stem: str, markers: Sequence[Events]) -> str:
    """When the first sample was taken, and the markers that the recording's own file had."""
    when = session.start and session.start + timedelta(seconds=base.start_s)
    lines = [f"New Segment,,1,1,0{when.strftime(',%Y%m%d%H%M%S%f') if when else ''}"]
    for stream in markers:
        columns = (stream.times_s, stream.table["duration_s"], stream.table["kind"], stream.labels)
        for time_s, lasts_s, kind, label in zip(*columns, strict=True):
            at, lasts = round((time_s - base.start_s) * base.rate_hz) + 1, round(lasts_s * base.rate_hz)
            lines.append(f"{_escaped(kind)},{_escaped(label)},{at},{lasts},0")
    return _VMRK.format(stem=stem, markers="".join(f"Mk{i}={line}\n" for i, line in enumerate(lines, 1)))
