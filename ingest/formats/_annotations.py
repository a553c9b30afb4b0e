"""Annotations of a recording: those of a moment are events, those that last are intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neuroloom.ingest.streams import Events, Intervals, Stream


class Note(NamedTuple):
    """An annotation, on the clock of the samples. channels: those it is about, "" for all of them."""

    onset_s: float
    duration_s: float
    text: str
    channels: str = ""


def annotated(notes: Sequence[Note]) -> list[Stream]:
    """The streams "annotations" and "annotated stretches", of notes in order of time."""
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


def _about(notes: Sequence[Note]) -> dict[str, tuple[str, ...]]:
    return {"channels": tuple(note.channels for note in notes)} if any(note.channels for note in notes) else {}
