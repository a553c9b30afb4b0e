"""The TOML of declared arrays, entry by entry; `arrays.py` opens with an example of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, model_validator

from neuroloom.ingest.formats._column_names import SECONDS
from neuroloom.ingest.formats._sidecars import Stated, Text

Scalar = str | int | float | bool
Refs = Text | tuple[Text, ...]  # `FILE:VARIABLE`, one or several


class Entry(BaseModel):
    """What every stream states."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: Text
    table: dict[str, Scalar | tuple[Scalar, ...]] = {}
    columns: dict[str, Text] = {}
    time_unit: Literal["s", "ms", "us", "ns", "samples"] | None = None
    rate_hz: PositiveFloat | None = None

    @property
    def seconds(self) -> float:
        """Seconds per unit of time."""
        if self.time_unit == "samples" and self.rate_hz is not None:
            return 1 / self.rate_hz
        return SECONDS[self.time_unit or "s"]

    def _check_time_unit(self) -> None:
        if self.time_unit is None:
            raise ValueError("time_unit is wanted, one of s, ms, us, ns and samples")
        if self.time_unit == "samples" and self.rate_hz is None:
            raise ValueError("rate_hz is wanted where time_unit is samples")

    @property
    def references(self) -> tuple[str, ...]:
        """Every `FILE:VARIABLE` named here."""
        return tuple(self.columns.values())


class UnitsEntry(Entry):
    """Spike times: of one unit, of one per cell, by ids, or in a matrix."""

    spike_times: Text
    unit_ids: Text | None = None
    one_unit_per: Literal["row", "column"] | None = None

    @model_validator(mode="after")
    def _checked(self) -> UnitsEntry:
        self._check_time_unit()
        return self

    @property
    def references(self) -> tuple[str, ...]:
        return _listed(self.spike_times, self.unit_ids) + super().references


class SignalEntry(Entry):
    """Samples with a unit, and times or a rate."""

    modality: Text
    samples: Refs
    unit: Text
    channels: tuple[str, ...] = ()
    channels_first: bool = False
    times: Text | None = None
    start_s: float = 0.0
    gain: float | tuple[float, ...] = 1.0
    offset: float | tuple[float, ...] = 0.0

    @model_validator(mode="after")
    def _checked(self) -> SignalEntry:
        if self.times is not None:
            self._check_time_unit()
        elif self.rate_hz is None:
            raise ValueError("times or rate_hz is wanted")
        return self

    @property
    def references(self) -> tuple[str, ...]:
        return _listed(self.samples, self.times) + super().references


class LabelledEntry(Entry):
    """A label of all rows, or one of each."""

    label: Text | None = None
    labels: Text | None = None

    @model_validator(mode="after")
    def _checked(self) -> LabelledEntry:
        self._check_time_unit()
        if (self.label is None) == (self.labels is None):
            raise ValueError("label (of all) or labels (one each) is wanted, not both")
        return self


class EventsEntry(LabelledEntry):
    """Moments."""

    times: Text
    modality: Literal["events", "sync"] = "events"

    @property
    def references(self) -> tuple[str, ...]:
        return _listed(self.times, self.labels) + super().references


class IntervalsEntry(LabelledEntry):
    """Stretches, with a start and a stop each."""

    bounds: Refs
    modality: Literal["intervals", "trials"] = "intervals"

    @property
    def references(self) -> tuple[str, ...]:
        return _listed(self.bounds, self.labels) + super().references


class Declaration(Stated):
    """The TOML."""

    format: Literal["neuroloom arrays"]
    units: tuple[UnitsEntry, ...] = ()
    signals: tuple[SignalEntry, ...] = ()
    events: tuple[EventsEntry, ...] = ()
    intervals: tuple[IntervalsEntry, ...] = ()

    @property
    def entries(self) -> tuple[UnitsEntry | SignalEntry | EventsEntry | IntervalsEntry, ...]:
        return (*self.signals, *self.units, *self.events, *self.intervals)

    @model_validator(mode="after")
    def _checked(self) -> Declaration:
        names = [entry.name for entry in self.entries]
        if not names:
            raise ValueError("no stream; at least one of units, signals, events and intervals is wanted")
        if len(set(names)) != len(names):
            raise ValueError(f"two streams are named {max(names, key=names.count)!r}; each needs a name of its own")
        return self


def _listed(*given: str | Sequence[str] | None) -> tuple[str, ...]:
    return tuple(ref for refs in given if refs is not None for ref in ([refs] if isinstance(refs, str) else refs))
