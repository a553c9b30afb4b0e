"""Copies whose departures are known: an exact one, and ones that are off in one way each."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neuroloom.ingest import Events, Intervals, Segment, Session, Signal, Timebase
from neuroloom.pipeline.runs.windowing import Split, Windows, windows
from neuroloom.pipeline.scores._fidelity_answers import Acts, of_answers
from neuroloom.pipeline.scores.fidelity import Fidelity, fidelity

Matrix = NDArray[np.float64]
Say = Callable[[Matrix, Matrix], Matrix]  # true chances (N, K), time from 0 to 1 (N,) -> what the copy says

N_TRIALS, BIN_S = 1200, 0.1
BY_CUE = {"easy": (0.9, 0.1), "hard": (0.6, 0.4), "turned": (0.25, 0.75)}


@dataclass(frozen=True)
class Person:
    session: Session
    data: Windows
    truth: Matrix  # chances of the answers, per bin (T, 2)
    by_cue: Matrix  # the same, of who knows the cue alone


def person(seed: int = 0, stay: float = 0.0, n_trials: int = N_TRIALS) -> Person:
    """One trial a second: a cue at its beginning, an answer of known chances at its end. stay: repeats its last one."""
    rng = np.random.default_rng(seed)
    cues, answers, truth = [], [], np.full((n_trials * 10, 2), 0.5)
    by_cue, usual = truth.copy(), np.mean(list(BY_CUE.values()), axis=0)
    for n in range(n_trials):
        cues.append(list(BY_CUE)[rng.integers(3)])
        chances = np.array(BY_CUE[cues[-1]])
        if stay and answers:
            chances = (1 - stay) * chances + stay * np.eye(2)[answers[-1]]
        truth[n * 10 : n * 10 + 10] = chances
        by_cue[n * 10 : n * 10 + 10] = (1 - stay) * np.array(BY_CUE[cues[-1]]) + stay * usual
        answers.append(int(rng.random() < chances[1]))
    starts_s = np.arange(n_trials, dtype=np.float64)
    streams = (
        Events(name="cue", modality="events", times_s=starts_s + 0.05, labels=tuple(cues)),
        Intervals(
            name="trials",
            modality="trials",
            bounds_s=np.stack([starts_s, starts_s + 0.95], axis=1),
            labels=("trial",) * n_trials,
            table={"choice": tuple("rl"[a] for a in answers)},
        ),
    )
    session = Session(subject="01", clock="rig", streams=streams)
    data = windows([session], length_s=4.0, bin_s=BIN_S, held_out=0.5, inputs=("cue",))
    return Person(session=session, data=data, truth=truth, by_cue=by_cue)


@dataclass(frozen=True)
class Copy:
    """Says a function of the true chances; l is class 0 as sorted names have it."""

    truth: Matrix
    say: Say
    name: str = "copy"

    def predict(self, split: Split) -> dict[str, dict[str, Matrix]]:
        ((session, one),) = split.sessions.items()
        bins = np.concatenate([np.arange(s, s + split.config.n_bins) for s in split.tiles(session)])
        shown = one.features["trials_choice"].class_names
        chances = self.truth[np.minimum(bins, len(self.truth) - 1)][:, [("r", "l").index(name) for name in shown]]
        return {session: {"trials_choice": self.say(chances, bins / len(self.truth))}}

    def chances(self, split: Split) -> dict[str, Any]:
        return {session: {} for session in split.sessions}


def compared(someone: Person, say: Say, beside: Say | None = None) -> Fidelity:
    copy: Any = Copy(someone.truth, say)
    others: list[Any] = [] if beside is None else [Copy(someone.truth, beside)]
    return fidelity(copy, someone.data.held_out, events="cue", damage=False, beside=others)


def names(found: Fidelity) -> set[str]:
    (port,) = found.ports
    return {measure.name.split(",")[0] for measure in port.departures}


def sharpened(p: Matrix, factor: float) -> Matrix:
    powered = p**factor
    return np.asarray(powered / powered.sum(axis=1, keepdims=True))


@pytest.fixture(scope="module")
def someone() -> Person:
    return person()


def test_an_exact_copy_departs_in_nothing(someone: Person) -> None:
    found = compared(someone, lambda p, at: p)
    (port,) = found.ports
    assert port.departures == []
    assert found.sentences()[0].startswith("trials_choice of sub-01_ses-01: no departure was found in")
    assert port.get("certainty").low < 0 < port.get("certainty").high
    assert port.get("same answer").person == pytest.approx((0.82 + 0.52 + 0.625) / 3, abs=0.04)


def acts(seed: int, n_pieces: int, per_piece: int, say: Callable[[Matrix], Matrix] = lambda p: p) -> Acts:
    """Answers after cues, as of a person above, without any recording."""
    rng = np.random.default_rng(seed)
    cue = rng.integers(3, size=n_pieces * per_piece)
    truth = np.array(list(BY_CUE.values()))[cue]
    return Acts(
        said=say(truth), done=(rng.random(len(cue)) < truth[:, 1]).astype(np.int64), event=cue,
        piece=np.repeat(np.arange(n_pieces), per_piece), time_s=np.arange(len(cue), dtype=np.float64),
        class_names=("r", "l"), event_names=tuple(BY_CUE),
    )  # fmt: skip


def n_accused(n: int, *size: int, say: Callable[[Matrix], Matrix] = lambda p: p) -> int:
    return sum(any(m.departs for m in of_answers(acts(seed, *size, say))) for seed in range(n))


@pytest.mark.parametrize("size", [(8, 3), (20, 1)])
def test_exact_copies_are_not_accused_where_there_is_little_data(size: tuple[int, int]) -> None:
    assert n_accused(15, *size) <= 1  # 0.3 are promised; two or more would happen in one of 27 such tests


@pytest.mark.slow
@pytest.mark.parametrize("size", [(8, 3), (8, 10), (12, 2), (20, 1), (20, 4), (40, 4)])
def test_one_of_fifty_exact_copies_is_accused_at_any_size(size: tuple[int, int]) -> None:
    assert n_accused(200, *size) <= 9  # four are promised; ten or more would happen in one of 120 such tests


def test_a_copy_that_is_too_certain_is_found_in_few_answers() -> None:
    assert n_accused(10, 40, 4, say=lambda p: sharpened(p, 2.5)) >= 8


def test_an_interval_over_few_pieces_holds_nothing_in_as_many_exact_copies_as_it_says() -> None:
    found = [of_answers(acts(seed, 8, 6)) for seed in range(25)]
    holds = [m.low <= 0 <= m.high for measures in found for m in measures if m.name.startswith("chance given")]
    assert np.mean(holds) >= 0.8  # 95 % less three standard deviations


@pytest.mark.parametrize("n_trials", [36, 48])
def test_of_too_few_answers_nothing_is_said(n_trials: int) -> None:
    found = compared(person(n_trials=n_trials), lambda p, at: p[:, ::-1])  # always wrong
    (port,) = found.ports
    assert (port.departures, port.can_tell) == ([], False)
    assert all(np.isnan([m.low, m.high]).all() for m in port.measures)
    assert found.sentences() == [
        f"trials_choice of sub-01_ses-01: too few answers to tell: {port.n_acts} in {port.n_pieces} pieces of held-out "
        "time; at least 20 in 8 are wanted."
    ]


def test_two_copies_of_a_person_are_compared_in_the_same_things(monkeypatch: pytest.MonkeyPatch) -> None:
    for cue in BY_CUE:
        monkeypatch.setitem(BY_CUE, cue, (0.99, 0.01))  # so rare that the share of "l" is not compared by itself
    someone = person(n_trials=80)

    def often(p: Matrix, at: Matrix) -> Matrix:
        return np.full_like(p, 0.5)

    alone = compared(someone, lambda p, at: p).ports[0]
    before = compared(someone, lambda p, at: p, often).ports[0]
    after = compared(someone, often, lambda p, at: p).ports[0]
    what = [{(m.name, m.what) for m in port.measures} for port in (alone, before, after)]
    assert what[1] == what[2] > what[0]


def test_a_copy_that_is_sure_and_always_wrong_departs_though_nothing_varies() -> None:
    always = replace(acts(0, 10, 4), said=np.tile([0.9, 0.1], (40, 1)), done=np.ones(40, dtype=np.int64))
    departing = {m.name.partition(",")[0] for m in of_answers(always) if m.departs}
    assert {"chance given to the answer", "share of the answer"} <= departing


@pytest.mark.slow
def test_of_fifty_exact_copies_few_are_accused() -> None:
    accused = sum(bool(compared(person(seed), lambda p, at: p).ports[0].departures) for seed in range(50))
    assert accused <= 4  # one is what is promised; five or more would happen in one of 300 such tests


def test_a_copy_that_is_too_certain_is_found_with_the_factor_that_was_put_in(someone: Person) -> None:
    found = compared(someone, lambda p, at: sharpened(p, 2.0))
    certainty = found.ports[0].get("certainty")
    assert (certainty.departs, certainty.copy) == (True, pytest.approx(2.0, abs=0.25))
    assert "same answer to the same event again" in names(found)
    assert any("it is too certain: its log odds are" in line for line in found.sentences())


def test_a_copy_that_never_learned_what_a_cue_means_errs_after_that_cue(someone: Person) -> None:
    def say(p: Matrix, at: Matrix) -> Matrix:
        return np.where(p.max(axis=1, keepdims=True) == 0.75, p[:, ::-1], p)  # takes "turned" for the other

    (port,) = compared(someone, say).ports
    wrong = {measure.what: measure for measure in port.departures if measure.aspect == "errors"}
    assert "l after turned" in wrong
    assert not {"l after easy", "l after hard"} & set(wrong)
    assert wrong["l after turned"].departure == pytest.approx(-0.5, abs=0.12)


def test_a_person_who_stays_with_the_last_answer_is_not_copied_by_one_who_does_not() -> None:
    habit = person(seed=4, stay=0.4)
    assert compared(habit, lambda p, at: p).ports[0].departures == []
    copy: Any = Copy(habit.by_cue, lambda p, at: p)
    found = fidelity(copy, habit.data.held_out, events="cue", damage=False)
    assert "repeats its last answer" in names(found)
    assert any("leaves its last answer too often" in line for line in found.sentences())


def test_a_copy_that_fades_drifts_away(someone: Person) -> None:
    def say(p: Matrix, at: Matrix) -> Matrix:
        return np.where((at > 0.5)[:, None], p[:, ::-1], p)

    found = compared(someone, say)
    (port,) = found.ports
    drift = port.get("surprise gained")
    assert drift.departs
    assert drift.departure > 0.3
    assert port.over_time[0, 1] < port.over_time[-1, 1]


@pytest.mark.parametrize("level", [-1.0, 0.0, float("nan"), float("inf")])
def test_noise_that_is_none_is_refused(someone: Person, level: float) -> None:
    copy: Any = Copy(someone.truth, lambda p, at: p)
    with pytest.raises(ValueError, match="finite shares above 0 are wanted"):
        fidelity(copy, someone.data.held_out, noise=(0.1, level))


def test_what_is_written_can_be_read_as_json(someone: Person, tmp_path: Any) -> None:
    import json

    said = compared(someone, lambda p, at: sharpened(p, 2.0)).to_json(tmp_path / "fidelity.json")
    assert json.loads((tmp_path / "fidelity.json").read_text()) == said


# Movements ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mover:
    """A hand that follows a known course with known noise of 0.5; what it is said to do is a function of the course."""

    data: Windows
    course: Matrix  # (T, 1), in the unit of the recording
    said: Callable[[Matrix, Matrix], Matrix]
    noise: float = 0.5
    name: str = "copy"

    def predict(self, split: Split) -> dict[str, dict[str, Matrix]]:
        ((session, one),) = split.sessions.items()
        bins = np.concatenate([np.arange(s, s + split.config.n_bins) for s in split.tiles(session)])
        scaler = one.scalers["hand"]
        return {session: {"hand": scaler.scaled(self.said(self.course[bins], bins[:, None] / len(self.course)))}}

    def chances(self, split: Split) -> dict[str, dict[str, tuple[Matrix, Matrix]]]:
        from scipy.stats import norm

        ((session, one),) = split.sessions.items()
        sd = self.noise / one.scalers["hand"].std
        mean = self.predict(split)[session]["hand"]
        cuts = [one.targets_at("hand", s, s + split.config.n_bins)[0] for s in split.tiles(session)]
        return {session: {"hand": (norm.cdf((np.concatenate(cuts) - mean) / sd), np.broadcast_to(sd**2, mean.shape))}}


def moved(said: Callable[[Matrix, Matrix], Matrix], noise: float = 0.5, seed: int = 0) -> Fidelity:
    rng = np.random.default_rng(seed)
    n_bins, stroke = 6000, np.sin(np.linspace(0, np.pi, 20))
    sign = np.repeat(rng.choice([-1.0, 1.0], n_bins // 20), 20)
    course = (sign * np.tile(stroke, n_bins // 20))[:, None]
    hand = Signal(
        name="hand",
        modality="behaviour",
        segments=(
            Segment(
                samples=course + 0.5 * rng.standard_normal(course.shape),
                timebase=Timebase(rate_hz=10.0, n_samples=n_bins),
            ),
        ),
        channel_names=("x",),
        unit="cm",
        gain=np.ones(1),
        offset=np.zeros(1),
    )
    go = Events(
        name="go",
        modality="events",
        times_s=np.arange(n_bins // 20) * 2.0 + 0.05,
        labels=tuple(np.where(sign[::20] > 0, "up", "down").tolist()),
    )
    session = Session(subject="01", clock="rig", streams=(hand, go))
    data = windows([session], length_s=4.0, bin_s=0.1, held_out=0.5, inputs=("go",))
    copy: Any = Mover(data, course, said, noise)
    return fidelity(copy, data.held_out, damage=False)


def test_an_exact_mover_departs_in_nothing() -> None:
    (port,) = moved(lambda x, at: x).ports
    assert port.departures == []
    shared = port.get("what repeats")
    assert (shared.copy, shared.person) == (pytest.approx(0.667, abs=0.05), pytest.approx(0.667, abs=0.05))


@pytest.mark.parametrize(
    ("said", "noise", "name", "copy"),
    [
        (lambda x, at: x, 0.25, "error over the expected one, squared", 4.0),
        (lambda x, at: x, 1.0, "falls into the middle 90%", 1.0),
        (lambda x, at: 2 * x, 0.5, "the person's move", 0.5),
        (lambda x, at: x + 0.3, 0.5, "bias", 0.3 / 0.866),
        (lambda x, at: x + 2 * at * (at > 0.5), 0.5, "error over the expected one, gained", 17.0),
    ],
)
def test_a_mover_that_is_off_in_one_way_is_told_so(said: Any, noise: float, name: str, copy: float) -> None:
    (port,) = moved(said, noise).ports
    found = port.get(name, "x" if name == "bias" else "")
    assert found.departs
    assert found.copy == pytest.approx(copy, rel=0.15)
