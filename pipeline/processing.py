"""What is computed of a session before it is published: spikes, LFP, and the quality of every stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Signal, Stream, Units

Progress = Callable[[str], None]
LFP_FROM_HZ = 2000.0  # a slower signal is its own LFP


def process(session: Session, *, sorter: str | None, progress: Progress | None = None) -> Session:
    """Spikes and LFP from every wideband signal whose device has none, and the quality of every stream without it.

    sorter: None leaves sorting out.
    """
    from neuroloom.ingest.quality import quality

    say = progress or (lambda _: None)
    added: list[Stream] = []
    for stream in session.streams:
        if not (isinstance(stream, Signal) and stream.modality == "wideband" and stream.n_samples):
            continue
        of_device = [s for s in session.streams if s.device == stream.device]
        if sorter is not None and not any(isinstance(s, Units) and s.is_sorted for s in of_device):
            from neuroloom.ingest.sorting import sort

            say(f"{session.id}: sorting {stream.name} with {sorter}")
            added.append(replace(sort(stream, sorter=sorter), name=f"{stream.name} units", device=stream.device))
        if stream.rate_hz > LFP_FROM_HZ and not any(s.modality == "lfp" for s in of_device):
            from neuroloom.ingest.lfp import extract_lfp

            added.append(replace(extract_lfp(stream), name=f"{stream.name} lfp", device=stream.device))
    session = replace(session, streams=(*session.streams, *added))
    say(f"{session.id}: quality")
    new = [stream for stream in session.streams if stream.name not in session.quality]
    return replace(session, quality={**session.quality, **quality(new)})
