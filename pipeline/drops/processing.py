"""What is computed of a session before it is published. What was recorded stays as it is, beside it.

    degrees of gaze             where the screen is known                       `ingest/gaze_geometry.py`
    blinks, saccades, fixations where the tracker gave none of its own          `ingest/gaze_events.py`
    spikes, LFP                 of wideband signals whose device has none       `ingest/sorting.py`, `ingest/lfp.py`
    places on the head          where names tell them                           `ingest/eeg_positions.py`
    quality                     of every stream, and what outlasts its device   `ingest/quality`
    artefacts of EEG            by its good channels                            `ingest/eeg_artefacts.py`
    cleaned EEG                 where asked for                                 `ingest/eeg_cleaning.py`
    checks of the clocks        by eyes, mains hum and dates                    `crosschecks.py`

A stream of that name is not made again: a session that devices join keeps what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Intervals, Signal, Stream, Units
from neuroloom.pipeline.boxed._limits import memory_for_sorting

if TYPE_CHECKING:
    from neuroloom.ingest.preprocessing import Chain
    from neuroloom.ingest.sorting import Curation

Progress = Callable[[str], None]
LFP_FROM_HZ = 2000.0  # a slower signal is its own LFP


def process(
    session: Session,
    *,
    sorter: str | None,
    chain: Chain | None = None,
    curation: Curation | None = None,
    ica: bool = False,
    progress: Progress | None = None,
) -> Session:
    """The session with all of it, lazy where it can be.

    sorter: None leaves sorting out; where it fails, the recording goes without, and quality says why.
    chain, curation: of `ingest/sorting.py`, its defaults where None.
    ica: EEG without eyes and muscles is added; where it cannot be, quality says why.
    """
    say = progress or (lambda _: None)
    session = replace(session, streams=tuple(_placed(stream, session) for stream in session.streams))
    session = _with(session, _degrees(session))
    session = _with(session, _gaze_events(session))
    finds = None if sorter is None else partial(_sorted, sorter=sorter, chain=chain, curation=curation)
    unsorted: dict[str, str] = {}
    session = _with(session, _spikes_and_lfp(session, finds, say, unsorted))
    if sorter is not None:
        session = replace(session, streams=tuple(_measured(stream, session, chain, say) for stream in session.streams))
    session = _noted(_with_quality(session, say), unsorted)
    session = _with(session, _artefacts(session, say))
    session = _with_quality(_cleaned(session, say) if ica else session, say)
    return _clocks_checked(_ended(session), say)


def _with(session: Session, made: Iterator[Stream]) -> Session:
    there = {stream.name for stream in session.streams}
    return replace(session, streams=(*session.streams, *(stream for stream in made if stream.name not in there)))


def _clocks_checked(session: Session, say: Progress) -> Session:
    from neuroloom.pipeline.clocks.crosschecks import checked

    if not session.clock_maps:
        return session
    say(f"{session.id}: checking clocks")
    return checked(session)


def said_of(session: Session, key: str) -> dict[str, Any]:
    """What the last `session.toml` that says something of it says."""
    return next((dict(source[key]) for source in reversed(session.sources) if source.get(key)), {})


def _with_quality(session: Session, say: Progress) -> Session:
    from neuroloom.ingest.quality import quality

    new = [stream for stream in session.streams if stream.name not in session.quality]
    if new:
        say(f"{session.id}: quality")
    return replace(session, quality={**session.quality, **quality(new)})


def _ended(session: Session) -> Session:
    from neuroloom.ingest.quality import late

    return _noted(session, late(session.streams))


def _noted(session: Session, notes: Mapping[str, str]) -> Session:
    """Each note once, however often devices join the session."""
    found = {name: dict(said) for name, said in session.quality.items()}
    for name, note in notes.items():
        before = found[name].get("notes", ())
        found[name]["notes"] = [*before, *(() if note in before else (note,))]
    return replace(session, quality=found)


def _bad(session: Session, signal: Signal) -> Sequence[str]:
    return tuple(session.quality.get(signal.name, {}).get("bad_channels", ()))


# Gaze --------------------------------------------------------------------------------------------------------------


def _degrees(session: Session) -> Iterator[Stream]:
    from neuroloom.ingest.gaze_geometry import Screen, degrees, is_fit

    said = said_of(session, "screen")
    sizes = [field.name for field in fields(Screen)]
    for stream in session.streams:
        if not (isinstance(stream, Signal) and is_fit(stream)):
            continue
        known = {**stream.provenance.get("screen", {}), **said}
        missing = [size for size in sizes if size not in known]
        if missing and said:
            raise FormatError(
                f"session.toml: [screen] {missing[0]}: the file of {stream.name} does not say; it is wanted"
            )
        if not missing:
            yield degrees(stream, Screen(**{size: known[size] for size in sizes}))


def _gaze_events(session: Session) -> Iterator[Stream]:
    from neuroloom.ingest.gaze_events import gaze_events, is_fit

    signals = [stream for stream in session.streams if isinstance(stream, Signal)]
    replaced = {signal.provenance.get("replaces") for signal in signals}
    for gaze in signals:
        if gaze.name in replaced or not is_fit(gaze):
            continue
        pupil = next((s for s in signals if s.modality == "pupil" and _together(s, gaze)), None)
        own = [s.name for s in session.streams if isinstance(s, Intervals) and s.device == gaze.device]
        yield from (made for made in gaze_events(gaze, pupil) if not any(_kind(made.name) in name for name in own))


def _together(pupil: Signal, gaze: Signal) -> bool:
    """Whether they were sampled together."""
    counts = [[segment.timebase.n_samples for segment in s.segments] for s in (pupil, gaze)]
    return pupil.device == gaze.device and counts[0] == counts[1]


def _kind(name: str) -> str:
    return name.rpartition(" ")[2]


# Electrodes --------------------------------------------------------------------------------------------------------


def _sorted(signal: Signal, sorter: str, chain: Chain | None, curation: Curation | None, progress: Progress) -> Units:
    from neuroloom.ingest.sorting import sort

    with memory_for_sorting():
        units = sort(signal, sorter, curation, chain=chain, progress=progress)
    return replace(units, name=f"{signal.name} units", device=signal.device)


def _spikes_and_lfp(
    session: Session, finds: Callable[..., Units] | None, say: Progress, unsorted: dict[str, str]
) -> Iterator[Stream]:
    from neuroloom.ingest.sorters import UnsortedError

    for stream in session.streams:
        if not (isinstance(stream, Signal) and stream.modality == "wideband" and stream.n_samples):
            continue
        of_device = [s for s in session.streams if s.device == stream.device]
        if finds is not None and not any(isinstance(s, Units) and s.is_sorted for s in of_device):
            try:
                yield finds(stream, progress=lambda text: say(f"{session.id}: {text}"))
            except UnsortedError as error:
                unsorted[stream.name] = (
                    f"not sorted: {error}; `neuroloom reingest {session.id} --sorter NAME` tries another"
                )
        if stream.rate_hz > LFP_FROM_HZ and not any(s.modality == "lfp" for s in of_device):
            from neuroloom.ingest.lfp import extract_lfp

            yield replace(extract_lfp(stream), name=f"{stream.name} lfp", device=stream.device)


def _measured(stream: Stream, session: Session, chain: Chain | None, say: Progress) -> Stream:
    """An existing sorting with the measures of one that was made here, where the wide band it is of is there too."""
    if not (isinstance(stream, Units) and stream.is_sorted) or "unmeasured" in stream.provenance:
        return stream
    from neuroloom.ingest.sorters import SortingError
    from neuroloom.ingest.sorting import MEASURES, measure

    source = next((s for s in session.streams if s.name == stream.provenance.get("source")), None)
    if not isinstance(source, Signal) or set(MEASURES) <= set(stream.table):
        return stream
    try:
        with memory_for_sorting():
            return measure(source, stream, chain=chain, progress=lambda text: say(f"{session.id}: {text}"))
    except (SortingError, ValueError) as error:
        return replace(stream, provenance={**stream.provenance, "unmeasured": str(error)})


# EEG ---------------------------------------------------------------------------------------------------------------


def _placed(stream: Stream, session: Session) -> Stream:
    """An EEG with its places and its reference, as far as names and `session.toml` tell what its file does not."""
    from neuroloom.ingest.eeg_positions import placed

    if not (isinstance(stream, Signal) and stream.modality == "eeg"):
        return stream
    said = said_of(session, "eeg")
    eeg = placed(stream, said.get("montage"))
    known = "reference" in eeg.provenance or "reference" in eeg.table or "reference" not in said
    return eeg if known else replace(eeg, provenance={**eeg.provenance, "reference": said["reference"]})


def _artefacts(session: Session, say: Progress) -> Iterator[Stream]:
    from neuroloom.ingest.eeg_artefacts import eeg_artefacts, is_fit

    for stream in session.streams:
        if isinstance(stream, Signal) and is_fit(stream) and not stream.provenance.get("replaces"):
            say(f"{session.id}: artefacts of {stream.name}")
            yield eeg_artefacts(stream, _bad(session, stream))


def _cleaned(session: Session, say: Progress) -> Session:
    from neuroloom.ingest.eeg_cleaning import CleaningError, cleaned

    notes: dict[str, str] = {}
    made: list[Stream] = []
    for stream in session.streams:
        if isinstance(stream, Signal) and stream.modality == "eeg" and not stream.provenance.get("replaces"):
            say(f"{session.id}: independent components of {stream.name}")
            try:
                made.append(cleaned(stream, _bad(session, stream)))
            except CleaningError as error:
                notes[stream.name] = f"not cleaned: {error}"
    return _with(_noted(session, notes), iter(made))
