"""What readers of many formats make of a list of channels: names of their own, kinds, groups, lazy columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.streams import ChannelSubset, Samples, Segment, Signal, Stream

MOST_SHOWN = 8  # names of one repair


def unique_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of which those that occur more than once are numbered, and these, each once: the reader says it."""
    counts, numbers = Counter(names), {name: count() for name in names}
    unique = []
    for name in names:
        own = name
        while counts[name] > 1 and own in counts:  # "a-0" may be another's name
            own = f"{name}-{next(numbers[name])}"
        unique.append(own)
    return unique, [name for name, n in counts.items() if n > 1]


def numbered(names: Sequence[str], repairs: list[str], *, where: str = "", but: Collection[str] = ()) -> list[str]:
    """The names of channels, those that occur more than once numbered, which is told. but: names that may repeat."""
    unique, repeated = unique_names(names)
    for name in repeated:
        if name not in but:
            own = [repr(new) for old, new in zip(names, unique, strict=True) if old == name]
            more = f" and {len(own) - MOST_SHOWN} more" if len(own) > MOST_SHOWN else ""
            what = f"{where}{len(own)} channels are named {name!r}"
            repairs.append(Defect(what, ", ".join(own[:MOST_SHOWN]) + more))
    return unique


def unique_streams(streams: Sequence[Stream]) -> tuple[Stream, ...]:
    """The streams, those that share a name numbered."""
    names, _ = unique_names([stream.name for stream in streams])
    return tuple(replace(stream, name=name) for stream, name in zip(streams, names, strict=True))


def kind_of(text: str) -> str:
    """What the name of a channel, or of its type, says it is: "eog", "ecg", "emg"; "" for any other."""
    said = text.lower().replace("ekg", "ecg")
    return next((kind for kind in ("eog", "ecg", "emg") if kind in said), "")


def grouped(kinds: Sequence[str], units: Sequence[str]) -> Iterator[tuple[str, str, str, NDArray[np.int64]]]:
    """Channels that make a Signal: of one kind and unit, in the order of their first.

    Gives kind, unit, what tells the group from others of its kind ("" where it is alone, else " unit"), columns.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for i, key in enumerate(zip(kinds, units, strict=True)):
        groups.setdefault(key, []).append(i)
    n_of_kind = Counter(kind for kind, _ in groups)
    for (kind, unit), members in groups.items():
        yield kind, unit, f" {unit}" if n_of_kind[kind] > 1 else "", np.array(members, dtype=np.int64)


def grouped_signals(
    segments: Sequence[Segment], names: Sequence[str], modalities: Sequence[str], units: Sequence[tuple[str, float]]
) -> Iterator[tuple[Signal, NDArray[np.int64]]]:
    """A Signal per modality and unit, and its columns; a table of channels and the provenance are the reader's to add.

    units: per channel, with its gain.
    """
    for modality, unit, suffix, columns in grouped(modalities, [unit for unit, _ in units]):
        signal = Signal(
            name=f"{modality}{suffix}",
            modality=modality,
            segments=tuple(replace(s, samples=columns_of(s.samples, columns)) for s in segments),
            channel_names=tuple(names[i] for i in columns),
            unit=unit,
            gain=np.array([units[i][1] for i in columns]),
            offset=np.zeros(len(columns)),
        )
        yield signal, columns


def in_file_order(signals: Sequence[Signal]) -> tuple[str, ...] | None:
    """Names of the channels of all signals of a file, as the file has them; None where the samples do not tell.

    Lazy samples know where in the file each of their channels is: its column, or its place in a record.
    """
    if len(signals) == 1:
        return signals[0].channel_names
    found: list[tuple[int, str]] = []
    for signal in signals:
        samples = signal.segments[0].samples if signal.segments else None
        places = getattr(samples, "columns", getattr(samples, "places", None))
        if places is None or not np.issubdtype(np.asarray(places).dtype, np.integer):
            return None
        found += zip(map(int, places), signal.channel_names, strict=True)
    return tuple(name for _, name in sorted(found)) if len({place for place, _ in found}) == len(found) else None


def columns_of(samples: Samples, columns: NDArray[np.int64]) -> Samples:
    """Some columns of lazy samples, in order; the samples themselves where that is all of them."""
    return samples if len(columns) == samples.shape[1] else ChannelSubset(samples, columns)
