"""Searches: what is tried, what is compared, what is taken up again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroloom.ingest import Session
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.documents import document_of
from neuroloom.pipeline.runs import preparing, running, searching
from neuroloom.pipeline.scores import judging
from neuroloom.pipeline.store import Store, StoreError

RUN = """
topology = "four-areas"
length_s = 0.6
steps = 3
batch_size = 4
inputs = ["light"]
loggers = []
"""
SPACE = """
[search]
trials = {trials}
[search.space]
area_size = {{ low = 2, high = 6, step = 2 }}
"training.learning_rate" = {{ low = 1e-3, high = 1e-1, log = true }}
"network.kind" = ["leaky", "gru"]
"""


@pytest.fixture
def store(tmp_path: Path, turning: Callable[..., Session]) -> Store:
    torch.set_num_threads(1)
    made, session = Store(tmp_path / "store").create(), turning(duration_s=30)
    session.save(made.sessions / session.id / "v001")
    return made


def asked(tmp_path: Path, text: str) -> searching.SearchConfig:
    (tmp_path / "find.toml").write_text(text)
    return searching.read_search_config(tmp_path / "find.toml")


def search(tmp_path: Path, store: Store, trials: int, **how: Any) -> dict[str, Any]:
    searching.prepare_search(asked(tmp_path, RUN + SPACE.format(trials=trials)), store)
    return searching.run_search("find", store, **how)


def test_the_best_trial_is_the_run(store: Store, tmp_path: Path) -> None:
    found = search(tmp_path, store, 3)
    assert [row["trial"] for row in found["trials"]] == [0, 1, 2]
    assert found["best_loss"] == min(row["loss"] for row in found["trials"])
    best = next(row for row in found["trials"] if row["trial"] == found["best"])
    run = running.open_run(store, "find")
    assert run.best_loss == pytest.approx(found["best_loss"])
    assert run.config.learning_rate == best["values"]["training.learning_rate"]
    assert run.network.size == best["values"]["area_size"]
    assert len(judging.evaluate_run("find", store).rows) > 0


def test_a_search_that_was_stopped_goes_on_and_trains_nothing_twice(store: Store, tmp_path: Path) -> None:
    trained: list[int] = []

    def killed_at_the_second(numbers: Any) -> Any:
        for number in numbers:
            if number == 1 and 1 not in trained:
                trained.append(number)
                raise KeyboardInterrupt
            trained.append(number)
            yield searching.train_trial("find", number, str(store.root))

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, store, 2, trained=killed_at_the_second)
    values = document_of(searching.trial_folder(store, "find", 1) / searching.TRIAL)["values"]
    found = search(tmp_path, store, 2, trained=killed_at_the_second)
    assert trained == [0, 1, 1]
    assert [row["values"] for row in found["trials"] if row["trial"] == 1] == [values]
    more = search(tmp_path, store, 3, trained=killed_at_the_second)  # one more is asked for
    assert (trained, len(more["trials"])) == ([0, 1, 1, 2], 3)


def test_a_trial_that_fails_counts_and_says_why(store: Store, tmp_path: Path) -> None:
    text = RUN + '[search]\ntrials = 4\nsampler = "random"\n[search.space]\n"training.learning_rate" = [1e-3, 1e30]\n'
    searching.prepare_search(asked(tmp_path, text), store)
    found = searching.run_search("find", store)
    exploded = [row for row in found["trials"] if row["values"]["training.learning_rate"] > 1]
    assert len(found["trials"]) == 4
    assert 0 < len(exploded) < 4
    assert all(row["loss"] is None and "a smaller learning rate may keep" in row["why"] for row in exploded)


def test_two_processes_do_not_search_at_once(store: Store, tmp_path: Path) -> None:
    def meanwhile(numbers: Any) -> Any:
        with pytest.raises(StoreError, match="find: another process is at this search"):
            searching.run_search("find", store)
        return ((number, 0.5) for number in numbers)

    with pytest.raises(FileNotFoundError):  # nothing was trained, so there is nothing to make the run
        search(tmp_path, store, 1, trained=meanwhile)


@pytest.mark.slow
def test_trials_run_in_processes_of_their_own_to_the_same_numbers(store: Store, tmp_path: Path) -> None:
    text = RUN + SPACE.format(trials=2).replace("trials = 2", "trials = 2\nparallel = 2")
    searching.prepare_search(asked(tmp_path, text), store)
    found = searching.run_search("find", store)
    for row in found["trials"]:
        (tmp_path / "again").mkdir(exist_ok=True)
        config = searching.varied(asked(tmp_path, text).base(), row["values"]).model_copy(
            update={"name": f"again-{row['trial']}"}
        )
        preparing.prepare_run(config, store)
        assert running.train_run(config.name, store).best_loss == pytest.approx(row["loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[search]\ntrials = 3", r"find\.toml: search\.space: "),
        ('[search.space]\nbin_s = [0.02, 0.04]', r"'bin_s' changes what the validation loss means"),
        ('[search.space]\n"training.port_weights" = [1, 2]', "changes what the validation loss means"),
        ("[search.space]\narea_size = [8]", "two values or more are wanted"),
        ("[search.space]\narea_size = { low = 8, high = 4 }", "low below high is wanted"),
        ("[search.space]\nsize = [8, 16]", r"\[search\.space\] size: "),
        ('[search.space]\n"training.rate" = [0.1, 0.2]', r"find\.toml: \[search\.space\] training\.rate: .*rate"),
    ],
)  # fmt: skip
def test_a_space_that_makes_no_sense_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        asked(tmp_path, RUN + text)
    assert "\n" not in str(caught.value)


def test_another_search_does_not_take_the_place_of_one(store: Store, tmp_path: Path) -> None:
    searching.prepare_search(asked(tmp_path, RUN + SPACE.format(trials=3)), store)
    with pytest.raises(ConfigError, match="holds a search with another steps"):
        searching.prepare_search(asked(tmp_path, RUN.replace("3", "4") + SPACE.format(trials=3)), store)
    with pytest.raises(ConfigError, match="holds a search with another space"):
        searching.prepare_search(asked(tmp_path, RUN + SPACE.format(trials=3).replace("gru", "gated_linear")), store)
