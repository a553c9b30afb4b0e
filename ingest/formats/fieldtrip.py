"""FieldTrip: structures in a MATLAB file, of version 5 or 7.3 (HDF5); a Recording each, whatever their names.

    raw data      cells of trials (C, T) and of their times; where `sampleinfo` says from which samples of the recording
                  a trial was cut, it lies there, and the recording starts at sample 1
    averages      avg (C, T) and time: 0 is the event that was averaged over

FieldTrip keeps no unit with its samples (what `elec` and `grad` state is its guess about sensors), so they are "a.u."
unless `hdr.chanunit` has one, or `<stem>.toml` beside the file:

    format = "fieldtrip"
    unit = "uV"

Design rationale: MNE takes samples for volts, which makes 137 kV of a real file, and sets trials side by side. Trials
without `sampleinfo` are refused, since nothing tells when they were. `scipy.io.loadmat`, which MNE reads with, takes
the process down on some damaged files. A MATLAB 5 structure is unpacked as a whole, hence a limit on its size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channel_list import Channel, signals_of
from neuroloom.ingest.formats._channels import kind_of
from neuroloom.ingest.formats._fieldtrip_fields import Stored, is_fieldtrip, structures
from neuroloom.ingest.formats._sidecars import Stated, Text, read_toml, sidecar, validated
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Intervals, Samples, Segment, Stream
from neuroloom.ingest.timebase import FloatArray, Timebase, Times, times_of

TITLE = "FieldTrip (.mat)"
MODALITY = "eeg"
KEEPS = "samples as stored, trials at their times with trialinfo, averages, places of electrodes; not cfg"
TESTED_ON = (
    "real files of MNE-Python's testing data (continuous, trials, averages; versions 7 and 7.3); units and MEG on "
    "files written by this project only"
)

_FORM = "fieldtrip"
# Electrodes of the 10-05 system and on the ears, which a name alone tells.
_ELECTRODE = re.compile(
    r"(N|Fp|AF|AFF|AFp|F|FFC|FFT|FT|FC|FCC|FTT|T|C|CCP|TTP|TP|CP|CPP|TPP|P|PPO|PO|POO|O|OI|I)(z|[1-9]|10)h?|[AM][12]",
    re.I,
)
_MM = {"m": 1e3, "dm": 1e2, "cm": 10.0, "mm": 1.0}
_CHANTYPES = {
    "eeg": "eeg", "eog": "eog", "ecg": "ecg", "emg": "emg", "megmag": "mag", "meggrad": "grad", "megplanar": "grad",
    "refmag": "ref_meg", "refgrad": "ref_meg", "trigger": "stim", "ecog": "ecog", "seeg": "seeg",
}  # fmt: skip


class _Sidecar(Stated):
    """What `<stem>.toml` states of the file beside it."""

    format: Literal["fieldtrip"] = "fieldtrip"
    unit: Text | None = None


@dataclass(frozen=True)
class _Trial:
    """Samples (T, C), the times FieldTrip gives them, and where it was cut from, in samples from 0."""

    samples: Samples
    times_s: FloatArray
    cut_at: float | None


def sniff(path: Path, head: bytes) -> bool:
    """True for a MATLAB file with a structure of raw data or averages as FieldTrip makes them."""
    if head[:6] != b"MATLAB":
        return False
    try:
        return is_fieldtrip(path, head)
    except (OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError):
        return False


def files(path: Path) -> tuple[Path, ...]:
    """The file, and the sidecar where one is beside it."""
    beside = sidecar(path, _FORM)
    return (path,) if beside is None else (path, beside)


def read(path: Path) -> list[Recording]:
    """A Recording per structure: a Signal per kind and unit, and the trials."""
    beside = sidecar(path, _FORM)
    side = validated(beside, _Sidecar, read_toml(beside)) if beside is not None else _Sidecar()
    found = structures(path)
    if not found:
        raise FormatError(f"{path}: no structure of raw data or averages; one of FieldTrip's is wanted")
    return [
        _recording(path, data, side, path.stem if len(found) == 1 else f"{path.stem} {name}")
        for name, data in found.items()
    ]


def _recording(path: Path, data: Mapping[str, Any], side: _Sidecar, clock: str) -> Recording:
    repairs: list[str] = []
    labels = _texts(data.get("label"))
    is_average = "trial" not in data
    trials = _trials(path, data, len(labels), is_average)
    rate_hz = _rate(path, data)
    placed = [(trial, _timebase(path, trial, rate_hz, len(trials))) for trial in trials]
    placed.sort(key=lambda one: one[1].start_s)
    for (_, one), (_, other) in pairwise(placed):
        if other.start_s < one.stop_s - 0.5 / one.rate_hz:
            raise FormatError(f"{path}: trials overlap at {other.start_s:.3f} s; continuous data are wanted")
    try:
        segments = [Segment(samples=trial.samples, timebase=base) for trial, base in placed]
        channels = _channels(data, labels, side.unit, repairs)
        streams: list[Stream] = [*signals_of(segments, channels, repairs, stated=_provenance(data, is_average))]
        if is_average:
            repairs.append("an average: time 0 is the event that was averaged over, no moment of a recording")
        elif len(trials) > 1 or "trialinfo" in data:
            streams.append(_intervals(data, trials, placed))
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    return Recording(
        clock=side.clock or clock,
        format=_FORM,
        files=files(path),
        streams=tuple(streams),
        start=side.start,
        repairs=tuple(repairs),
    )


# Samples and their times ---------------------------------------------------------------------------------------------


def _trials(path: Path, data: Mapping[str, Any], n_channels: int, is_average: bool) -> list[_Trial]:
    matrices = [data["avg"]] if is_average else data["trial"]
    times = [data["time"]] if is_average else data["time"]
    if not isinstance(matrices, list) or not isinstance(times, list) or len(matrices) != len(times) or not matrices:
        raise FormatError(f"{path}: trial and time are no cells of as many trials; those of raw data are wanted")
    cuts = _numbers(data.get("sampleinfo"))
    found = []
    for k, (matrix, time) in enumerate(zip(matrices, times, strict=True)):
        times_s = _numbers(time).ravel()
        shape = matrix.shape if isinstance(matrix, np.ndarray | Stored) else ()
        if shape != (n_channels, times_s.size) or not times_s.size or matrix.dtype.kind not in "iuf":
            what = " x ".join(map(str, shape)) or "no"
            raise FormatError(
                f"{path}: trial {k + 1} has {what} samples; numbers of {n_channels} channels x {times_s.size} times "
                "are wanted"
            )
        fits = cuts.shape == (len(matrices), 2) and abs(cuts[k, 1] - cuts[k, 0] + 1 - times_s.size) < 0.5
        found.append(_Trial(matrix.T, times_s, float(cuts[k, 0]) - 1 if fits and np.isfinite(cuts[k, 0]) else None))
    return found


def _timebase(path: Path, trial: _Trial, rate_hz: float | None, n_trials: int) -> Times:
    """As it was cut, else as its own times have it. Several trials without a place in the recording are refused."""
    try:
        own = times_of(trial.times_s)
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    rate_hz = rate_hz or own.rate_hz
    if trial.cut_at is not None:
        return Timebase(rate_hz=rate_hz, start_s=trial.cut_at / rate_hz, n_samples=own.n_samples)
    if n_trials > 1:
        raise FormatError(
            f"{path}: {n_trials} trials, and no sampleinfo that fits tells when they were recorded; it, or continuous "
            "data, are wanted"
        )
    last_s = trial.times_s[0] + (own.n_samples - 1) / rate_hz
    if abs(last_s - trial.times_s[-1]) < 0.5 / rate_hz:
        return Timebase(rate_hz=rate_hz, start_s=float(trial.times_s[0]), n_samples=own.n_samples)
    return own


def _rate(path: Path, data: Mapping[str, Any]) -> float | None:
    stated = _numbers(data.get("fsample")).ravel()
    if stated.size == 0:
        return None
    if not (np.isfinite(stated[0]) and stated[0] > 0):
        raise FormatError(f"{path}: fsample is {stated[0]} Hz; a rate above 0 is wanted")
    return float(stated[0])


def _intervals(data: Mapping[str, Any], trials: Sequence[_Trial], placed: Sequence[tuple[_Trial, Times]]) -> Intervals:
    """Each trial, labelled by the first column of trialinfo; zero_s: its time 0, mostly that of the trigger."""
    info = _numbers(data.get("trialinfo"))
    rows = info.reshape(len(trials), -1) if info.ndim == 2 and info.size and len(info) == len(trials) else None
    order = [next(k for k, trial in enumerate(trials) if trial is one) for one, _ in placed]
    table: dict[str, tuple[Any, ...]] = {
        "zero_s": tuple(base.start_s - float(trial.times_s[0]) for trial, base in placed)
    }
    for column in range(0 if rows is None else rows.shape[1]):
        table[f"trialinfo_{column + 1}"] = tuple(float(rows[k, column]) for k in order) if rows is not None else ()
    labels = [f"{rows[k, 0]:.15g}" if rows is not None else "trial" for k in order]
    bounds_s = np.array([(base.start_s, base.stop_s) for _, base in placed])
    return Intervals(name="trials", modality="trials", bounds_s=bounds_s, labels=tuple(labels), table=table)


# Channels -------------------------------------------------------------------------------------------------------------


def _channels(data: Mapping[str, Any], labels: Sequence[str], unit: str | None, repairs: list[str]) -> list[Channel]:
    places: dict[str, dict[str, float]] = {}
    kinds: dict[str, str] = {}
    for what, kind in (("elec", "eeg"), ("grad", "mag")):
        sensors = data.get(what)
        if isinstance(sensors, dict):
            names = _texts(sensors.get("label"))
            types = _texts(sensors.get("chantype"))
            kinds |= {name: _CHANTYPES.get(types[k], kind) if k < len(types) else kind for k, name in enumerate(names)}
            places |= _places(names, sensors)
    stated = {"chanunit": data.get("chanunit"), "chantype": data.get("chantype"), "label": data.get("label")}
    header = data["hdr"] if isinstance(data.get("hdr"), dict) else {}
    units: dict[str, str] = {}
    for source in (header, stated):
        names = _texts(source.get("label"))
        units |= dict(zip(names, _texts(source.get("chanunit")), strict=False))
        types = _texts(source.get("chantype"))
        kinds |= {name: _CHANTYPES[t] for name, t in zip(names, types, strict=False) if t in _CHANTYPES}
    found = []
    for name in labels:
        spelled = unit or units.get(name, "")
        kept, gain = kept_unit("" if spelled == "unknown" else spelled)
        kind = kinds.get(name) or kind_of(name) or ("eeg" if _ELECTRODE.fullmatch(name) else "misc")
        kind = "eog" if kind == "eeg" and kind_of(name) == "eog" else kind
        found.append(Channel(name=name, kind=kind, unit=kept, gain=gain, about=places.get(name, {})))
    n_unknown = sum(channel.unit == "a.u." for channel in found)
    if n_unknown:
        repairs.append(
            f"{n_unknown} channels state no unit of their samples; a .toml beside the file with "
            f'`format = "{_FORM}"` and `unit = "uV"` does'
        )
    return found


def _places(names: Sequence[str], sensors: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    at, factor = _numbers(sensors.get("chanpos")), _MM.get(str(sensors.get("unit")))
    if factor is None or at.shape != (len(names), 3):
        return {}
    rows = zip(names, (at.astype(np.float64) * factor).tolist(), strict=True)
    return {name: dict(zip(("x_mm", "y_mm", "z_mm"), row, strict=True)) for name, row in rows}


def _provenance(data: Mapping[str, Any], is_average: bool) -> dict[str, Any]:
    stated: dict[str, Any] = {"positions": "as FieldTrip has them"} if "elec" in data or "grad" in data else {}
    if is_average:
        of = _numbers(data.get("dof"))
        stated["average"] = {"of_trials_at_most": float(np.nanmax(of))} if of.size else {}
    return stated


def _numbers(value: Any) -> FloatArray:
    """An array of numbers; none where it is anything else."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value.astype(np.float64)
    return np.zeros((0, 0))


def _texts(value: Any) -> list[str]:
    """Texts in cells, or one."""
    found = value if isinstance(value, list) else [value]
    return [one.strip() for one in found if isinstance(one, str)]
