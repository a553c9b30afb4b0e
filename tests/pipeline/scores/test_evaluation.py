import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroloom.ingest import Events, Intervals
from neuroloom.pipeline.runs.windowing import Split, Windows, windows
from neuroloom.pipeline.scores.baselines import Predicted
from neuroloom.pipeline.scores.evaluation import Scores, evaluate

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


def test_the_mean_of_the_scored_data_is_what_no_bits_means(data: Windows) -> None:
    found = scored(data, lambda y: np.broadcast_to(y.mean(axis=0), y.shape), "units")
    assert found.get(port="units").value == pytest.approx(0, abs=1e-9)
    assert found.get(port="units", model="mean").value < 0  # that of training time is another


def test_bits_per_spike_are_those_of_nlb_tools(data: Windows) -> None:
    """`pip install --no-deps nlb_tools`: its pins do not go with anything else."""
    nlb = pytest.importorskip("nlb_tools.evaluation")
    (one,) = data.sessions.values()
    rng = np.random.default_rng(0)
    counts = np.concatenate([one.targets_at("units", s, s + 100)[0] for s in data.held_out.tiles(one.id)])
    rates = rng.gamma(2.0, 0.2, counts.shape) * (rng.random(counts.shape) > 0.01)  # some are 0
    found = scored(data, lambda y: rates.copy(), "units")
    theirs = nlb.bits_per_spike(rates[None].copy(), counts[None].astype(float))
    assert found.get(port="units").value == pytest.approx(theirs, rel=1e-9)
    for c in (0, 7):
        one_unit = found.get(port="units", area="V1" if c < 6 else "M1", channel=f"u{c}").value
        assert one_unit == pytest.approx(nlb.bits_per_spike(rates[None, :, [c]], counts[None, :, [c]].astype(float)))


def test_bits_per_spike_are_as_counted_by_hand(data: Windows) -> None:
    (one,) = data.sessions.values()
    counts = np.concatenate([one.targets_at("units", s, s + 100)[0] for s in data.held_out.tiles(one.id)])
    base = counts.mean(axis=0).astype(float)
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
    right = scored(data, lambda y: np.eye(2)[y[:, 0].astype(int)], "trials_choice")
    assert right.get(port="trials_choice").value == 1
    bits = right.get(port="trials_choice", metric="bits per answer")
    assert bits.value == pytest.approx(1, abs=0.05)  # nearly as many left as right
    mean = right.get(port="trials_choice", metric="bits per answer", model="mean").value
    assert mean == pytest.approx(0, abs=0.01)


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
    with pytest.raises(ValueError, match=r"no baseline 'magic'; there are average, glm, kalman, mean, ridge"):
        evaluate(Says(lambda y: y, "units"), data.held_out, baselines=("magic",))


def test_several_seeds_are_scored_as_their_mean_and_widen_the_interval(data: Windows) -> None:
    def off(by: float) -> Says:
        return Says(lambda y: y + by * y.std(0), "gaze")

    alone = [evaluate(off(by), data.held_out, baselines=()).get(port="gaze") for by in (0.1, 0.9)]
    both = evaluate([off(0.1), off(0.9)], data.held_out, baselines=()).get(port="gaze")
    assert both.value == pytest.approx((alone[0].value + alone[1].value) / 2)
    assert both.high - both.low > 3 * (alone[0].high - alone[0].low)


def test_what_several_seeds_expect_is_scored_together_too(data: Windows) -> None:
    def off(by: float) -> Forecasts:
        return Forecasts(lambda y: y + by * y.std(0), "gaze")

    found = evaluate([off(0.9), off(-0.7)], data.held_out, baselines=(), forward_s=0.1)
    alone = evaluate(off(0.1), data.held_out, baselines=(), forward_s=0.1)
    for metric in ("R2", "forward R2"):
        together = found.get(port="gaze", model="together", metric=metric)
        assert together.value == pytest.approx(alone.get(port="gaze", metric=metric).value)
    together = found.get(port="gaze", model="together", metric="R2")
    assert together.value > found.get(port="gaze", metric="R2").value
    assert together.lead is not None
    assert together.lead[0] < 0
    assert {row.model for row in alone} == {"network"}


def test_the_lead_over_a_rival_is_paired(data: Windows) -> None:
    """A rival that is always a little worse is behind with certainty, though the intervals of the two overlap."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((data.held_out.n_windows * 100, 2))
    noise *= np.repeat(rng.gamma(1.0, 1.0, data.held_out.n_windows), 100)[:, None]  # some windows are hard for both
    own, rival = (Says(lambda y, by=by: y + by * noise, "gaze") for by in (0.5, 0.52))
    rival.name = "rival"
    found = evaluate(own, data.held_out, baselines=(), rivals={"rival": [rival]})
    mine, other = found.get(port="gaze"), found.get(port="gaze", model="rival")
    assert other.high > mine.low  # overlapping
    assert other.lead is not None
    assert other.lead[0] == pytest.approx(mine.value - other.value)
    assert other.lead[1] > 0
    assert mine.lead is None


class Forecasts(Says):
    """Says the truth, but 0 where it is not given the inputs."""

    def forecast(self, split: Split, n_bins: int) -> Predicted:
        found = self.predict(split)
        hidden = np.tile(np.arange(split.config.n_bins) >= split.config.n_bins - n_bins, split.n_windows)
        return {s: {p: np.where(hidden[:, None], 0, v) for p, v in ports.items()} for s, ports in found.items()}


def test_forward_scores_are_of_the_last_bins_alone(data: Windows) -> None:
    said = evaluate(Forecasts(lambda y: y, "gaze"), data.held_out, baselines=("mean", "ridge"), forward_s=0.1)
    own = said.get(port="gaze", metric="forward R2")
    assert own.value < 0.05  # 0 is about the mean
    assert said.get(port="gaze", metric="R2").value == 1
    assert own.n_bins == 5 * data.held_out.n_windows
    ridge = said.get(port="gaze", metric="forward R2", model="ridge")
    assert own.value < ridge.value < said.get(port="gaze", model="ridge").value + 0.05
    with pytest.raises(ValueError, match="below the window's 2 s"):
        evaluate(Forecasts(lambda y: y, "gaze"), data.held_out, forward_s=9.0)


def test_what_is_not_there_is_named_beside_what_is(data: Windows) -> None:
    found = evaluate(Says(lambda y: y, "gaze"), data.held_out, baselines="mean")  # one name is one baseline
    assert found.get(port="gaze", model="mean").value < 0.1
    with pytest.raises(KeyError, match=r"no score 'r2' of 'network' on 'gaze'; there are: .*R2 of network on gaze"):
        found.get(port="gaze", metric="r2")
    with pytest.raises(ValueError, match="no session 'nobody' in these windows; there are sub-01"):
        data.held_out.tiles("nobody")
    for forward_s in (0.001, float("nan"), -1.0):
        with pytest.raises(ValueError, match=r"from a bin of 0.02 s to below the window's 2 s is wanted"):
            evaluate(Says(lambda y: y, "gaze"), data.held_out, forward_s=forward_s)


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
    counts = np.concatenate([one.targets_at("saccades", s, s + 100)[0] for s in data.held_out.tiles(one.id)])
    base = counts.mean(axis=0).astype(float)
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
