"""SpikeGLX: a `.meta` text (key=value) beside a `.bin` of little-endian int16, all channels of a sample together.

    run_g0_t0.imec0.ap.meta + .bin     a probe's wide band (AP) or, in `.lf`, its slow band (LF), and a sync word
    run_g0_t0.nidq.meta + .bin         the NI-DAQ's analog channels and digital words
    run_g0_t0.obx0.obx.meta + .bin     a OneBox's analog channels and digital words

All files of one run and gate in a folder are one drop, named by the first of them; there is a Recording per device. A
probe's two bands share its clock, and so do the triggers of a gate (t0, t1, ...), which are segments. Times count from
the beginning of the run (`firstSample`). The sync word is in both bands of a probe; the slow band's is left out where
the wide one is there. A file is complete when it has the size that its `.meta` states.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channels import columns_of
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._dates import iso_date
from neuroloom.ingest.formats._digital import pulses_in
from neuroloom.ingest.formats._spikeglx_meta import MAX_META_BYTES, Meta, channel_names, gains, meta_of, run_of, sites
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Segment, Signal, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "SpikeGLX"
MODALITY = "wideband"
TESTED_ON = (
    "17 real .meta files of all kinds of Neuropixels (3A, 1.0, NHP, Ultra, 2.0, quad base) and of a NI-DAQ, whose .bin "
    "was made up; whole runs on files written by this project only"
)
KEEPS = (
    "every int16 sample with its gain, AP and LF of a probe on one clock, triggers as segments, every line of sync and "
    "digital words that goes up, electrode positions, shanks and sample shifts; not the LF's copy of the sync word"
)

# "Time synchronization errors of 5 to 10 ms (owing to T-zero error)" without a sync pulse, less with one (SpikeGLX user
# manual, "Synchronization"). Doubled, for safety.
TOGETHER_S = 0.02
_NAMES = {"ap": "ap", "lf": "lf", "nidq": "nidq", "obx": "obx"}
_MODALITIES = {"ap": "wideband", "lf": "lfp", "nidq": "aux", "obx": "aux"}


def sniff(path: Path, head: bytes) -> bool:
    """True for a `.meta` text of SpikeGLX."""
    return b"\nfileSizeBytes=" in b"\n" + head and b"typeThis=" in _whole_head(path, head)


def _whole_head(path: Path, head: bytes) -> bytes:
    """The keys that matter may follow a long table: `typeThis` comes late in the alphabet."""
    if not head or path.is_dir() or path.stat().st_size > MAX_META_BYTES:
        return b""
    return path.read_bytes()


def files(path: Path) -> tuple[Path, ...]:
    """The `.meta` and its `.bin`; for the first of a run and gate, all of that in its folder. Raises FormatError."""
    return tuple(file for meta in _run(path) for file in (meta, _binary(meta)))


def _run(path: Path) -> tuple[Path, ...]:
    run, _, device = run_of(path)
    if not device:
        return (path,)
    beside = (f for f in path.parent.iterdir() if f.suffix == ".meta" and is_there(f) and run_of(f)[0] == run)
    found = sorted((f for f in beside if f == path or _is_one(f)), key=lambda f: (run_of(f)[1:], f.name))
    return (path, *(f for f in found if f != path)) if found and found[0] == path else (path,)


def _is_one(path: Path) -> bool:
    with path.open("rb") as file:
        return sniff(path, file.read(4096))


def _binary(path: Path) -> Path:
    binary = path.with_suffix(".bin")
    if not is_there(binary):
        raise FormatError(f"{path}: {binary.name} is not beside it; the samples are wanted")
    return binary


def incomplete(path: Path) -> str:
    """Why the samples are not all there; "" where every file has the size that its `.meta` states."""
    try:
        for meta in _run(path):
            _samples(meta_of(meta))
    except FormatError as error:
        return str(error)
    return ""


def read(path: Path) -> list[Recording]:
    """One Recording per device of the run: bands, triggers as segments, and the edges of its digital lines."""
    by_device: dict[str, list[Meta]] = {}
    for meta in map(meta_of, _run(path)):
        by_device.setdefault(_clock(meta.path), []).append(meta)
    return [_recording(clock, sorted(metas, key=_in_time)) for clock, metas in by_device.items()]


def _clock(path: Path) -> str:
    """That of a device in a run, whatever the trigger and the band."""
    run, _, device = run_of(path)
    return f"{run}.{device}" if device else run


def _in_time(meta: Meta) -> tuple[float, str]:
    return meta.first_sample / meta.rate_hz, meta.band


def _recording(clock: str, metas: Sequence[Meta]) -> Recording:
    repairs: list[str] = []
    streams: list[Stream] = []
    for band in dict.fromkeys(meta.band for meta in metas):
        streams += _joined([_signal(meta, repairs) for meta in metas if meta.band == band and meta.n_analog])
    wide = [meta for meta in metas if meta.band != "lf"] or metas
    for name, parts in _words(wide).items():
        streams.append(_one_line(name, parts))
    dates = [date for meta in metas if (date := iso_date(meta.entries.get("fileCreateTime", ""))) is not None]
    repairs += [f"{meta.path.name}: CatGT fills gaps between triggers with zeros" for meta in metas if _is_joined(meta)]
    return Recording(
        clock=clock,
        format="spikeglx",
        files=tuple(file for meta in metas for file in (meta.path, _binary(meta.path))),
        streams=tuple(streams),
        start=min(dates, default=None),
        started_with=_together(metas[0].path),
        repairs=tuple(dict.fromkeys(repairs)),
    )


def _together(path: Path) -> tuple[str, float] | None:
    """What the devices' files of one trigger have in common: they begin at the same moment."""
    run, trigger, device = run_of(path)
    return (f"{run}_t{trigger}", TOGETHER_S) if device else None


def _is_joined(meta: Meta) -> bool:
    return any(key.lower().startswith("catgt") for key in meta.entries)


def _samples(meta: Meta) -> NDArray[np.int16]:
    """A memory map of shape (T, C)."""
    binary = _binary(meta.path)
    stated, found = meta.entries.get("fileSizeBytes", ""), binary.stat().st_size
    if not re.fullmatch(r"\d{1,18}", stated) or int(stated) != found:
        raise FormatError(f"{binary}: {found} bytes; its .meta states {stated!r}: still being copied, or cut off")
    if found % (2 * meta.n_saved) or not found:
        raise FormatError(f"{binary}: {found} bytes do not hold whole samples of {meta.n_saved} channels")
    return np.memmap(binary, "<i2", mode="r", shape=(found // (2 * meta.n_saved), meta.n_saved))


def _base(meta: Meta, n_samples: int) -> Timebase:
    """The rate as SpikeGLX calibrated it; time 0 is the beginning of the run."""
    return Timebase(rate_hz=meta.rate_hz, start_s=meta.first_sample / meta.rate_hz, n_samples=n_samples)


def _signal(meta: Meta, repairs: list[str]) -> Signal:
    samples = _samples(meta)
    columns = np.arange(meta.n_analog)
    return Signal(
        name=_NAMES[meta.band],
        modality=_MODALITIES[meta.band],
        segments=(Segment(samples=columns_of(samples, columns), timebase=_base(meta, samples.shape[0])),),
        channel_names=channel_names(meta),
        unit="uV" if meta.kind == "imec" else "V",
        gain=gains(meta),
        offset=np.zeros(meta.n_analog),
        table=sites(meta, repairs) if meta.kind == "imec" else {},
    )


def _joined(parts: Sequence[Signal]) -> Iterator[Signal]:
    """Triggers of one gate as segments; those that were saved or amplified otherwise are signals of their own."""
    kept: list[Signal] = []
    for part in parts:
        same = next((k for k, other in enumerate(kept) if _alike(part, other)), None)
        if same is None:
            kept.append(part)
        else:
            kept[same] = replace(kept[same], segments=(*kept[same].segments, *part.segments))
    for k, signal in enumerate(kept):
        yield signal if not k else replace(signal, name=f"{signal.name} {k + 1}")


def _alike(one: Signal, other: Signal) -> bool:
    same = (one.channel_names, dict(one.table)) == (other.channel_names, dict(other.table))
    return same and np.array_equal(one.gain, other.gain)


def _words(metas: Sequence[Meta]) -> dict[str, list[Events]]:
    """Per digital word the lines that go up, one part per file."""
    words: dict[str, list[Events]] = {}
    for meta in metas:
        samples = _samples(meta) if meta.n_words else np.zeros((0, 0), np.int16)
        base = _base(meta, samples.shape[0])
        for k in range(meta.n_words):
            name = "sync" if meta.n_words == 1 else f"sync {k}"
            words.setdefault(name, []).append(pulses_in(samples, meta.n_analog + k, base, name=name))
    return words


def _one_line(name: str, parts: Sequence[Events]) -> Events:
    times_s = np.concatenate([part.times_s for part in parts])
    order = np.argsort(times_s, kind="stable").tolist()
    labels = [label for part in parts for label in part.labels]
    high = [value for part in parts for value in part.table["high_s"]]
    return Events(
        name=name,
        modality="sync",
        times_s=times_s[order],
        labels=tuple(labels[i] for i in order),
        table={"high_s": tuple(high[i] for i in order)},
    )
