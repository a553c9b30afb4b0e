"""Traces whose spikes are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from neuroloom.ingest import Segment, Signal, Timebase

RATE_HZ = 30_000.0
DURATION_S = 20.0


@dataclass(frozen=True)
class Truth:
    """A wideband signal in µV, and the samples at which each of its units fired."""

    signal: Signal
    spikes: list[NDArray[np.int64]]


@pytest.fixture(scope="session")
def truth() -> Truth:
    """20 s of 8 channels, 40 µm apart, with noise of 8 µV and four units of 110 to 170 µV, from 100 s on."""
    rng = np.random.default_rng(5)
    n = int(DURATION_S * RATE_HZ)
    samples = rng.normal(0, 8, (n, 8)).astype(np.float32)
    time_ms = np.arange(60) / RATE_HZ * 1000
    spikes = []
    for unit, (width_ms, size_uV) in enumerate([(0.10, 150), (0.14, 170), (0.18, 130), (0.12, 110)]):
        shape = -np.exp(-(((time_ms - 0.6) / width_ms) ** 2)) + 0.4 * np.exp(-(((time_ms - 1.1) / (2 * width_ms)) ** 2))
        spread = np.exp(-(((np.arange(8) - 2 * unit - 0.5) / 0.9) ** 2))
        intervals = rng.exponential(0.08, 400) + 0.005
        fired = (np.cumsum(intervals) * RATE_HZ).astype(np.int64)
        fired = fired[fired < n - 100]
        for offset in range(60):
            np.add.at(samples, fired + offset, (size_uV * shape[offset] * spread).astype(np.float32))
        spikes.append(fired + int(0.6e-3 * RATE_HZ))
    signal = Signal(
        name="probe",
        modality="wideband",
        segments=(Segment(samples=samples, timebase=Timebase(rate_hz=RATE_HZ, start_s=100.0, n_samples=n)),),
        channel_names=tuple(f"c{i}" for i in range(8)),
        unit="uV",
        gain=np.ones(8),
        offset=np.zeros(8),
        table={"x_um": (0.0,) * 8, "y_um": tuple(40.0 * i for i in range(8))},
    )
    return Truth(signal, spikes)


def found_share(true_s: NDArray[np.float64], found_s: NDArray[np.float64], within_s: float = 5e-4) -> float:
    """The share of true spikes that have a found one nearby."""
    if not found_s.size:
        return 0.0
    after = np.clip(np.searchsorted(found_s, true_s), 0, found_s.size - 1)
    before = np.clip(after - 1, 0, found_s.size - 1)
    nearest = np.minimum(np.abs(found_s[after] - true_s), np.abs(found_s[before] - true_s))
    return float((nearest <= within_s).mean())
