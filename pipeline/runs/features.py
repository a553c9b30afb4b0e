"""Session to model-rate features: one value per channel and time bin, with a mask that says where it is known.

    Units                       spike counts                                   kind "spikes" or "negative_binomial"
    eeg, meg                    low-passed, taken at the bin centres           kind "eeg", "meg"
    lfp, ieeg                   the same                                       kind "lfp"
    gaze, pupil                 mean of the bin's samples, blinks masked       kind "gaze"
    position, behaviour, emg    mean of the bin's samples                      kind "continuous"
    fnirs                       the same: light at the head, no potential, so no lead field
    any signal that is said to be one     mean of a bin's samples, no holding  kind "bold"
    Events, Intervals           an impulse at each event or onset, per label   kind "stimulus"
    saccades                    the same, blinks masked                        kind "saccades"
    Events said to be text      index of the event's label, in its bin         kind "tokens"
    trials with a choice        class index inside the decision window         kind "choice"

Bins are aligned to multiples of `bin_s` on the session clock: bin i is `[start_s + i bin_s, start_s + (i + 1) bin_s)`.
Shapes: T time bins, C channels of a port.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.words import listed, visible
from neuroloom.models.ports import Port
from neuroloom.pipeline.runs._labels import Place

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """What features are made, apart from the session they are made of.

    streams: names of the streams wanted; empty means all that have a kind.
    kinds: stream -> kind of port, where it is not the usual one of its modality: {"units": "negative_binomial",
        "rois": "bold", "words": "tokens"}.
    bands: name -> (low_hz, high_hz): adds the log power of eeg and lfp in that band, as further ports.
    choice_column: column of the trials' table that holds the subject's answer.
    decision_window_s: where the answer is asked for, seconds from the trial's end; columns `decision_start_s` and
        `decision_stop_s` of the trials' table (seconds from the trial's start) are used instead where they exist.
    artefacts: what masks an EEG where it was marked: "muscle", "blink".
    derived: where a signal was made to stand in another's place (cleaned EEG, gaze in degrees), it does; False takes
        both as they are.
    """

    bin_s: float = 0.02
    streams: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    artefacts: tuple[str, ...] = ("muscle",)
    derived: bool = True
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    choice_column: str = "choice"
    decision_window_s: tuple[float, float] = (-0.2, 0.0)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.bin_s) and self.bin_s > 0):
            raise ValueError(f"bin of {self.bin_s} s; a finite length above 0 is needed")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PortFeatures:
    """One port's values (T, C), where they are known (T, C), and where their time is extrapolated (T,).

    uncertainty_ms: how well its times are known on the whole (the residual of its device's clock map);
        uncertainty_T_ms: in each bin, shape (T,): more where pulses scatter, and further from them.
    reach_bins: a value may depend on samples up to this many bins after its own bin (the low-pass is zero-phase);
        whoever must be causal lags the port by that much more.
    positions_mm: per channel x, y, z as the stream's table has them, None where not known; empty where it has none.
    target_only: it never comes in; see `cosmoothing.py`.
    """

    port: Port
    values: Floats
    valid: Flags
    extrapolated: Flags
    uncertainty_ms: float
    uncertainty_T_ms: Floats
    reach_bins: int = 0
    class_names: tuple[str, ...] = ()
    positions_mm: tuple[Place, ...] = ()
    target_only: bool = False

    def __repr__(self) -> str:
        known = f"{float(np.mean(self.valid)):.1%} known" if self.valid.size else "nothing known"
        return f"<PortFeatures {visible(self.port.name)}: {self.port.kind}, {tuple(self.values.shape)}, {known}>"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Features:
    """Everything of one session at model rate.

    skipped: stream name -> why it has no features. subject, recorded: whose it is, and when it began (ISO 8601, ""
    where not known).
    """

    session_id: str
    bin_s: float
    start_s: float
    n_bins: int
    ports: Mapping[str, PortFeatures]
    skipped: Mapping[str, str] = field(default_factory=dict)
    subject: str = ""
    recorded: str = ""

    def __repr__(self) -> str:
        bins = f"{self.n_bins:,} bins of {1e3 * self.bin_s:g} ms"
        return f"<Features of {visible(self.session_id)}: {bins}; ports {listed(tuple(self.ports))}>"

    def __getitem__(self, name: str) -> PortFeatures:
        """The port of that name; KeyError lists those there are."""
        if name not in self.ports:
            raise KeyError(f"{self.session_id} has no port {name!r}; it has {sorted(self.ports)}")
        return self.ports[name]

    @property
    def duration_s(self) -> float:
        """Length of the grid, seconds."""
        return self.n_bins * self.bin_s
