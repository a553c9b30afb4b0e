"""A target that is predicted worse than by its mean is named, beside others that are predicted well."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neuroloom.pipeline import TrainConfig
from neuroloom.pipeline.runs.windowing import Split, Windows, windows
from neuroloom.pipeline.scores.baselines import Predicted, mean_baseline
from neuroloom.pipeline.scores.evaluation import evaluate
from neuroloom.pipeline.scores.worse import OF_ALL, OF_SOME, read_worse, worse_at_best

Simulate = Callable[..., Any]


class Guesses:
    """Says the truth of some ports, less than nothing of others."""

    name, best_step = "network", 30

    def __init__(self, data: Windows, *bad: str, **settings: Any) -> None:
        self.data, self.bad, self.config = data, bad, TrainConfig(**settings)

    def predict(self, split: Split) -> Predicted:
        found = mean_baseline(self.data).predict(split)
        for session, ports in found.items():
            one = split.sessions[session]
            for port in ports:
                cuts = [one.targets_at(port, s, s + split.config.n_bins)[0] for s in split.tiles(session)]
                truth = np.concatenate(cuts).astype(np.float64)
                ports[port] = np.nan_to_num(-truth if port in self.bad else truth)
        return found


@pytest.fixture(scope="module")
def data(simulated: Simulate) -> Windows:
    return windows([simulated().session], inputs=("eeg",), targets=("eeg", "gaze"))


def test_one_of_two_targets_is_named_with_both_scores(data: Windows) -> None:
    found = worse_at_best(Guesses(data, "gaze"), data)  # type: ignore[arg-type]
    (one,) = found.found
    assert (one.port, one.metric) == ("gaze", "R2")
    assert one.value < -2 < one.mean
    assert found.lines() == [f"warning: at step 30, on validation time, {one.words()}", OF_SOME]


def test_where_none_is_better_than_its_mean_other_advice_is_given(data: Windows) -> None:
    assert worse_at_best(Guesses(data, "gaze", "eeg"), data).lines()[-1] == OF_ALL  # type: ignore[arg-type]


def test_a_target_of_no_weight_is_not_looked_at(data: Windows) -> None:
    run = Guesses(data, "gaze", port_weights={"gaze": 0.0})
    assert worse_at_best(run, data).lines() == []  # type: ignore[arg-type]


def test_held_out_scores_are_looked_at_alike(data: Windows) -> None:
    scores = evaluate(Guesses(data, "gaze"), data.held_out, baselines=("mean",))
    (line, advice) = scores.worse_than_mean().lines()
    assert "on held-out time, gaze of" in line
    assert advice == OF_SOME
    assert evaluate(Guesses(data, "gaze"), data.held_out, baselines=()).worse_than_mean().lines() == []


def test_what_is_written_is_read_back_and_what_is_broken_warns_of_nothing(data: Windows) -> None:
    found = worse_at_best(Guesses(data, "gaze"), data)  # type: ignore[arg-type]
    assert read_worse(found.to_json()) == found
    for broken in ({}, {"found": 3}, {"found": [{}], "when": "", "n_targets": 1}, vars(SimpleNamespace(found=None))):
        assert read_worse(broken).lines() == []
