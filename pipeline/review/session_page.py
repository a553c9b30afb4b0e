"""The page of one session: everything a reviewer needs to trust it or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from neuroloom.ingest.ledger import is_defect
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Signal, Stream, Units
from neuroloom.pipeline.review import drifting, gaze, headmap, spectra, spikes, text, timeline
from neuroloom.pipeline.review.clocks import clock_rows
from neuroloom.pipeline.review.figures import Picture
from neuroloom.pipeline.review.findings import Measure, bad_channels, findings, measures
from neuroloom.pipeline.review.page import write_page
from neuroloom.pipeline.review.pyramid import displays
from neuroloom.pipeline.review.recording import recording
from neuroloom.pipeline.review.views import Judged
from neuroloom.pipeline.verdicts import Verdict

TRACED = (
    "eeg", "meg", "ieeg", "fnirs", "lfp", "wideband", "gaze", "pupil", "emg", "eog", "ecg", "behaviour", "position",
)  # fmt: skip
WITH_SPECTRUM = frozenset({"eeg", "meg", "ieeg", "lfp", "wideband"})
MOST_TRACED = 16
MOST_LABELS = 40


@dataclass(frozen=True, kw_only=True)
class SignalPart:
    """What the page shows of one signal."""

    signal: Signal
    amount: str
    certainty: str
    bad: dict[str, str]
    measures: tuple[Measure, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class SourceRow:
    """A recording the session was made from; files with the beginnings of their digests."""

    clock: str
    format: str
    files: tuple[tuple[str, str], ...]


def write_session(session: Session, folder: Path, history: Sequence[Verdict] = (), derived: Path | None = None) -> Path:
    """Writes the session's page, `<session id>.html`, into the folder and returns its path.

    history: what reviewers have said of it. derived: where its display pyramid is, or is made; in memory without.
    """
    session = replace(session, streams=tuple(session.streams))  # one look at the file's index, not one per picture
    start_s, stop_s = timeline.extent(session)
    return write_page(
        "session.html",
        session_page(session.id, folder),
        scripts=("tables.js", "channels.js", "recording.js", "verdict.js"),
        session=session,
        judged=_judged(session, history),
        duration_s=stop_s - start_s if session.streams else 0.0,
        devices=_devices(session),
        is_shifted=any(source.get("dates") == "shifted" for source in session.sources),
        sources=tuple(_source_row(source) for source in session.sources),
        ledger=[(str(s.get("clock", "")), e) for s in session.sources for e in s.get("repairs", ()) if is_defect(e)],
        recording=recording(session, displays(session, derived)) if session.streams else None,
        streams=[(s, timeline.amount(s), _gaps(s), timeline.certainty(session, s)) for s in session.streams],
        findings=findings(session),
        clocks=clock_rows(session),
        signals=list(_signal_parts(session)),
        n_untraced=max(0, len(_traced(session)) - MOST_TRACED),
        units=[
            (u, spikes.unit_table(session, u), spikes.found_by(u), drifting.drift_picture(u)) for u in _units(session)
        ],
        saccades=gaze.main_sequence(session),
        events=[(s, *_label_counts(s)) for s in session.streams if isinstance(s, Events)],
        unit_sign=text.unit_sign,
    )


def session_page(session_id: str, folder: Path) -> Path:
    """Where the page of a session lies."""
    return folder / f"{text.file_stem(session_id)}.html"


def _judged(session: Session, history: Sequence[Verdict]) -> Judged:
    named = {s.name: s.channel_names if isinstance(s, Signal) else s.unit_names for s in session.streams
             if isinstance(s, Signal | Units)}  # fmt: skip
    found = {name: tuple(bad_channels(session, name)) for name in named}
    return Judged(kind="sessions", name=session.id, history=history, channels=named, found=found)


def _devices(session: Session) -> tuple[str, ...]:
    named = [session.clock, *(m.source for m in session.clock_maps), *(s.device for s in session.streams)]
    return tuple(dict.fromkeys(name for name in named if name))


def _gaps(stream: Stream) -> str:
    return text.count(len(timeline.gaps(stream)), "gap") if isinstance(stream, Signal) else "–"


def _traced(session: Session) -> list[Signal]:
    signals = [s for s in session.streams if isinstance(s, Signal) and s.modality in TRACED and s.segments]
    return sorted(signals, key=lambda signal: TRACED.index(signal.modality))


def _units(session: Session) -> list[Units]:
    return [s for s in session.streams if isinstance(s, Units) and s.unit_names]


def _signal_parts(session: Session) -> Iterator[SignalPart]:
    for signal in _traced(session)[:MOST_TRACED]:
        bad = bad_channels(session, signal.name)
        yield SignalPart(
            signal=signal,
            amount=timeline.amount(signal),
            certainty=timeline.certainty(session, signal),
            bad=bad,
            measures=measures(session, signal.name),
            pictures=tuple(shown for shown in _pictures(signal, bad) if shown is not None),
        )


def _pictures(signal: Signal, bad: dict[str, str]) -> Iterator[Picture | None]:
    if signal.modality in WITH_SPECTRUM:
        found = spectra.spectrum(signal)
        if found is not None:
            yield spectra.spectrum_picture(signal, found, bad)
            yield headmap.head_maps(signal, found, bad) if signal.modality == "eeg" else None
    if signal.modality in ("gaze", "position"):
        yield gaze.gaze_map(signal)
        yield gaze.gaze_path(signal)


def _source_row(source: Mapping[str, Any]) -> SourceRow:
    """Files by their own name only: the folder they lay in may name a person, and helps nobody here."""
    files = [str(file) for file in source.get("files", ())]
    digests = source.get("digests", ())
    found = digests if isinstance(digests, Mapping) else dict(zip(files, digests, strict=False))
    named = tuple(
        (PurePath(file).name, text.short_digest(str(found.get(file, found.get(PurePath(file).name, "")))))
        for file in files
    )
    return SourceRow(clock=str(source.get("clock", "")), format=str(source.get("format", "")), files=named)


def _label_counts(events: Events) -> tuple[list[tuple[str, int]], int]:
    """The commonest labels with their counts, and how many other labels there are."""
    counts: dict[str, int] = {}
    for label in events.labels:
        counts[label] = counts.get(label, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ordered[:MOST_LABELS], max(0, len(ordered) - MOST_LABELS)
