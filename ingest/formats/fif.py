"""FIF (Neuromag, MEGIN, MNE): big-endian tags with a header of 16 bytes, nested in blocks; samples in buffers.

    buffers of int16, int32, float32, float64     one Signal per kind of channel and unit; the numbers as stored, and
                                                  gain = cal * range
    data skips, "BAD_ACQ_SKIP" annotations        gaps: the next buffer starts a new segment
    first sample                                  time 0 is the start of the acquisition, not of the file
    stim channels                                 kept as they are, and their rising codes as sync events
    annotations                                   events, or intervals where they last
    X_raw.fif -> X_raw-1.fif -> ...               parts of one recording, each naming the next

Design rationale: MNE reads the header, the buffers are read here. MNE gives calibrated floats, fills gaps with zeros,
drops annotations beyond the last sample, and follows the name of the next part wherever it leads; and a tag that
points at itself keeps it busy for ever. So every tag is looked at before MNE opens the file, just as MNE would find
it: through the directory of tags where there is one, else from tag to tag.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError, _gzip
from neuroloom.ingest.formats._annotations import Note, annotated
from neuroloom.ingest.formats._channels import grouped
from neuroloom.ingest.formats._dates import later
from neuroloom.ingest.formats._fif_buffers import BUFFER, Piece, Rows, Store, pieces_of, runs_of, without_skips
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
from neuroloom.ingest.formats._messages import one_line
from neuroloom.ingest.formats._triggers import triggers
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Segment, Signal, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "FIF"
MODALITY = "meg"
TESTED_ON = (
    "real files of MNE-Python and its testing data (MEGIN, Neuromag-122, CTF and EEG, all float32); int16, gaps, "
    "annotations and split files on files written by MNE"
)

MAX_TRIGGERS = 1_000_000  # of a channel

# Kinds of tags and blocks, as the format numbers them.
_MEAS_DATE, _COMMENT, _ONSETS, _STOPS, _CHANNELS = 204, 206, 3568, 3569, 3801
_ANNOTATIONS = 3810
_RAW, _CONTINUOUS, _MAXSHIELD = 102, 112, 119

_OTHER_CONTENTS = {
    373: "epochs", 104: "evoked responses", 352: "a forward solution", 356: "an inverse solution", 355: "a covariance",
    374: "an ICA", 361: "a list of events", 351: "source spaces", 310: "a head model", 313: "projections",
    3810: "annotations", 107: "digitised points",
}  # fmt: skip
# What MNE calls a channel: name of the Signal, modality. Anything else is "aux".
_KINDS = {
    "mag": ("magnetometers", "meg"), "grad": ("gradiometers", "meg"), "ref_meg": ("meg references", "meg"),
    "eeg": ("eeg", "eeg"), "csd": ("csd", "eeg"), "eog": ("eog", "eog"), "ecg": ("ecg", "ecg"), "emg": ("emg", "emg"),
    "seeg": ("seeg", "ieeg"), "ecog": ("ecog", "ieeg"), "dbs": ("dbs", "ieeg"), "stim": ("stim", "sync"),
    "eyegaze": ("gaze", "gaze"), "pupil": ("pupil", "pupil"),
}  # fmt: skip
_UNITS = {
    -1: "", 0: "", 1: "m", 3: "s", 4: "A", 6: "K", 7: "rad", 16: "mol/m^3", 101: "Hz", 107: "V", 109: "ohm", 110: "S",
    112: "T", 114: "degC", 116: "lx", 117: "V/m^2", 201: "T/m", 202: "Am", 210: "px",
}  # fmt: skip
_FRAMES = {1: "device", 4: "head"}


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
    """The file and the parts that follow it. Raises FormatError where one is missing or lies elsewhere."""
    return (path,) if _is_zipped(path) else tuple(part.path for part in parts_of(path))


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind and unit, trigger codes, annotations; time 0 is the start of the acquisition."""
    if _is_zipped(path):
        raise _gzip.refusal(path)
    parts = parts_of(path)
    repairs: list[str] = []
    tags = [_raw_tags(part, repairs) for part in parts]
    info = _info(path)
    dtype = _dtype(path, tags)
    pieces = pieces_of(parts, tags, dtype, int(info["nchan"]), repairs)
    rate_hz = float(info["sfreq"])
    if not (np.isfinite(rate_hz) and rate_hz > 0):
        raise FormatError(f"{path}: sampling rate is {rate_hz} Hz; a finite rate above 0 is wanted")
    store = Store([part.raw for part in parts], dtype, int(info["nchan"]))
    notes, pieces = without_skips(_notes(parts[0], info["meas_date"]), pieces, store, rate_hz, repairs)
    if not pieces:
        raise FormatError(f"{path}: holds no samples; a raw FIF file holds some")
    try:
        signals = _signals(info, store, runs_of(pieces), rate_hz, repairs)
        codes = triggers(signals, _codes, most=MAX_TRIGGERS, repairs=repairs)
        streams: list[Stream] = [*signals, *codes, *annotated(notes)]
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    return [
        Recording(
            clock=path.stem,
            format="fif",
            files=tuple(part.path for part in parts),
            streams=tuple(streams),
            start=later(info["meas_date"], pieces[0].first / rate_hz),
            repairs=tuple(repairs),
        )
    ]


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

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return mne.io.read_raw_fif(path, allow_maxshield="yes", preload=False, verbose="error").info
    except Exception as error:  # MNE raises bare Exceptions, too
        raise FormatError(f"{path}: its header cannot be read ({one_line(error)}); a raw FIF file is wanted") from error


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
    units = [_unit(channel, repairs) for channel in info["chs"]]
    kinds = [_kind(info, i) for i in range(len(info["chs"]))]
    bases = [
        Timebase(rate_hz=rate_hz, start_s=run[0].first / rate_hz, n_samples=sum(piece.n for piece in run))
        for run in runs
    ]
    signals = []
    for kind, unit, suffix, columns in grouped(kinds, [unit for unit, _ in units]):
        name, modality = _KINDS.get(kind, (kind, "aux"))
        frame, positions = _positions([info["chs"][i] for i in columns])
        signals.append(
            Signal(
                name=f"{name}{suffix}",
                modality=modality,
                segments=tuple(
                    Segment(samples=Rows(store, run, columns), timebase=base)
                    for run, base in zip(runs, bases, strict=True)
                ),
                channel_names=tuple(info["ch_names"][i] for i in columns),
                unit=unit,
                gain=np.array([float(info["chs"][i]["cal"] * info["chs"][i]["range"]) * units[i][1] for i in columns]),
                offset=np.zeros(len(columns)),
                table={
                    "kind": (kind,) * len(columns),
                    "bad_in_file": tuple(info["ch_names"][i] in info["bads"] for i in columns),
                    **positions,
                },
                provenance=_provenance(info, modality, frame),
            )
        )
    return signals


def _kind(info: Any, index: int) -> str:
    import mne

    try:
        return str(mne.channel_type(info, index))
    except (KeyError, ValueError):
        return "misc"


def _unit(channel: Any, repairs: list[str]) -> tuple[str, float]:
    """The unit that is kept, and what the gain is multiplied by; a trigger channel stays in volts, as its codes are."""
    code, power = int(channel["unit"]), int(channel["unit_mul"])
    if abs(power) > 24 or not np.isfinite(channel["cal"] * channel["range"]):
        raise ValueError(f"{channel['ch_name']!r} has no finite gain; one from yocto to yotta is wanted")
    if power:
        repairs.append(f"{channel['ch_name']}: multiplier 10^{power} of its unit taken into the gain")
    spelled = _UNITS.get(code, f"FIFF unit {code}")
    unit, factor = ("V", 1.0) if int(channel["kind"]) == 3 and spelled == "V" else kept_unit(spelled)
    return unit, factor * 10.0**power


def _positions(channels: Sequence[Any]) -> tuple[str, dict[str, tuple[float, ...]]]:
    """Coordinate frame and columns x_mm, y_mm, z_mm, NaN where unknown; nothing where no channel has a place."""
    frames = {int(channel["coord_frame"]) for channel in channels}
    frame = _FRAMES.get(frames.pop(), "") if len(frames) == 1 else ""
    places = np.array([channel["loc"][:3] for channel in channels], dtype=np.float64) * 1e3
    places[~np.isfinite(places).all(axis=1) | (places == 0).all(axis=1)] = np.nan
    if not frame or np.isnan(places).all():
        return "", {}
    return frame, {f"{axis}_mm": tuple(places[:, k].tolist()) for k, axis in enumerate("xyz")}


def _provenance(info: Any, modality: str, frame: str) -> dict[str, Any]:
    """What the file states about a Signal as a whole; projections are listed, they are not applied."""
    stated: dict[str, Any] = {"high_pass_hz": info["highpass"], "low_pass_hz": info["lowpass"]}
    if frame:
        stated["positions"] = f"{frame} coordinates"
    if modality in ("meg", "eeg") and info["projs"]:
        stated["projections_in_file"] = [
            f"{p['desc']}{' (already applied)' if p['active'] else ''}" for p in info["projs"]
        ]
    grades = {int(c["coil_type"]) >> 16 for c in info["chs"] if int(c["kind"]) == 1} if modality == "meg" else set()
    if grades - {0}:
        stated["ctf_compensation_grade"] = max(grades)
    return stated


def _codes(signal: Signal, samples: NDArray[Any]) -> NDArray[np.int64]:
    """Whole numbers; one below 0 is an unsigned 16-bit code that was stored as signed."""
    codes = np.rint(np.clip(np.nan_to_num(samples * signal.gain), -(2.0**31), 2.0**31)).astype(np.int64)
    codes[codes < 0] &= 0xFFFF
    return np.asarray(codes)


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
