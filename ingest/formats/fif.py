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
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Intervals, Segment, Signal, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "FIF"
MODALITY = "meg"
TESTED_ON = (
    "real files of MNE-Python and its testing data (MEGIN, Neuromag-122, CTF and EEG, all float32); int16, gaps, "
    "annotations and split files on files written by MNE"
)

MAX_TAGS = 1_000_000  # a buffer a second makes 3,600 an hour
MAX_TRIGGERS = 1_000_000  # of a channel
MAX_DEPTH = 50  # of blocks within blocks; MNE descends one call per level

# Kinds of tags and blocks, as the format numbers them.
_FILE_ID, _DIR_POINTER, _DIR, _BLOCK_START, _BLOCK_END = 100, 101, 102, 104, 105
_REF_ROLE, _REF_FILE_NUM, _REF_FILE_NAME, _PREVIOUS, _NEXT = 115, 117, 118, 1, 2
_MEAS_DATE, _COMMENT, _FIRST_SAMPLE, _BUFFER, _SKIP, _SKIP_SAMPLES = 204, 206, 208, 300, 301, 303
_ONSETS, _STOPS, _CHANNELS = 3568, 3569, 3801
_REF, _ANNOTATIONS = 118, 3810
_RAW, _CONTINUOUS, _MAXSHIELD = 102, 112, 119
_TYPES = {2: ">i2", 3: ">i4", 4: ">f4", 5: ">f8", 16: ">i2"}
_STRING, _ID_STRUCT, _DIR_ENTRY = 10, 31, 32
_HEADER = struct.Struct(">iIIi")  # kind, type, size, next
_BLOCK_SAMPLES = 100_000

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


class _Tag(NamedTuple):
    kind: int
    type: int
    size: int
    at: int  # of its header


@dataclass(frozen=True, eq=False)
class _Block:
    kind: int
    tags: list[_Tag] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Part:
    """One file: its bytes, never copied, and its blocks in order; the first is what lies outside of any."""

    path: Path
    raw: NDArray[np.uint8]
    blocks: list[_Block]

    def of(self, kind: int) -> list[_Block]:
        """The blocks of a kind."""
        return [block for block in self.blocks if block.kind == kind]


class _Piece(NamedTuple):
    """Samples of one buffer: number of the first, how many, the part they lie in and where there."""

    first: int
    n: int
    part: int
    at: int


@dataclass(frozen=True)
class _Note:
    onset_s: float
    duration_s: float
    text: str
    channels: str


def sniff(path: Path, head: bytes) -> bool:
    """True for a file that begins with a FIF file id, zipped or not, unless it is a later part of a split recording."""
    if head[:2] == b"\x1f\x8b":
        return _is_fif(_unzipped_head(head))
    if not _is_fif(head):
        return False
    try:
        return not _is_later(_part(path))
    except (FormatError, OSError):
        return True  # `read` says what is wrong with it


def files(path: Path) -> tuple[Path, ...]:
    """The file and the parts that follow it. Raises FormatError where one is missing or lies elsewhere."""
    return (path,) if _is_zipped(path) else tuple(part.path for part in _parts(path))


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind and unit, trigger codes, annotations; time 0 is the start of the acquisition."""
    if _is_zipped(path):
        raise FormatError(f"{path}: is compressed, so no part of it can be read alone; unzip it first (gunzip)")
    parts = _parts(path)
    repairs: list[str] = []
    tags = [_raw_tags(part, repairs) for part in parts]
    info = _info(path)
    dtype = _dtype(path, tags)
    pieces = _all_pieces(parts, tags, dtype, int(info["nchan"]), repairs)
    rate_hz = float(info["sfreq"])
    if not (np.isfinite(rate_hz) and rate_hz > 0):
        raise FormatError(f"{path}: sampling rate is {rate_hz} Hz; a finite rate above 0 is wanted")
    store = _Store([part.raw for part in parts], dtype, int(info["nchan"]))
    notes, pieces = _without_skips(_notes(parts[0], info["meas_date"]), pieces, store, rate_hz, repairs)
    if not pieces:
        raise FormatError(f"{path}: holds no samples; a raw FIF file holds some")
    try:
        signals = _signals(info, store, _runs(pieces), rate_hz, repairs)
        streams: list[Stream] = [*signals, *_triggers(signals, repairs), *_noted(notes)]
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    return [
        Recording(
            clock=path.stem,
            format="fif",
            files=tuple(part.path for part in parts),
            streams=tuple(streams),
            start=_later(info["meas_date"], pieces[0].first / rate_hz),
            repairs=tuple(repairs),
        )
    ]


# ---- tags and blocks


def _is_fif(head: bytes) -> bool:
    return len(head) >= 36 and _HEADER.unpack_from(head)[:3] == (_FILE_ID, _ID_STRUCT, 20)


def _is_zipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _unzipped_head(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, 64)
    except zlib.error:
        return b""


def _part(path: Path) -> _Part:
    """The tags of a file, sorted into blocks. Raises FormatError where they do not lie in it, or never end."""
    size = path.stat().st_size
    if size < 36:
        raise FormatError(f"{path}: {size} bytes; a FIF file starts with an id of 36")
    raw = np.memmap(path, np.uint8, mode="r")
    if not _is_fif(raw[:36].tobytes()):
        raise FormatError(f"{path}: does not start with a file id; a FIF file does")
    outside = _Block(0)
    blocks, open_blocks = [outside], [outside]
    for tag in _tags(path, raw):
        if tag.kind == _BLOCK_START:
            block = _Block(int(_numbers(path, raw, tag)[0]))
            blocks.append(block)
            open_blocks.append(block)
            if len(open_blocks) > MAX_DEPTH:
                raise FormatError(f"{path}: blocks nested more than {MAX_DEPTH} deep; no FIF file is that deep")
        elif tag.kind == _BLOCK_END:
            if len(open_blocks) > 1:
                open_blocks.pop()
        else:
            open_blocks[-1].tags.append(tag)
    return _Part(path, raw, blocks)


def _tags(path: Path, raw: NDArray[np.uint8]) -> Iterator[_Tag]:
    """As MNE finds them: by the directory where the file has one, else from tag to tag."""
    pointer_at = _next(_header(raw, 0), 0)
    pointer = _tag(path, raw, -1 if pointer_at is None else pointer_at)
    if pointer.kind != _DIR_POINTER:
        raise FormatError(f"{path}: tag {pointer.kind} follows the file id; a pointer to the directory is wanted")
    directory_at = int(_numbers(path, raw, pointer)[0])
    if directory_at <= 0 or directory_at + 16 > raw.size:  # not closed, or cut off: MNE goes from tag to tag as well
        return _chain(path, raw)
    return _listed(path, raw, _tag(path, raw, directory_at))


def _header(raw: NDArray[np.uint8], at: int) -> tuple[int, int, int, int]:
    kind, type_, size, following = _HEADER.unpack(raw[at : at + 16].tobytes())
    return kind, type_, size, following


def _next(header: tuple[int, int, int, int], at: int) -> int | None:
    """Where the next tag is: 0 means right behind, below 0 that there is none."""
    _, _, size, following = header
    return at + 16 + size if following == 0 else following if following > 0 else None


def _tag(path: Path, raw: NDArray[np.uint8], at: int) -> _Tag:
    if not 0 <= at <= raw.size - 16:
        raise FormatError(f"{path}: a tag is said to be at byte {at}; the file has {raw.size} bytes")
    kind, type_, size, _ = _header(raw, at)
    return _Tag(kind, type_, size, at)


def _chain(path: Path, raw: NDArray[np.uint8]) -> Iterator[_Tag]:
    seen: set[int] = set()
    at: int | None = 0
    while at is not None and at + 16 <= raw.size:
        if at in seen or len(seen) >= MAX_TAGS:
            what = "follows itself" if at in seen else f"is the {MAX_TAGS}th"
            raise FormatError(f"{path}: the tag at byte {at} {what}; a chain of tags that ends is wanted")
        seen.add(at)
        yield _tag(path, raw, at)
        at = _next(_header(raw, at), at)


def _listed(path: Path, raw: NDArray[np.uint8], directory: _Tag) -> Iterator[_Tag]:
    n_tags, rest = divmod(directory.size, 16)
    whole = directory.at + 16 + directory.size <= raw.size
    if (directory.kind, directory.type, rest) != (_DIR, _DIR_ENTRY, 0) or not whole or n_tags > MAX_TAGS:
        raise FormatError(f"{path}: no directory of at most {MAX_TAGS} tags at byte {directory.at}; it points there")
    entries = np.frombuffer(raw, ">i4", 4 * n_tags, directory.at + 16).reshape(-1, 4)
    for kind, type_, size, at in entries.tolist():
        _tag(path, raw, at)
        if size < 0:
            raise FormatError(f"{path}: the directory lists a tag of {size} bytes; 0 or more are wanted")
        yield _Tag(kind, type_ & 0xFFFFFFFF, size, at)


def _bytes(path: Path, raw: NDArray[np.uint8], tag: _Tag) -> tuple[int, bytes]:
    """Type and data of a small tag, both as its own header has them."""
    own = _tag(path, raw, tag.at)
    if own.at + 16 + own.size > raw.size:
        raise FormatError(f"{path}: tag {own.kind} at byte {own.at} ends behind the end of the file; it is cut off")
    return own.type, raw[own.at + 16 : own.at + 16 + own.size].tobytes()


def _numbers(path: Path, raw: NDArray[np.uint8], tag: _Tag) -> NDArray[Any]:
    """The numbers of a small tag, at least one."""
    type_, data = _bytes(path, raw, tag)
    dtype = _TYPES.get(type_)
    if dtype is None or not data or len(data) % np.dtype(dtype).itemsize:
        raise FormatError(f"{path}: tag {tag.kind} has {len(data)} bytes of type {type_}; numbers are wanted")
    return np.frombuffer(data, dtype)


def _text(part: _Part, tag: _Tag) -> str:
    """Latin-1, with any other character as its number in decimal: `&#20208;`."""
    text = _bytes(part.path, part.raw, tag)[1].decode("latin-1")
    return re.sub(r"&#(\d{3,6});", lambda match: chr(int(match[1])), text)


# ---- parts of a split recording


def _parts(path: Path) -> list[_Part]:
    """The file and those that follow it, by the names they state."""
    parts = [_part(path)]
    while (name := _next_name(parts[-1])) is not None:
        following = _beside(parts[-1].path, name)
        if following in [part.path for part in parts]:
            raise FormatError(f"{parts[-1].path}: its next part is {name!r}, which comes before it; the next is wanted")
        parts.append(_part(following))
    return parts


def _roles(part: _Part) -> Iterator[tuple[int, dict[int, _Tag]]]:
    """For every reference to another file its role and its tags."""
    for block in part.of(_REF):
        tags = {tag.kind: tag for tag in block.tags}
        role = int(_numbers(part.path, part.raw, tags[_REF_ROLE])[0]) if _REF_ROLE in tags else _NEXT
        yield role, tags


def _is_later(part: _Part) -> bool:
    return any(role == _PREVIOUS for role, _ in _roles(part))


def _next_name(part: _Part) -> str | None:
    for role, tags in _roles(part):
        if role == _NEXT and _REF_FILE_NAME in tags:
            return _text(part, tags[_REF_FILE_NAME])
        if role == _NEXT and _REF_FILE_NUM in tags:
            number = int(_numbers(part.path, part.raw, tags[_REF_FILE_NUM])[0])
            stem, dot, ending = part.path.name.partition(".")
            base, dash, own = stem.rpartition("-")
            return f"{base if dash and own.isdigit() else stem}-{number}{dot}{ending}"
    return None


def _beside(path: Path, name: str) -> Path:
    """The named file in the folder of the part before."""
    if not name or Path(name).name != name or "\\" in name or name in (".", "..") or not name.isprintable():
        raise FormatError(f"{path}: its next part is {name!r}; a plain file name in the same folder is wanted")
    beside = path.parent / name
    if beside.is_symlink() or not beside.is_file():
        raise FormatError(f"{path}: its next part {name!r} is not beside it; a file is wanted")
    return beside


# ---- what the file holds


def _raw_tags(part: _Part, repairs: list[str]) -> list[_Tag]:
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
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{path}: its header cannot be read ({reason}); a raw FIF file is wanted") from error


def _dtype(path: Path, tags: Sequence[Sequence[_Tag]]) -> np.dtype[Any]:
    found = sorted({tag.type for part in tags for tag in part if tag.kind == _BUFFER})
    if not found:
        raise FormatError(f"{path}: holds no samples; a raw FIF file holds some")
    if len(found) != 1 or found[0] not in _TYPES:
        raise FormatError(f"{path}: buffers of types {found}; one of {sorted(_TYPES)} (16, 32 or 64 bits) is wanted")
    return np.dtype(_TYPES[found[0]])


def _all_pieces(
    parts: Sequence[_Part], tags: Sequence[Sequence[_Tag]], dtype: np.dtype[Any], n_channels: int, repairs: list[str]
) -> list[_Piece]:
    """The buffers of all parts; a later part that counts anew follows on."""
    found: list[_Piece] = []
    for k, part in enumerate(parts):
        pieces = _pieces(part, tags[k], k, n_channels * dtype.itemsize, repairs)
        expected = found[-1].first + found[-1].n if found else None
        if pieces and expected is not None and pieces[0].first < expected:
            shift = expected - pieces[0].first
            repairs.append(
                f"{part.path.name}: counts its samples from {pieces[0].first}; taken to follow the last part"
            )
            pieces = [piece._replace(first=piece.first + shift) for piece in pieces]
        found += pieces
    return found


def _pieces(part: _Part, tags: Sequence[_Tag], k: int, row_bytes: int, repairs: list[str]) -> list[_Piece]:
    """The buffers of one part, with the numbers of their samples; a skip counts as many as the next buffer has."""
    pieces: list[_Piece] = []
    first = skipped = 0
    for tag in tags:
        if tag.kind in (_FIRST_SAMPLE, _SKIP, _SKIP_SAMPLES):
            number = int(_numbers(part.path, part.raw, tag)[0])
            if number < 0 and tag.kind != _FIRST_SAMPLE:
                raise FormatError(f"{part.path}: skips {number} samples or buffers; 0 or more are wanted")
            first += number if tag.kind != _SKIP else 0
            skipped += number if tag.kind == _SKIP else 0
        elif tag.kind == _BUFFER:
            n, rest = divmod(tag.size, row_bytes)
            if rest:
                raise FormatError(f"{part.path}: a buffer of {tag.size} bytes; whole samples of {row_bytes} are wanted")
            there = min(n, (part.raw.size - tag.at - 16) // row_bytes)
            if there < n:
                repairs.append(f"{part.path.name}: is cut off; {n - there} samples of its last buffer are missing")
            first += skipped * n
            skipped = 0
            if there:
                pieces.append(_Piece(first, there, k, tag.at + 16))
            first += n
    return pieces


def _runs(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """Pieces that follow one another without a gap."""
    runs: list[list[_Piece]] = []
    for piece in pieces:
        if runs and runs[-1][-1].first + runs[-1][-1].n == piece.first:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs


# ---- samples


@dataclass(frozen=True, eq=False)
class _Store:
    """The bytes of all parts, and how a sample lies in them."""

    raws: list[NDArray[np.uint8]]
    dtype: np.dtype[Any]
    n_channels: int

    def rows(self, piece: _Piece) -> NDArray[Any]:
        """Samples (T, C) of a piece; a view, big-endian as in the file."""
        count = piece.n * self.n_channels
        return np.frombuffer(self.raws[piece.part], self.dtype, count, piece.at).reshape(piece.n, -1)

    def cut(self, piece: _Piece, start: int, stop: int) -> _Piece:
        """The part of a piece from sample `start` to `stop`, both numbered as in the recording."""
        first, last = max(start, piece.first), min(stop, piece.first + piece.n)
        skipped = (first - piece.first) * self.n_channels * self.dtype.itemsize
        return _Piece(first, max(last - first, 0), piece.part, piece.at + skipped)


class _Samples:
    """Some channels of a run of buffers: samples (T, C), taken from the file when sliced."""

    def __init__(self, store: _Store, run: Sequence[_Piece], columns: NDArray[np.int64]) -> None:
        self.store, self.run, self.columns = store, run, columns
        self.edges = np.array([piece.first for piece in run] + [run[-1].first + run[-1].n]) - run[0].first
        self.shape = (int(self.edges[-1]), len(columns))
        self.dtype = store.dtype.newbyteorder("=")

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.shape[0])
        out = np.empty((max(stop - start, 0), self.shape[1]), self.dtype)
        shift = self.run[0].first
        first, last = np.searchsorted(self.edges, [start, stop], side="right") - 1
        for piece in self.run[first : last + 1]:
            cut = self.store.cut(piece, start + shift, stop + shift)
            if cut.n:
                out[cut.first - shift - start :][: cut.n] = self.store.rows(cut)[:, self.columns]
        return out[::step]


def _signals(
    info: Any, store: _Store, runs: Sequence[Sequence[_Piece]], rate_hz: float, repairs: list[str]
) -> list[Signal]:
    """One Signal per kind and unit, in the order of their first channels."""
    groups: dict[tuple[str, str], list[int]] = {}
    units = [_unit(channel, repairs) for channel in info["chs"]]
    for i in range(len(info["chs"])):
        groups.setdefault((_kind(info, i), units[i][0]), []).append(i)
    signals = []
    for (kind, unit), members in groups.items():
        name, modality = _KINDS.get(kind, (kind, "aux"))
        alone = sum(other == kind for other, _ in groups) == 1
        columns = np.array(members, dtype=np.int64)
        bases = [
            Timebase(rate_hz=rate_hz, start_s=run[0].first / rate_hz, n_samples=sum(piece.n for piece in run))
            for run in runs
        ]
        segments = tuple(
            Segment(samples=_Samples(store, run, columns), timebase=base) for run, base in zip(runs, bases, strict=True)
        )
        frame, positions = _positions([info["chs"][i] for i in members])
        signals.append(
            Signal(
                name=name if alone else f"{name} {unit}",
                modality=modality,
                segments=segments,
                channel_names=tuple(info["ch_names"][i] for i in members),
                unit=unit,
                gain=np.array([float(info["chs"][i]["cal"] * info["chs"][i]["range"]) * units[i][1] for i in members]),
                offset=np.zeros(len(members)),
                table={
                    "kind": (kind,) * len(members),
                    "bad_in_file": tuple(info["ch_names"][i] in info["bads"] for i in members),
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


def _triggers(signals: Sequence[Signal], repairs: list[str]) -> list[Stream]:
    """Codes that appear on a stim channel, at the sample where they do; one stream per channel."""
    found: list[Stream] = []
    for signal in (s for s in signals if s.modality == "sync"):
        for channel, rises in zip(signal.channel_names, _rises(signal), strict=True):
            times_s = np.concatenate([np.zeros(0), *(times for times, _ in rises)])
            codes = [code for _, block in rises for code in block.tolist()]
            if len(codes) > min(max(1000, signal.n_samples // 4), MAX_TRIGGERS):
                repairs.append(f"{channel}: changes at {len(codes)} samples; kept as samples, not as triggers")
            elif codes:
                labels = tuple(map(str, codes))
                found.append(Events(name=f"triggers {channel}", modality="sync", times_s=times_s, labels=labels))
    return [replace(found[0], name="triggers")] if len(found) == 1 else found


Rises = list[tuple[NDArray[np.float64], NDArray[np.int64]]]  # per block of samples: times and codes


def _rises(signal: Signal) -> list[Rises]:
    """Per channel, block by block, the codes that appear and when."""
    found: list[Rises] = [[] for _ in signal.channel_names]
    for segment in signal.segments:
        before: NDArray[np.int64] | None = None
        for start in range(0, segment.samples.shape[0], _BLOCK_SAMPLES):
            codes = _codes(segment.samples[start : start + _BLOCK_SAMPLES] * signal.gain)
            earlier = np.concatenate([codes[:1] if before is None else before, codes[:-1]])
            before = codes[-1:]
            for k, rises in enumerate(found):
                up = np.flatnonzero((codes[:, k] != earlier[:, k]) & (codes[:, k] != 0))
                rises.append((np.asarray(segment.timebase.seconds(start + up)), codes[up, k]))
    return found


def _codes(values: NDArray[Any]) -> NDArray[np.int64]:
    """Whole numbers; one below 0 is an unsigned 16-bit code that was stored as signed."""
    codes = np.rint(np.clip(np.nan_to_num(values), -(2.0**31), 2.0**31)).astype(np.int64)
    codes[codes < 0] &= 0xFFFF
    return np.asarray(codes)


# ---- annotations


def _notes(part: _Part, meas_date: datetime | None) -> list[_Note]:
    """All annotations, on the clock of the samples: seconds since sample 0. Later parts only repeat them."""
    blocks = part.of(_ANNOTATIONS)
    tags = {tag.kind: tag for tag in blocks[0].tags} if blocks else {}
    if not {_ONSETS, _STOPS, _COMMENT} <= tags.keys() or not _bytes(part.path, part.raw, tags[_ONSETS])[1]:
        return []
    onsets, stops = (_numbers(part.path, part.raw, tags[kind]).astype(np.float64) for kind in (_ONSETS, _STOPS))
    texts = [text.replace("{COLON}", ":") for text in _text(part, tags[_COMMENT]).split(":")]
    if not len(onsets) == len(stops) == len(texts):
        raise FormatError(f"{part.path}: {len(onsets)} onsets, {len(stops)} ends and {len(texts)} texts of annotations")
    if not (np.isfinite(onsets).all() and np.isfinite(stops).all()):
        raise FormatError(f"{part.path}: an annotation's time is not finite; a time in seconds is wanted")
    if meas_date is not None and _MEAS_DATE in tags:
        # Onsets count from a moment of their own, which is nearly always that of sample 0.
        stamp = _numbers(part.path, part.raw, tags[_MEAS_DATE]).astype(np.float64)
        shift_s = float(stamp[0] + (stamp[1] * 1e-6 if stamp.size > 1 else 0.0)) - meas_date.timestamp()
        shift_s = shift_s if abs(shift_s) > 1e-5 else 0.0
        onsets, stops = onsets + shift_s, stops + shift_s
    channels = _channels_of(part, tags, len(texts))
    rows = zip(onsets.tolist(), np.maximum(stops - onsets, 0).tolist(), texts, channels, strict=True)
    return sorted((_Note(*row) for row in rows), key=lambda note: note.onset_s)


def _channels_of(part: _Part, tags: dict[int, _Tag], n: int) -> list[str]:
    """Per annotation the channels that it is about, none for all of them."""
    if _CHANNELS not in tags:
        return [""] * n
    try:
        stated = json.loads(_text(part, tags[_CHANNELS]))
        return [", ".join(map(str, names)) for names in stated] if len(stated) == n else [""] * n
    except (ValueError, TypeError, RecursionError):
        return [""] * n


def _without_skips(
    notes: Sequence[_Note], pieces: Sequence[_Piece], store: _Store, rate_hz: float, repairs: list[str]
) -> tuple[list[_Note], list[_Piece]]:
    """Stretches annotated "BAD_ACQ_SKIP" are gaps; MNE writes zeros there where they do not fit its buffers."""
    kept, left = [], list(pieces)
    for note in notes:
        if not note.text.upper().startswith("BAD_ACQ_SKIP"):
            kept.append(note)
            continue
        start, stop = round(note.onset_s * rate_hz), round((note.onset_s + note.duration_s) * rate_hz)
        inside = [cut for piece in left if (cut := store.cut(piece, start, stop)).n]
        if any(store.rows(piece).any() for piece in inside):
            kept.append(note)
            repairs.append(f"{note.text} at {note.onset_s:.3f} s: samples were recorded there, so they are kept")
        elif inside:
            n = sum(piece.n for piece in inside)
            repairs.append(f"{note.text} at {note.onset_s:.3f} s: {n} zeros that stand for a gap left out")
            outside = [(-(2**62), start), (stop, 2**62)]
            left = [cut for piece in left for a, b in outside if (cut := store.cut(piece, a, b)).n]
    return kept, left


def _noted(notes: Sequence[_Note]) -> list[Stream]:
    """Moments as events, stretches as intervals."""
    moments = [note for note in notes if note.duration_s == 0]
    stretches = [note for note in notes if note.duration_s > 0]
    streams: list[Stream] = []
    if moments:
        times_s = np.array([note.onset_s for note in moments])
        labels = tuple(note.text for note in moments)
        streams.append(Events(name="annotations", times_s=times_s, labels=labels, table=_about(moments)))
    if stretches:
        bounds_s = np.array([(note.onset_s, note.onset_s + note.duration_s) for note in stretches])
        labels = tuple(note.text for note in stretches)
        streams.append(Intervals(name="annotated stretches", bounds_s=bounds_s, labels=labels, table=_about(stretches)))
    return streams


def _about(notes: Sequence[_Note]) -> dict[str, tuple[str, ...]]:
    return {"channels": tuple(note.channels for note in notes)} if any(note.channels for note in notes) else {}


def _later(start: datetime | None, seconds: float) -> datetime | None:
    try:
        return start + timedelta(seconds=seconds) if start is not None else None
    except OverflowError:
        return None
