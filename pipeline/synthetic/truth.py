"""What was recovered, beside what was true: only a synthetic person can be checked like this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Units
from neuroloom.pipeline.synthetic.sample_brain import Brain, FloatArray
from neuroloom.pipeline.synthetic.sample_devices import CLOCKS, PROBE_HZ, DeviceClock

TROUGH_S = 0.6e-3  # from a spike's time to the trough of its waveform, which a sorter takes for its time
CLOCK_NAMES = {"gaze": "gaze", "eeg": "eeg"}  # part of a recording's clock name -> device


@dataclass(frozen=True, kw_only=True)
class ClockTruth:
    """One device's clock: what the pulses told, and what was built in. Offsets at session time 0."""

    device: str
    offset_s: float
    true_offset_s: float
    drift_ppm: float
    true_drift_ppm: float
    worst_error_ms: float


@dataclass(frozen=True, kw_only=True)
class UnitTruth:
    """One true unit and the sorted unit that fits it best, `sorted_unit` "" where none does."""

    unit: str
    area: str
    sorted_unit: str
    n_spikes: int
    accuracy: float


def clock_truths(session: Session, duration_s: float) -> list[ClockTruth]:
    """Every aligned device against the clock it really had; times over the whole recording."""
    home = CLOCKS["probe"]
    truths = []
    for fitted in session.clock_maps:
        device = next((CLOCK_NAMES[part] for part in CLOCK_NAMES if part in fitted.source), None)
        if device is None:
            continue
        own = CLOCKS[device]
        true_s = np.linspace(home.started_s, duration_s - 1, 1000)
        errors_s = fitted.seconds(own.seconds(true_s)) - home.seconds(true_s)
        device_zero_s = float(own.seconds(home.true_seconds(np.array(0.0))))
        truths.append(
            ClockTruth(
                device=device,
                offset_s=float(fitted.seconds(device_zero_s)) - device_zero_s,
                true_offset_s=-device_zero_s,
                drift_ppm=fitted.drift_ppm,
                true_drift_ppm=_relative_ppm(own, home),
                worst_error_ms=float(np.abs(errors_s).max() * 1e3),
            )
        )
    return truths


def _relative_ppm(own: DeviceClock, home: DeviceClock) -> float:
    return ((1 + home.drift_ppm * 1e-6) / (1 + own.drift_ppm * 1e-6) - 1) * 1e6


def unit_truths(units: Units, brain: Brain) -> list[UnitTruth]:
    """Sorted spikes against the true ones; accuracy is matches / (matches + misses + false alarms)."""
    compared, true = _compared(units, brain)
    accuracy, matched = compared.get_performance()["accuracy"], compared.hungarian_match_12
    return [
        UnitTruth(
            unit=name,
            area=brain.unit_areas[i],
            sorted_unit="" if matched[name] in (-1, "") else str(matched[name]),
            n_spikes=int(times_s.size),
            accuracy=float(accuracy[name]),
        )
        for i, (name, times_s) in enumerate(true.items())
    ]


def ceiling_counts(
    units: Units, unit_names: Sequence[str], brain: Brain, *, start_s: float, bin_s: float, n_bins: int
) -> FloatArray:
    """Expected counts per bin for these sorted units, from the true rates; shape (n_bins, N).

    start_s: where the first bin begins, on the session clock (that of the probe). A sorted unit is expected to fire as
    the true unit does whose spikes it mostly holds, times the share of them it holds: the sorter may split a unit.
    """
    began_s = float(CLOCKS["probe"].true_seconds(np.array(start_s)))
    rates = brain.binned_rate(bin_s, n_bins, start_s=began_s)
    compared, true = _compared(units, brain)
    expected = []
    for name in unit_names:
        shared = compared.match_event_count[name].to_numpy()
        likeliest = int(shared.argmax())
        n_true = list(true.values())[likeliest].size
        n_sorted = units.spike_times_s[units.unit_names.index(name)].size
        expected.append(rates[:, likeliest] * (n_sorted / max(n_true, 1)))
    return np.stack(expected, axis=1)


def _compared(units: Units, brain: Brain) -> tuple[Any, dict[str, FloatArray]]:
    """SpikeInterface's comparison with 0.4 ms of tolerance (Buccino et al. 2020), and the true trains by name."""
    from spikeinterface.comparison import compare_sorter_to_ground_truth
    from spikeinterface.core import NumpySorting

    home, stop_s = CLOCKS["probe"], brain.duration_s - 0.5
    true = {
        f"true-{i}": home.seconds(t[(t > home.started_s) & (t < stop_s)]) + TROUGH_S
        for i, t in enumerate(brain.spike_times_s)
    }

    def sorting(trains: Mapping[str, FloatArray]) -> NumpySorting:
        samples = {name: np.round(times * PROBE_HZ).astype(np.int64) for name, times in trains.items()}
        return NumpySorting.from_unit_dict([samples], PROBE_HZ)

    found = dict(zip(units.unit_names, units.spike_times_s, strict=True))
    compared = compare_sorter_to_ground_truth(sorting(true), sorting(found), exhaustive_gt=True, delta_time=0.4)
    return compared, true
