"""Signals that BIDS has as tables of samples: gaze and pupil, and EOG and ECG by themselves."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Signal
from neuroloom.ingest.timebase import Timebase
from neuroloom.pipeline.care._bids_plan import DATATYPES, EYES, folder_of, plain, run_of, stem_of
from neuroloom.pipeline.care._bids_text import cell, write_json

ROWS = 1 << 14  # of text, written at once


def write_physio(session: Session, signals: Sequence[Signal], main: Signal | None, staging: Path) -> Iterator[Path]:
    """Signals of the same moments as a table, a column per channel; the sidecar says when, from the start of `main` on.

    Gaze and pupil are eye tracking, EOG and ECG physiology. They lie beside the recording they belong to.
    """
    folder = staging / folder_of(session) / (DATATYPES.get(main.modality, main.modality) if main is not None else "beh")
    folder.mkdir(parents=True, exist_ok=True)
    from_s = main.start_s if main is not None else 0.0
    first = signals[0]
    for number, segment in enumerate(first.segments, 1):
        stem = stem_of(session, "beh", None, run_of(session, number, len(first.segments)))
        stem = f"{stem}_recording-{plain(first.name)}_physio"
        irregular = not isinstance(segment.timebase, Timebase)
        with gzip.open(folder / f"{stem}.tsv.gz", "wt", encoding="ascii") as file:
            _rows(file, signals, number - 1, with_times=irregular)
        sidecar: dict[str, Any] = {
            "SamplingFrequency": segment.timebase.rate_hz,
            "StartTime": segment.timebase.start_s - from_s,
            "Columns": [*(["timestamp"] if irregular else []), *(n for s in signals for n in s.channel_names)],
            "PhysioType": "eyetrack" if first.modality in EYES else "generic",
        }
        sidecar |= {name: {"Units": signal.unit} for signal in signals for name in signal.channel_names}
        if irregular:
            sidecar["timestamp"] = {"Units": "s"}
        write_json(folder / f"{stem}.json", sidecar)
        yield folder / f"{stem}.tsv.gz"


def _rows(file: Any, signals: Sequence[Signal], number: int, *, with_times: bool) -> None:
    """The values of a segment of each signal, with all their digits."""
    base = signals[0].segments[number].timebase
    for first in range(0, base.n_samples, ROWS):
        part = slice(first, min(first + ROWS, base.n_samples))
        values = [signal.in_unit(signal.segments[number].samples[part]) for signal in signals]
        times = [base.seconds(np.arange(part.start, part.stop))] if with_times else []
        text = "\n".join("\t".join(map(cell, row)) for row in np.column_stack([*times, *values]).tolist())
        file.write(text + "\n")
