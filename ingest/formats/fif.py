"""FIF (Neuromag, MEGIN, MNE): big-endian tags with a header of 16 bytes, nested in blocks; samples in buffers.

    buffers of int16, int32, float32, float64     one Signal per kind of channel and unit; the numbers as stored, and
                                                  gain = cal * range
    data skips, "BAD_ACQ_SKIP" annotations        gaps: the next buffer starts a new segment
    first sample                                  time 0 is the start of the acquisition, not of the file
    stim channels                                 kept as they are, and their rising codes as sync events
    annotations                                   events, or intervals where they last
    epochs                                        a segment each, see `_fif_epochs`
    X_raw.fif -> X_raw-1.fif -> ...               parts of one recording, each naming the next
    X_raw-eve.fif, X-eve.fif                      a list of events beside it: sync events, on the clock of its samples

Design rationale: MNE reads the header, the buffers are read here. MNE gives calibrated floats, fills gaps with zeros,
drops annotations beyond the last sample, and follows the name of the next part wherever it leads; and a tag that
points at itself keeps it busy for ever. So every tag is looked at before MNE opens the file, just as MNE would find
it: through the directory of tags where there is one, else from tag to tag.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError, _fif_epochs, _gzip
from neuroloom.ingest.formats._annotations import Note, annotated
from neuroloom.ingest.formats._dates import later
from neuroloom.ingest.formats._fif_buffers import BUFFER, Piece, Rows, Store, pieces_of, runs_of, without_skips
from neuroloom.ingest.formats._fif_events import event_lists, listed_events
from neuroloom.ingest.formats._fif_tags import (
    DTYPES,
    Part,
    Tag,
    bytes_of,
    is_fif,
    is_later,
    numbers_of,
    part_of,
    parts_of,
    text_of,
)
from neuroloom.ingest.formats._mne_info import codes_of, info_of, signals_of_info, subject_of_info
from neuroloom.ingest.formats._triggers import triggers
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Segment, Signal, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "FIF"
MODALITY = "meg"
KEEPS = (
    "samples as stored, gaps, positions, bad channels, codes, annotations, event lists beside it, the subject; "
    "epochs at their times (one after the other where these overlap, or are not known), their events and metadata; "
    "projections as names only; not digitised points"
)
TESTED_ON = (
    "real files of MNE-Python and its testing data (MEGIN, Neuromag-122, CTF and EEG, all float32); int16, gaps, "
    "annotations, epochs and split files on files written by MNE"
)

MAX_TRIGGERS = 1_000_000  # of a channel

# Kinds of tags and blocks, as the format numbers them.
_MEAS_DATE, _COMMENT, _ONSETS, _STOPS, _CHANNELS = 204, 206, 3568, 3569, 3801
_ANNOTATIONS = 3810
_RAW, _CONTINUOUS, _MAXSHIELD = 102, 112, 119

_OTHER_CONTENTS = {
    104: "evoked responses", 352: "a forward solution", 356: "an inverse solution", 355: "a covariance",
    374: "an ICA", 361: "a list of events", 351: "source spaces", 310: "a head model", 313: "projections",
    3810: "annotations", 107: "digitised points",
}  # fmt: skip


def sniff(path: Path, head: bytes) -> bool:
    """True for a file that begins with a FIF file id, zipped or not, unless it is a later part of a split recording."""
    if head.startswith(_gzip.SIGNATURE):
        return is_fif(_gzip.unpacked_head(head, 64))
    if not is_fif(head):
        return False
    try:
        return not is_later(part_of(path))
    except (FormatError, OSError):
        return True  # `read` says what is wrong with it


def files(path: Path) -> tuple[Path, ...]:
    """The file, the parts that follow it, lists of events beside it. Raises FormatError for a part that is missing."""
    if _is_zipped(path):
        return (path,)
    parts = parts_of(path)
    return (*(part.path for part in parts), *(part.path for part in event_lists(parts[0])))


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind and unit, trigger codes, annotations; time 0 is the start of the acquisition."""
    if _is_zipped(path):
        raise _gzip.refusal(path)
    parts = parts_of(path)
    if parts[0].of(_fif_epochs.BLOCK):
        return [_epochs(path, parts)]
    repairs: list[str] = []
    tags = [_raw_tags(part, repairs) for part in parts]
    info = _info(path)
    rate_hz = _rate(path, info)
    dtype = _dtype(path, tags)
    pieces = pieces_of(parts, tags, dtype, int(info["nchan"]), repairs)
    store = Store([part.raw for part in parts], dtype, int(info["nchan"]))
    notes, pieces = without_skips(_notes(parts[0], info["meas_date"]), pieces, store, rate_hz, repairs)
    if not pieces:
        raise FormatError(f"{path}: holds no samples; a raw FIF file holds some")
    lists = event_lists(parts[0])
    listed = [listed_events(part, rate_hz) for part in lists]
    try:
        signals = _signals(info, store, runs_of(pieces), rate_hz, repairs)
        codes = triggers(signals, codes_of, most=MAX_TRIGGERS, repairs=repairs)
        streams: list[Stream] = [*signals, *codes, *listed, *annotated(notes)]
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    return [
        Recording(
            clock=path.stem,
            format="fif",
            files=tuple(part.path for part in (*parts, *lists)),
            streams=tuple(streams),
            start=later(info["meas_date"], pieces[0].first / rate_hz),
            repairs=tuple(repairs),
            subject=subject_of_info(info),
        )
    ]


def _epochs(path: Path, parts: Sequence[Part]) -> Recording:
    """One Recording: a segment per epoch, the events they were cut around, annotations."""
    import mne

    repairs: list[str] = []
    info = info_of(path, "a FIF file of epochs", lambda: mne.io.read_info(path, verbose="error"))
    rate_hz = _rate(path, info)
    epochs = _fif_epochs.epochs_of(parts, rate_hz, int(info["nchan"]), repairs)
    notes = _notes(parts[0], info["meas_date"])
    if notes and not epochs.is_placed:
        repairs.append(f"{len(notes)} annotations left out, as the times of its epochs are not those of the recording")
        notes = []
    try:
        streams: list[Stream] = [*signals_of_info(info, epochs.segments, repairs), epochs.events(), *annotated(notes)]
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    return Recording(
        clock=path.stem,
        format="fif",
        files=tuple(part.path for part in parts),
        streams=tuple(streams),
        start=later(info["meas_date"], float(epochs.start_s[0])) if epochs.is_placed else info["meas_date"],
        repairs=tuple(repairs),
        subject=subject_of_info(info),
    )


def _rate(path: Path, info: Any) -> float:
    rate_hz = float(info["sfreq"])
    if not (np.isfinite(rate_hz) and rate_hz > 0):
        raise FormatError(f"{path}: sampling rate is {rate_hz} Hz; a finite rate above 0 is wanted")
    return rate_hz


def _is_zipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _gzip.SIGNATURE


def _raw_tags(part: Part, repairs: list[str]) -> list[Tag]:
    """The tags of the one block of raw samples. Raises FormatError that says what the file holds instead."""
    for kind in (_RAW, _CONTINUOUS, _MAXSHIELD):
        found = part.of(kind)
        if len(found) > 1:
            raise FormatError(f"{part.path}: holds {len(found)} blocks of raw samples; one is wanted")
        if found:
            if kind == _MAXSHIELD:
                # Kept: reading is no analysis. Whoever localises sources has to know, hence the line.
                repairs.append(
                    f"{part.path.name}: recorded with MaxShield (active shielding), kept as recorded; "
                    "its compensation is in the samples until SSS takes it out"
                )
            return found[0].tags
    kinds = {block.kind for block in part.blocks}
    held = next((what for kind, what in _OTHER_CONTENTS.items() if kind in kinds), "no block of raw samples")
    raise FormatError(f"{part.path}: holds {held}; raw samples are wanted")


def _info(path: Path) -> Any:
    """The measurement info as MNE reads it; every part was looked at before."""
    import mne

    return info_of(
        path,
        "a raw FIF file",
        lambda: mne.io.read_raw_fif(path, allow_maxshield="yes", preload=False, verbose="error").info,
    )


def _dtype(path: Path, tags: Sequence[Sequence[Tag]]) -> np.dtype[Any]:
    found = sorted({tag.type for part in tags for tag in part if tag.kind == BUFFER})
    if not found:
        raise FormatError(f"{path}: holds no samples; a raw FIF file holds some")
    if len(found) != 1 or found[0] not in DTYPES:
        raise FormatError(f"{path}: buffers of types {found}; one of {sorted(DTYPES)} (16, 32 or 64 bits) is wanted")
    return np.dtype(DTYPES[found[0]])


def _signals(
    info: Any, store: Store, runs: Sequence[Sequence[Piece]], rate_hz: float, repairs: list[str]
) -> list[Signal]:
    """One Signal per kind and unit, in the order of their first channels."""
    bases = [
        Timebase(rate_hz=rate_hz, start_s=run[0].first / rate_hz, n_samples=sum(piece.n for piece in run))
        for run in runs
    ]

    def segments(columns: NDArray[np.int64]) -> tuple[Segment, ...]:
        rows = (Rows(store, run, columns) for run in runs)
        return tuple(Segment(samples=samples, timebase=base) for samples, base in zip(rows, bases, strict=True))

    return signals_of_info(info, segments, repairs)


# Annotations --------------------------------------------------------------------------------------------------------


def _notes(part: Part, meas_date: datetime | None) -> list[Note]:
    """All annotations, on the clock of the samples: seconds since sample 0. Later parts only repeat them."""
    blocks = part.of(_ANNOTATIONS)
    tags = {tag.kind: tag for tag in blocks[0].tags} if blocks else {}
    if not {_ONSETS, _STOPS, _COMMENT} <= tags.keys() or not bytes_of(part.path, part.raw, tags[_ONSETS])[1]:
        return []
    onsets, stops = (numbers_of(part.path, part.raw, tags[kind]).astype(np.float64) for kind in (_ONSETS, _STOPS))
    texts = [text.replace("{COLON}", ":") for text in text_of(part, tags[_COMMENT]).split(":")]
    if not len(onsets) == len(stops) == len(texts):
        raise FormatError(f"{part.path}: {len(onsets)} onsets, {len(stops)} ends and {len(texts)} texts of annotations")
    if not (np.isfinite(onsets).all() and np.isfinite(stops).all()):
        raise FormatError(f"{part.path}: an annotation's time is not finite; a time in seconds is wanted")
    if meas_date is not None and _MEAS_DATE in tags:
        # Onsets count from a moment of their own, which is nearly always that of sample 0.
        stamp = numbers_of(part.path, part.raw, tags[_MEAS_DATE]).astype(np.float64)
        shift_s = float(stamp[0] + (stamp[1] * 1e-6 if stamp.size > 1 else 0.0)) - meas_date.timestamp()
        shift_s = shift_s if abs(shift_s) > 1e-5 else 0.0
        onsets, stops = onsets + shift_s, stops + shift_s
    channels = _channels_of(part, tags, len(texts))
    rows = zip(onsets.tolist(), np.maximum(stops - onsets, 0).tolist(), texts, channels, strict=True)
    return sorted((Note(*row) for row in rows), key=lambda note: note.onset_s)


def _channels_of(part: Part, tags: dict[int, Tag], n: int) -> list[str]:
    """Per annotation the channels that it is about, none for all of them."""
    if _CHANNELS not in tags:
        return [""] * n
    try:
        stated = json.loads(text_of(part, tags[_CHANNELS]))
        return [", ".join(map(str, names)) for names in stated] if len(stated) == n else [""] * n
    except (ValueError, TypeError, RecursionError):
        return [""] * n
