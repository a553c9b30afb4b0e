"""EEGLAB: a MATLAB file `X.set`, as of MATLAB 5 or 7.3 (HDF5), that holds a struct EEG or its fields side by side.

    data        numbers (channels, samples, epochs), or the name of a file of float32 beside it: X.fdt, all channels of
                a sample together (X.dat: all samples of a channel together)
    event       latency counts samples from 1 and may lie between two; duration is in samples
    boundary    an event where samples were taken out: as many as its duration says, else an unknown number
    urevent     the same events where they were before anything was taken out: they tell when an epoch was recorded;
                where they do not, epochs lie one after the other, a second apart

Samples are in microvolts by EEGLAB's definition. X, Y and Z of an electrode have no stated unit: kept as stored.

Design rationale: a boundary with a duration is a gap of that length, so that later events keep the time they happened
at; stock readers close it. Compressed numbers inside a MATLAB 5 file cannot be read piece by piece, hence a limit on
their size; others and those of an .fdt are mapped, those of a 7.3 file are read from HDF5 when sliced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channels import grouped_signals, kind_of, numbered
from neuroloom.ingest.formats._eeglab_fields import fields, is_eeglab, number, rows, text
from neuroloom.ingest.formats._eeglab_samples import Shape, data_file, embedded, mapped
from neuroloom.ingest.formats._eeglab_times import continuous, epochs, events_of, was_resampled
from neuroloom.ingest.formats._subjects import subject_of
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Segment, Signal, Stream

TITLE = "EEGLAB"
MODALITY = "eeg"
KEEPS = (
    "samples as stored, gaps, epochs at their times (one after the other where these are not known, or overlap), "
    "events with all their fields, positions; not ICA, not rejection marks"
)
TESTED_ON = (
    "real files of MNE-Python's testing data, MATLAB 5 with and without .fdt, epochs that overlap; MATLAB 7.3, gaps "
    "and epochs at their times on files written by this project only"
)


def sniff(path: Path, head: bytes) -> bool:
    """True for a MATLAB file with a struct EEG that has the fields of EEGLAB, or with those fields side by side."""
    try:
        return is_eeglab(path, head)
    except (OSError, ValueError, KeyError, RuntimeError):
        return False


def files(path: Path) -> tuple[Path, ...]:
    """The .set and, where its samples are elsewhere, their file. Raises FormatError where that is not beside it."""
    data = data_file(path, fields(path)["data"], [])
    return (path,) if data is None else (path, data)


def read(path: Path) -> list[Recording]:
    """One Recording: EEG (and what else has volts) in microvolts, other channels apart, and the events."""
    eeg = fields(path)
    repairs: list[str] = []
    shape = Shape(
        n_channels=_count(path, eeg, "nbchan"),
        n_samples=_count(path, eeg, "pnts"),
        n_epochs=_count(path, eeg, "trials", absent=1),
        rate_hz=_rate(path, eeg),
    )
    data = data_file(path, eeg["data"], repairs)
    samples = mapped(path, data, shape) if data is not None else embedded(path, eeg["data"], shape)
    events, urevents = rows(eeg.get("event")), rows(eeg.get("urevent"))
    if shape.n_epochs == 1:
        pieces = continuous(events, shape, was_resampled(eeg), repairs)
    else:
        pieces = epochs(events, urevents, shape, was_resampled(eeg), repairs)
    try:
        segments = [Segment(samples=samples.rows(p.first, p.n), timebase=p.timebase(shape.rate_hz)) for p in pieces]
        streams: list[Stream] = [*_signals(eeg, segments, shape, repairs), *events_of(events, pieces, shape, repairs)]
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    return [
        Recording(
            clock=path.stem,
            format="eeglab",
            files=(path,) if data is None else (path, data),
            streams=tuple(streams),
            repairs=tuple(repairs),
            subject=subject_of(code=text(eeg.get("subject"))),
        )
    ]


def _count(path: Path, eeg: Mapping[str, Any], key: str, *, absent: int | None = None) -> int:
    value = number(eeg.get(key))
    if np.isnan(value) and absent is not None:
        return absent
    if not (1 <= value < 2**53 and value == int(value)):
        raise FormatError(f"{path}: {key} is {text(eeg.get(key)) or 'empty'}; a whole number above 0 is wanted")
    return int(value)


def _rate(path: Path, eeg: Mapping[str, Any]) -> float:
    value = number(eeg.get("srate"))
    if not (np.isfinite(value) and value > 0):
        raise FormatError(f"{path}: srate is {value}; a number above 0 is wanted")
    return value


def _signals(eeg: Mapping[str, Any], segments: Sequence[Segment], shape: Shape, repairs: list[str]) -> list[Signal]:
    """Channels in volts together, as recorded; others apart by unit."""
    places = rows(eeg.get("chanlocs"))
    if len(places) != shape.n_channels:
        repairs.append(
            Defect(f"names {len(places)} of its {shape.n_channels} channels", f"'Ch1' to 'Ch{shape.n_channels}'")
        )
        places = [{} for _ in range(shape.n_channels)]
    stated = [text(place.get("labels")) or f"Ch{i + 1}" for i, place in enumerate(places)]
    names = numbered(stated, repairs)
    kinds = [_kind(text(place.get("type")), name) for place, name in zip(places, names, strict=True)]
    units = [
        kept_unit(text(place.get("unit")) or ("" if kind == "misc" else "uV"))
        for place, kind in zip(places, kinds, strict=True)
    ]
    modalities = ["aux" if kind == "misc" else kind for kind in kinds]
    signals = []
    for signal, columns in grouped_signals(segments, names, modalities, units):
        table = _channel_table([places[i] for i in columns], [kinds[i] for i in columns])
        signals.append(replace(signal, table=table, provenance=_provenance(eeg, table)))
    return signals


def _provenance(eeg: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, str]:
    """What the file states about all channels."""
    reference = text(eeg.get("ref"))
    nose = text(next((row.get("nosedir") for row in rows(eeg.get("chaninfo"))), ""))
    stated = {"reference": reference} if reference else {}
    if "x_as_stored" in table:
        stated["positions"] = (
            f"as stored, in a unit that the file does not state; nose towards {nose or 'an unstated side'}"
        )
    return stated


def _channel_table(places: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Kind, and what the file states of each channel; a column without any value is left out."""
    table: dict[str, tuple[Any, ...]] = {"kind": tuple(kinds)}
    for axis in ("X", "Y", "Z"):
        values = tuple(number(place.get(axis)) for place in places)
        if not np.isnan(values).all():
            table[f"{axis.lower()}_as_stored"] = values
    references = tuple(text(place.get("ref")) for place in places)
    return table | ({"reference": references} if any(references) else {})


def _kind(stated: str, name: str) -> str:
    """The stated type; without one, what the name tells."""
    is_eeg = "eeg" in (stated or name).lower() or stated.lower() in ("", "ref")
    return kind_of(stated or name) or ("eeg" if is_eeg else "misc")
