import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroloom.ingest import Events, Intervals
from neuroloom.pipeline.baselines import Predicted
from neuroloom.pipeline.evaluation import Scores, evaluate
from neuroloom.pipeline.windowing import Split, Windows, windows

Simulate = Callable[..., Any]


class Says:
    """A predictor that says the same function of the truth for every port."""

    def __init__(self, say: Callable[[np.ndarray], np.ndarray], *ports: str) -> None:
        self.say, self.ports, self.name = say, ports, "network"

    def predict(self, split: Split) -> Predicted:
        found: Predicted = {}
        for session, one in split.sessions.items():
            found[session] = {}
            for port in self.ports:
                cuts = [one.targets_at(port, s, s + split.config.n_bins)[0] for s in split.tiles(session)]
                found[session][port] = self.say(np.concatenate(cuts).astype(np.float64))
        return found


@pytest.fixture(scope="module")
def data(simulated: Simulate) -> Windows:
    return windows([simulated().session])


def scored(data: Windows, say: Callable[[np.ndarray], np.ndarray], port: str, **more: Any) -> Scores:
    return evaluate(Says(say, port), data.held_out, baselines=("mean",), **more)


def test_the_mean_rate_of_training_time_scores_no_bits(data: Windows) -> None:
    assert scored(data, lambda y: y, "units").get(port="units", model="mean").value == pytest.approx(0, abs=1e-6)


def test_bits_per_spike_are_as_counted_by_hand(data: Windows) -> None:
    (one,) = data.sessions.values()
    base = one.mean_rates["units"].astype(float)
    counts = np.concatenate([one.targets_at("units", s, s + 100)[0] for s in data.held_out.tiles(one.id)])
    # Twice the mean rate everywhere: each spike gains one bit, each bin costs one mean rate.
    by_hand = 1 - len(counts) * base.sum() / counts.sum() / np.log(2)
    found = scored(data, lambda y: np.broadcast_to(2 * base, y.shape), "units").get(port="units")
    assert found.value == pytest.approx(by_hand)
    assert found.low < found.value < found.high


def test_r2_is_one_for_the_truth_and_falls_with_the_error(data: Windows) -> None:
    assert scored(data, lambda y: y, "gaze").get(port="gaze").value == 1
    half = scored(data, lambda y: y.mean(0) + 0.5 * (y - y.mean(0)), "gaze").get(port="gaze")
    assert half.value == pytest.approx(0.75)


def test_choosing_always_the_same_scores_chance(data: Windows) -> None:
    found = scored(data, lambda y: np.eye(2)[np.zeros(len(y), dtype=int)], "trials_choice").get(port="trials_choice")
    assert (found.value, found.chance) == (0.5, 0.5)
    right = scored(data, lambda y: np.eye(2)[y[:, 0].astype(int)], "trials_choice").get(port="trials_choice")
    assert right.value == 1


def test_each_area_and_channel_has_its_score(data: Windows) -> None:
    found = scored(data, lambda y: y + 0.1, "units")
    both = [found.get(port="units", area=area).n_channels for area in ("V1", "M1")]
    assert both == [6, 6]
    assert found.get(port="units", area="V1", channel="u0").n_channels == 1


def test_masked_bins_do_not_count(simulated: Simulate) -> None:
    data = windows([simulated().session])
    (one,) = data.sessions.values()
    first = data.held_out.tiles(one.id)[0]
    one.features["gaze"].values[first : first + 50] = 1e6
    one.features["gaze"].valid[first : first + 50] = False
    found = scored(data, lambda y: np.where(y == 0, 77.0, y), "gaze").get(port="gaze")
    assert found.value == 1
    assert found.n_bins == data.held_out.n_windows * 100 - 50


def test_true_rates_are_the_ceiling(simulated: Simulate, data: Windows) -> None:
    found = scored(data, lambda y: y + 0.1, "units", ceiling={"units": simulated().rates})
    top = found.get(port="units", model="truth")
    assert top.value > 1
    network = found.get(port="units")
    assert network.of_ceiling == pytest.approx(network.value / top.value)


def test_a_ceiling_of_another_shape_is_refused(data: Windows) -> None:
    with pytest.raises(ValueError, match=r"shape \(5, 5\); \(6000, 12\) is wanted"):
        scored(data, lambda y: y, "units", ceiling={"units": np.ones((5, 5))})


def test_ridge_beats_the_mean_on_every_port(data: Windows) -> None:
    found = evaluate(Says(lambda y: y, "units"), data.held_out)
    for port in ("units", "eeg", "gaze", "trials_choice"):
        ridge, mean = (found.get(port=port, model=model) for model in ("ridge", "mean"))
        assert ridge.low > mean.high


def test_scores_are_printed_and_written(data: Windows, tmp_path: Path) -> None:
    found = scored(data, lambda y: y, "gaze")
    found.to_json(tmp_path / "scores.json")
    said = json.loads((tmp_path / "scores.json").read_text())
    assert said["split"] == "held_out"
    assert said["scores"][0]["metric"] == "bits per spike"
    assert "1.000 (1.00 to 1.00)" in str(found)


def test_an_unknown_baseline_is_refused(data: Windows) -> None:
    with pytest.raises(ValueError, match=r"no baseline 'magic'; there are \['glm', 'mean', 'ridge'\]"):
        evaluate(Says(lambda y: y, "units"), data.held_out, baselines=("magic",))


def with_events(simulated: Simulate) -> Windows:
    """Saccades at random, and a text whose tokens alternate."""
    session = simulated(duration_s=60).session
    rng = np.random.default_rng(0)
    starts = np.sort(rng.uniform(0, 59, 120))
    bounds = np.stack([starts, starts + 0.03], axis=1)
    saccades = Intervals(name="saccades", bounds_s=bounds, labels=("left",) * 120, device="eye")
    words = Events(name="words", times_s=np.arange(300) * 0.2, labels=("ja", "nein") * 150)
    streams = (*session.streams, saccades, words)
    return windows([replace(session, streams=streams)], kinds={"words": "tokens"})


def test_saccades_are_scored_in_bits_per_event_over_their_mean_rate(simulated: Simulate) -> None:
    data = with_events(simulated)
    (one,) = data.sessions.values()
    base = one.mean_rates["saccades"].astype(float)
    counts = np.concatenate([one.targets_at("saccades", s, s + 100)[0] for s in data.held_out.tiles(one.id)])
    by_hand = 1 - len(counts) * base.sum() / counts.sum() / np.log(2)
    found = scored(data, lambda y: np.broadcast_to(2 * base, y.shape), "saccades").get(port="saccades")
    assert (found.metric, found.value) == ("bits per event", pytest.approx(by_hand))


def test_text_is_scored_in_bits_per_token_over_how_often_each_occurs(simulated: Simulate) -> None:
    data = with_events(simulated)

    def sure(share: float) -> float:
        """The score of somebody who gives the right one of two tokens that share."""
        say = lambda y: np.where(np.eye(2)[y[:, 0].astype(int)] > 0, share, 1 - share)  # noqa: E731
        return scored(data, say, "words").get(port="words").value

    assert sure(0.5) == pytest.approx(0, abs=0.01)  # both are as frequent
    assert sure(1.0) == pytest.approx(1, abs=0.01)
    assert sure(0.75) == pytest.approx(1 + np.log2(0.75), abs=0.01)
