"""Searches: what is tried, what is compared, what is taken up again."""

import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroloom.ingest import Session, durable
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.documents import document_of
from neuroloom.pipeline.runs import preparing, run_config, running, search_config, searching
from neuroloom.pipeline.runs._trial_processes import train_in_processes
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


def asked(tmp_path: Path, text: str) -> search_config.SearchConfig:
    (tmp_path / "find.toml").write_text(text)
    return search_config.read_search_config(tmp_path / "find.toml")


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
        config = search_config.varied(asked(tmp_path, text).base(), row["values"]).model_copy(
            update={"name": f"again-{row['trial']}"}
        )
        preparing.prepare_run(config, store)
        assert running.train_run(config.name, store).best_loss == pytest.approx(row["loss"], rel=1e-5)


def test_a_trial_in_a_process_ends_with_the_search_and_dies_alone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C reaches the search alone, which ends its trials; one that the system kills has failed, and says so."""
    started: list[subprocess.Popen[bytes]] = []

    class Seen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)
            if len(started) == 2:
                started[0].kill()

    monkeypatch.setattr(subprocess, "Popen", Seen)
    text = RUN.replace("steps = 3", "steps = 100000") + SPACE.format(trials=2)
    config = asked(tmp_path, text).base().model_copy(update={"sessions": tuple(store.session_ids())})
    for number in (0, 1):
        folder = searching.trial_folder(store, "find", number)
        folder.mkdir(parents=True)
        durable.write_json(folder / searching.TRIAL, {"values": {}, "config": config.model_dump(mode="json")})
    trials = train_in_processes("find", store, [0, 1])
    number, loss = next(trials)
    assert (number, math.isnan(loss)) == (0, True)
    why = document_of(searching.trial_folder(store, "find", 0) / searching.FAILED)["why"]
    assert why == "was ended by SIGKILL"
    assert started[1].poll() is None
    assert os.getsid(started[1].pid) != os.getsid(0)  # not of this terminal's group
    trials.close()  # what an interrupt does
    assert started[1].poll() is not None


def test_what_was_found_of_another_best_trial_is_forgotten(store: Store, tmp_path: Path) -> None:
    def came_to(losses: dict[int, float]) -> Any:
        def trained(numbers: Any) -> Any:
            for number in numbers:
                searching.train_trial("find", number, str(store.root))
                yield number, losses[number]

        return trained

    search(tmp_path, store, 1, trained=came_to({0: 1.0}))
    judging.evaluate_run("find", store)
    search(tmp_path, store, 2, trained=came_to({1: 2.0}))  # no better: what was found stays
    assert judging.scores_of("find", store)
    search(tmp_path, store, 3, trained=came_to({2: 0.5}))
    with pytest.raises(StoreError, match="find: has no scores"):
        judging.scores_of("find", store)


def test_a_search_tells_what_each_trial_was_of_and_why_one_failed(store: Store, tmp_path: Path) -> None:
    text = RUN + '[search]\ntrials = 2\nsampler = "random"\n[search.space]\n"training.learning_rate" = [1e30, 1e31]\n'
    searching.prepare_search(asked(tmp_path, text), store)
    told: list[str] = []
    with pytest.raises(StoreError, match="find: none of 2 trials came to a loss; the first: "):
        searching.run_search("find", store, progress=told.append)
    assert len(told) == 2
    assert all(line.startswith("trial ") and "(training.learning_rate 1e+3" in line for line in told)
    assert all(": failed: " in line and "smaller learning rate" in line for line in told)
    with pytest.raises(StoreError, match="find: has no network yet; `neuroloom search` with its config makes it"):
        running.open_run(store, "find")


def test_the_other_command_is_named(tmp_path: Path) -> None:
    (tmp_path / "find.toml").write_text(RUN + SPACE.format(trials=2))
    with pytest.raises(ConfigError, match=r"has a table \[search\]; `neuroloom search .*find\.toml` is wanted for it"):
        run_config.read_run_config(tmp_path / "find.toml")
    with pytest.raises(ConfigError, match=r"find\.toml: has no table \[search\]; one that says"):
        asked(tmp_path, RUN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[search]\ntrials = 3", r"find\.toml: search\.space: "),
        ("[search.space]", r"find\.toml: search\.space: holds no setting; a table of settings"),
        ('[search.space]\n"network.kind" = ["gru", "gruu"]', r"network\.kind: \[network\]: no kind of .*'gruu'"),
        ('[search.space]\n"network.knd" = ["gru", "leaky"]', r"network\.knd: \[network\]: 'knd' is no setting"),
        ('[search.space]\ntopology = ["four-areas", "five"]', r"\[search\.space\] topology: five: no such file"),
        ("[search.space]\narea_size = { low = 4, high = 8, stepp = 2 }", r"'area_size': stepp: no such setting"),
        ('[search.space]\ninputs = [["a"], ["b"]]', r"'inputs': .*; numbers, texts or true and false"),
        ('[search.space]\nbin_s = [0.02, 0.04]', r"'bin_s' changes what the validation loss means"),
        ('[search.space]\n"training.port_weights" = [1, 2]', "changes what the validation loss means"),
        ("[search.space]\narea_size = [8]", "two values or more are wanted"),
        ("[search.space]\narea_size = { low = 8, high = 4 }", "low below high is wanted"),
        ("[search.space]\nsize = [8, 16]", r"find\.toml: \[search\.space\] size: no such setting.*; known"),
        ('[search.space]\n"training.rate" = [0.1, 0.2]', r"find\.toml: .* training\.rate: .*rate: no such setting"),
    ],
)  # fmt: skip
def test_a_space_that_makes_no_sense_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        asked(tmp_path, RUN + text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("drawn", ["held_out_units = 0.25", "shuffle_recording = true", "surrogate = true"])
def test_seeds_are_not_compared_where_they_draw_what_is_scored(tmp_path: Path, drawn: str) -> None:
    with pytest.raises(ConfigError, match=rf"find\.toml: .*'seed' draws anew what {drawn.split()[0]}"):
        asked(tmp_path, f"{drawn}\n{RUN}[search.space]\nseed = [0, 1]")
    assert asked(tmp_path, f"{RUN}[search.space]\nseed = [0, 1]").search.space["seed"] == [0, 1]


def test_another_search_does_not_take_the_place_of_one_that_has_begun(store: Store, tmp_path: Path) -> None:
    search(tmp_path, store, 1)
    with pytest.raises(ConfigError, match="holds a search with another steps"):
        searching.prepare_search(asked(tmp_path, RUN.replace("3", "4") + SPACE.format(trials=3)), store)
    with pytest.raises(ConfigError, match="holds a search with another space"):
        searching.prepare_search(asked(tmp_path, RUN + SPACE.format(trials=3).replace("gru", "gated_linear")), store)


def test_a_search_whose_trials_were_all_refused_may_be_mended(store: Store, tmp_path: Path) -> None:
    searching.prepare_search(asked(tmp_path, RUN.replace("light", "ligth") + SPACE.format(trials=2)), store)
    with pytest.raises(StoreError, match="none of 2 trials came to a loss; the first: no port 'ligth'"):
        searching.run_search("find", store)
    found = search(tmp_path, store, 2)
    assert [row["trial"] for row in found["trials"]] == [0, 1]
    assert running.open_run(store, "find").best_loss == pytest.approx(found["best_loss"])
