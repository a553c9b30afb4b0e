"""What repeats have in common."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neuroloom.ingest import Intervals, Session, Units
from neuroloom.pipeline.runs.windowing import Windows, windows
from neuroloom.pipeline.scores.ceilings import average_baseline, repeatable, repeatable_shares
from neuroloom.pipeline.scores.evaluation import evaluate

Simulate = Callable[..., Any]


def test_half_signal_and_half_noise_is_half() -> None:
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((200, 3))
    repeats = signal + rng.standard_normal((20, 200, 3))
    assert repeatable(repeats).tolist() == pytest.approx([0.5] * 3, abs=0.06)
    assert repeatable(np.repeat(signal[None], 5, axis=0)).tolist() == pytest.approx([1.0] * 3)
    assert np.abs(repeatable(rng.standard_normal((20, 200, 3)))).max() < 0.03


def test_two_repeats_say_nothing() -> None:
    assert np.isnan(repeatable(np.ones((2, 5, 1)))).all()


@pytest.fixture(scope="module")
def repeated(simulated: Simulate) -> Windows:
    """Four units; after each of two kinds of trial, a second apart, their rates follow a curve of its own."""
    rng = np.random.default_rng(1)
    n_trials, curves = 120, np.exp(rng.standard_normal((2, 10, 4)).repeat(5, axis=1))  # (kind, 50 bins, unit)
    kinds = rng.integers(2, size=n_trials)
    spikes = rng.poisson(0.3 * curves[kinds].reshape(-1, 4))
    trains = [np.repeat(np.arange(len(spikes)) * 0.02 + 0.01, spikes[:, u]) for u in range(4)]
    starts = np.arange(n_trials, dtype=float)
    trials = Intervals(
        name="trials",
        modality="trials",
        bounds_s=np.stack([starts, starts + 1], 1),
        labels=tuple("ab"[k] for k in kinds),
    )
    units = Units(name="units", unit_names=tuple("wxyz"), spike_times_s=tuple(trains))
    session = Session(subject="01", clock="rig", streams=(units, trials))
    return windows([session], length_s=1.0, inputs=("units", "trials"), targets=("units",))


def test_averages_over_trials_of_a_kind_beat_a_line_from_the_past(repeated: Windows) -> None:
    found = evaluate(average_baseline(repeated), repeated.held_out, baselines=("mean",), forward_s=0.1)
    now, ahead = (found.get(port="units", model="average", metric=f"{f}bits per spike") for f in ("", "forward "))
    assert now.low > 0.3
    assert ahead.low > 0


def test_the_share_of_repeats_is_what_the_true_rates_explain(repeated: Windows) -> None:
    ((share,),) = (found.values() for found in repeatable_shares(repeated.held_out).values())
    (one,) = repeated.sessions.values()
    assert share.shape == (4,)
    assert (share > 0.05).all()
    assert (share < 0.9).all()
    assert one.id in repeatable_shares(repeated.held_out)


def test_without_events_there_are_no_repeats(simulated: Simulate) -> None:
    session = simulated(duration_s=40).session
    bare = replace(session, streams=tuple(s for s in session.streams if s.name != "trials"))
    with pytest.raises(ValueError, match="no events; averages over repeats need some"):
        average_baseline(windows([bare]))
    with pytest.raises(ValueError, match="no port of events 'flashes'; there are trials"):
        average_baseline(windows([session]), "flashes")
