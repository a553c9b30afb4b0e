"""Hand a session on: as a BIDS dataset, or as NWB that opens with nothing extra.

    export_bids(session, root)       EEG and iEEG with the EOG, ECG and EMG that were recorded with them, and EMG, as
                                     BrainVision; events, channels, electrodes, participants as the session holds them;
                                     gaze, pupil, and EOG and ECG by themselves as `_physio.tsv.gz`; the session's own
                                     files in `sourcedata/`
    export_portable(session, folder) the session's files with wideband traces in gzip instead of bitshuffle

What BIDS has no place for is left out by name. Samples keep their integers; memory does not grow with the recording.

Design rationale: names are checked by MNE-BIDS, which reads the dataset back in the tests. Its `write_raw_bids` does
not write it: that knows of events as labels alone, of channels as good, and of a person by a date of birth.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from neuroloom.ingest import durable
from neuroloom.ingest._nwb_layout import MAIN_FILE
from neuroloom.ingest.session import Session
from neuroloom.pipeline.care import _bids_tables as tables
from neuroloom.pipeline.care._bids_dataset import PEOPLE, added
from neuroloom.pipeline.care._bids_electric import write_electric
from neuroloom.pipeline.care._bids_events import marks_of, screen_of, write_events
from neuroloom.pipeline.care._bids_physio import write_physio
from neuroloom.pipeline.care._bids_plan import Plan, folder_of, plan_of, stem_of, stems_of
from neuroloom.pipeline.care._bids_text import write_table


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and by stream why the rest was not."""

    files: tuple[Path, ...]
    left_out: dict[str, str] = field(default_factory=dict)


def export_bids(session: Session, root: Path) -> Exported:
    """Add a session to the BIDS dataset at `root`, which is made where it is missing. All of it is added, or nothing.

    A stream with gaps becomes one run per unbroken segment: BIDS has no gaps. Raises FileExistsError where the
    session is in the dataset already, ValueError where it holds nothing that BIDS has a place for.
    """
    plan = plan_of(session)
    main = plan.files[0].first if plan.files else None
    marks = marks_of(session, main)
    if not plan.files and not plan.physio:
        raise ValueError(f"{session.id}: holds no EEG, iEEG, EMG, gaze or pupil; BIDS has no place for the rest")
    with added(root, session.id) as staging:
        written: list[Path] = []
        for one in plan.files:
            written += write_electric(session, one, plan, marks, root, staging)
        for signals in plan.physio:
            written += write_physio(session, signals, main, staging)
        if main is None:
            folder = staging / folder_of(session) / "beh"
            about = screen_of(plan.physio)
            write_events(folder, stem_of(session, "beh", None, None), marks.rows, from_s=0.0, about=about)
        _write_scans(session, plan, staging)
        if session.path is not None and session.path.is_dir():
            written += _copied(session, staging / "sourcedata" / folder_of(session))
        names = [path.relative_to(staging) for path in written]
    return Exported(files=tuple(root / name for name in names), left_out={**plan.left_out, **marks.left_out})


def export_portable(session: Session, folder: Path) -> Exported:
    """Write the session into a new folder with filters that every HDF5 has: `session.nwb` holds wideband traces too.

    Raises FileExistsError where the folder is there already.
    """
    from neuroloom.ingest._nwb_write import write_nwb
    from neuroloom.ingest._session_write import head_of

    with durable.new_folder(folder) as staging:
        write_nwb(staging / MAIN_FILE, head_of(session), tuple(session.streams))
    return Exported(files=(folder / MAIN_FILE,))


def _write_scans(session: Session, plan: Plan, staging: Path) -> None:
    """When each recording began, and who was recorded: rows that the dataset's tables get."""
    folder = folder_of(session)
    rows = []
    for one in plan.files:
        for stem, segment in zip(stems_of(session, one, plan), one.first.segments, strict=True):
            when = session.start and session.start + timedelta(seconds=segment.timebase.start_s)
            told = when.replace(tzinfo=None).isoformat() if when else "n/a"
            rows.append([f"{one.datatype}/{stem}_{one.datatype}.vhdr", told])
    if rows:
        name = f"sub-{session.subject}_ses-{session.session}_scans.tsv"
        write_table(staging / folder / name, ["filename", "acq_time"], rows)
    said = tables.participant(session)
    write_table(staging / PEOPLE, list(said), [list(said.values())])


def _copied(session: Session, folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(session.path.iterdir()) if session.path is not None else ():
        shutil.copyfile(path, folder / path.name)
        yield folder / path.name
