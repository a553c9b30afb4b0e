"""Electric signals of a session in a BIDS dataset: recordings and the tables beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Signal
from neuroloom.pipeline.care import _bids_tables as tables
from neuroloom.pipeline.care._bids_brainvision import brainvision
from neuroloom.pipeline.care._bids_events import Marks, screen_of, write_events
from neuroloom.pipeline.care._bids_plan import File, Plan, folder_of, stems_of
from neuroloom.pipeline.care._bids_text import json_text, table_text, write_json, write_table


def write_electric(session: Session, one: File, plan: Plan, marks: Marks, root: Path, staging: Path) -> Iterator[Path]:
    """A recording and what BIDS has beside it, once per segment; gives the headers."""
    folder = folder_of(session) / one.datatype
    is_main = one is plan.files[0]
    stems = stems_of(session, one, plan)
    for k, stem in enumerate(stems):
        if (root / folder / f"{stem}_{one.datatype}.vhdr").exists():
            raise FileExistsError(f"{root}: {session.id} is in that dataset already ({stem}); another is wanted")
        segments = [signal.segments[k] for signal in one.signals]
        base = segments[0].timebase
        (staging / folder).mkdir(parents=True, exist_ok=True)
        path = staging / folder / f"{stem}_{one.datatype}"
        yield brainvision(session, one, segments, path, marks.markers if is_main else ())
        said = tables.recording_json(session, one.signals, one.datatype, base.n_samples / base.rate_hz)
        write_json(staging / folder / f"{stem}_{one.datatype}.json", said)
        write_table(staging / folder / f"{stem}_channels.tsv", *tables.channel_rows(session, one.signals))
        if is_main:
            rows = [_of_segment(stream, one.first, k) for stream in marks.rows]
            about = screen_of(plan.physio)
            write_events(staging / folder, stem, rows, from_s=base.start_s, about=about)
    _write_electrodes(session, one, folder, stems, root, staging)


def _of_segment(stream: Events | Intervals, signal: Signal, k: int) -> Events | Intervals:
    """What happened from the start of a segment to that of the next; what came before the first is the first's."""
    starts_s = [segment.timebase.start_s for segment in signal.segments]
    from_s = starts_s[k] if k else -np.inf
    to_s = starts_s[k + 1] if k + 1 < len(starts_s) else np.inf
    at_s = stream.times_s if isinstance(stream, Events) else stream.bounds_s[:, 0]
    rows = np.flatnonzero((at_s >= from_s) & (at_s < to_s))
    if len(rows) == len(stream.labels):
        return stream
    table = {key: tuple(column[i] for i in rows) for key, column in stream.table.items()}
    labels = tuple(stream.labels[i] for i in rows)
    if isinstance(stream, Events):
        return Events(name=stream.name, modality=stream.modality, times_s=at_s[rows], labels=labels, table=table)
    return Intervals(
        name=stream.name, modality=stream.modality, bounds_s=stream.bounds_s[rows], labels=labels, table=table
    )


def _write_electrodes(
    session: Session, one: File, folder: Path, stems: Sequence[str], root: Path, staging: Path
) -> None:
    """Places of a session's electrodes; under the name of the recording where the dataset has others of that name."""
    found = tables.electrode_rows(one.signals, one.datatype)
    if found is None:
        return
    rows, system = found
    texts = {"electrodes.tsv": table_text(["name", "x", "y", "z"], rows), "coordsystem.json": json_text(system)}
    short = f"sub-{session.subject}_ses-{session.session}"
    for place in (root, staging):
        if any(_differs(place / folder / f"{short}_{ending}", text) for ending, text in texts.items()):
            short = ""
    for stem in [short] if short else stems:
        for ending, text in texts.items():
            if not (root / folder / f"{stem}_{ending}").exists():
                (staging / folder / f"{stem}_{ending}").write_text(text, encoding="utf-8")


def _differs(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") != text
