"""The distillation study on a language of six symbols: what students may see, what is chosen, what is said."""

import errno
import json
import re
from html import unescape
from urllib.parse import unquote

import pytest
import torch

from neuroloom.ingest import durable
from neuroloom.pipeline import speaking, studying
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.store import StoreError
from neuroloom.pipeline.studies import _distill_report, distill, study_of
from neuroloom.pipeline.studies._students import UNKNOWN

TINY = distill.Settings(
    teacher={
        "kind": "hidden_markov", "n_symbols": 6, "n_topics": 2, "successors": 2, "width": 16, "blocks": 1, "heads": 2,
        "context": 12, "steps": 60, "batch": 16,
    },
    length=8, n_test=20, seeds=2, curve=(4, 16, 64), budgets=(16,), channels=(2, 4), snr_db=(0.0,), at=(4, 0.0),
    presets={}, strengths=(10.0,), reading=1, units=8, schooling={"steps": 20, "validate_every": 10, "batch_size": 8},
)  # fmt: skip


@pytest.fixture(scope="module")
def lessons(store):
    return distill.opened(TINY, store)


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    config = tmp_path_factory.mktemp("config") / "small.toml"
    said = json.loads(TINY.model_dump_json())
    teacher = "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.pop("teacher").items())
    schooling = "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.pop("schooling").items())
    said.pop("presets")
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items())
    config.write_text(f"{lines}presets = {{}}\n[teacher]\n{teacher}\n[schooling]\n{schooling}")
    name = studying.prepare_study("distillation", store, config=config)
    studying.run_study(name, store)
    return name


def one(arm, **more):
    return {"arm": arm, "n": 16, "k": 4, "snr_db": 0.0, "seed": 0} | more


def test_it_answers_to_both_its_names():
    assert study_of("distillation")[1] is study_of("distill")[1] is distill


def test_a_study_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match="no study 'telepathy'; there are: "):
        study_of("telepathy")


def test_behaviour_alone_sees_no_electrodes(lessons):
    material = distill._materials(lessons, TINY, one("hard")).lessons
    assert material.electrodes_NTK is None
    assert material.soft_NTV is None


def test_nobody_is_validated_on_electrodes(lessons):
    for arm in ("hard", "electrodes", "combined", "shuffled", "surrogate", "reading", "full", "soft"):
        validation = distill._materials(lessons, TINY, one(arm)).validation
        assert validation.electrodes_NTK is None
        assert validation.soft_NTV is None


def test_two_seeds_share_no_recorded_sequence(lessons):
    mine, other = (set(lessons.rows(seed, 16, TINY.most_recorded).tolist()) for seed in (0, 1))
    assert not mine & other


def test_validation_counts_in_n(lessons):
    found = distill._materials(lessons, TINY, one("electrodes"))
    assert len(found.lessons) + len(found.validation) == 16


def test_electrodes_have_unit_variance_over_training_time(lessons):
    seen = distill._materials(lessons, TINY, one("electrodes")).lessons.electrodes_NTK
    assert seen.flatten(0, 1).std(dim=0, correction=0) == pytest.approx(torch.ones(4), abs=1e-4)


def test_small_components_count_more_the_flatter_they_are_made(lessons):
    shares = []
    for flatness in (0.0, 0.5, 1.0):
        settings = TINY.model_copy(update={"flatness": flatness})
        seen = distill._materials(lessons, settings, one("shuffled")).lessons.electrodes_NTK.flatten(0, 1)
        variance = torch.linalg.eigvalsh(seen.T @ seen / len(seen))
        shares.append(float(variance[0] / variance[-1]))
    assert shares[0] < shares[1] < shares[2] == pytest.approx(1.0, abs=1e-3)
    assert shares[1] == pytest.approx(shares[0] ** 0.5, rel=1e-3)


GUIDED = TINY.model_copy(update={"formulation": "guided", "flatness": 0.5, "dropouts": (0.1, 0.4)})


def test_guided_students_stand_in_every_cell_with_electrodes():
    arms = {key["arm"] for key in distill.keys(GUIDED)}
    assert arms == {"hard", "guided", "reading", "shuffled", "surrogate", "soft", "full"}
    assert len(distill.keys(GUIDED)) == len(distill.keys(TINY))


@pytest.mark.parametrize("arm", ["guided", "reading", "shuffled", "surrogate"])
def test_guided_students_and_their_controls_learn_by_the_same_losses(lessons, arm):
    found = distill._materials(lessons, GUIDED, one(arm))
    assert found.lessons.soft_NTV.sum(dim=-1) == pytest.approx(torch.ones(found.lessons.answers_NT.shape), abs=1e-4)
    assert found.lessons.electrodes_NTK.shape[-1] == 4
    assert found.validation.electrodes_NTK is None
    assert found.validation.soft_NTV is None
    alone, other, *guided = distill._candidates(arm, GUIDED)
    assert [(c.strength, c.soft, c.hard, c.dropout) for c in (alone, other)] == [(0, 0, 1, 0.1), (0, 0, 1, 0.4)]
    assert [(c.strength, c.soft, c.hard, c.dropout) for c in guided] == [(10, 2, 0.5, None), (10, 2, 0.25, None)]


def test_behaviour_alone_may_choose_its_dropout():
    assert [c.dropout for c in distill._candidates("hard", GUIDED)] == [0.1, 0.4]
    assert [c.dropout for c in distill._candidates("hard", TINY)] == [None]


def test_what_guides_is_told_in_the_headline():
    row = {"arm": "guided", "k": 4, "snr_db": 0.0, "n": 16, "k_over_d": 0.25, "seeds": 2}
    row |= {"M": 2.0, "M_low": 1.5, "M_high": 2.5, "M_bound": ""}
    assert "was worth 2.00 (1.50 to 2.50) plain samples (guided, N = 16" in _distill_report._sentence(GUIDED, [row])


def test_who_only_reads_gives_no_answers(lessons):
    material = distill._materials(lessons, TINY, one("reading")).lessons
    assert (material.answers_NT == UNKNOWN).all(dim=1).sum() == 16
    assert not material.electrodes_NTK.isnan().any()


def test_electrodes_on_sequences_that_were_not_recorded_are_refused(lessons):
    with pytest.raises(ValueError, match="has no electrodes; 64 have"):
        lessons.tape(distill.electrodes_of(TINY, one("electrodes")), torch.tensor([64]))


def test_an_upper_bound_needs_to_be_asked_for(lessons):
    with pytest.raises(ValueError, match="upper_bounds = true is wanted"):
        distill._materials(lessons, TINY.model_copy(update={"upper_bounds": False}), one("full"))


def test_behaviour_alone_is_always_a_candidate():
    for arm in ("electrodes", "combined", "shuffled", "surrogate", "reading"):
        assert distill.Candidate() in distill._candidates(arm, TINY)


def test_held_out_behaviour_chooses_and_not_the_test():
    good = {"strength": 0.0, "soft": 0.0, "validation_nats": 1.0, "kl": 0.9}
    lucky = {"strength": 9.0, "soft": 0.0, "validation_nats": 2.0, "kl": 0.1}
    found = [({"arm": "electrodes", "n": 1, "seed": 0}, {"candidates": [lucky, good], "facts": {}})]
    (arm,) = _distill_report.arms_of(found, "kl")
    assert (arm.losses, arm.chosen) == ((0.9,), (0.0,))


def test_it_says_a_sentence_and_keeps_the_numbers_behind_it(store, run):
    folder = store.run_folder(run)
    report = json.loads((folder / "report.json").read_text())
    assert report["sentence"].startswith("With 4 noisy channels")
    tables = {path.stem for path in folder.glob("*.csv")}
    assert tables == {"exchange", "learning", "grid", "participation", "candidates"}
    assert report["sentence"] in unescape((store.review / f"run-{run}.html").read_text())


def test_its_page_has_a_heading_per_table_and_the_whole_csv_beneath(store, run):
    page = unescape((store.review / f"run-{run}.html").read_text())
    assert "Exchange rate M" in re.findall(r"<h3>(.*?)</h3>", page)
    csv = dict(re.findall(r'<a download="(\w+\.csv)" href="data:text/csv;charset=utf-8,([^"]*)">\1</a>', page))
    assert {name: unquote(data) for name, data in csv.items()} == {
        path.name: path.read_text() for path in store.run_folder(run).glob("*.csv")
    }


def test_every_arm_is_beside_its_controls(store, run):
    rows = json.loads((store.run_folder(run) / "report.json").read_text())["tables"]["exchange"]
    assert {row["arm"].partition(",")[0] for row in rows} == {
        "electrodes", "decoded", "electrodes + decoded", "reading", "shuffled", "surrogate", "soft", "full",
    }  # fmt: skip


def test_what_is_solved_is_not_solved_again(store, run, monkeypatch):
    monkeypatch.setattr(distill, "opened", lambda *_: pytest.fail("the teacher was asked again"))
    studying.run_study(run, store)


def test_a_cell_that_is_damaged_is_solved_again(store, run):
    folder = store.run_folder(run) / "cells"
    path = sorted(folder.glob("hard_4_0-*.json"))[0]
    before = json.loads(path.read_text())
    path.write_text("{")
    assert studying.progress_of(run, store) == (len(list(folder.iterdir())) - 1, len(list(folder.iterdir())))
    studying.run_study(run, store)
    assert json.loads(path.read_text())["result"]["candidates"][0]["kl"] == pytest.approx(
        before["result"]["candidates"][0]["kl"], rel=1e-3
    )


def test_what_another_process_is_at_is_left_to_it(store, run, monkeypatch):
    cells = store.run_folder(run) / "cells"
    (theirs,), (mine,) = (sorted(cells.glob(f"hard_{n}_0-*.json")) for n in (4, 64))
    solved = theirs.read_bytes()
    theirs.unlink()
    mine.unlink()
    real, asked = distill.solve, []

    def solve(bench, settings, batch):
        asked.extend(key["n"] for key in batch)
        theirs.write_bytes(solved)  # now the other one has ended
        other.close()
        return real(bench, settings, batch)

    monkeypatch.setattr(distill, "solve", solve)
    with (store.run_folder(run) / f".{theirs.stem}.lock").open("w") as other:
        durable.lock(other.fileno())
        studying.solve_cells(run, store)
    assert asked == [64]
    assert mine.is_file()
    assert list(store.run_folder(run).glob(".*.lock")) == []


def test_what_a_cell_may_not_read_now_is_a_failure_and_not_waited_for(store, run, monkeypatch):
    (gone,) = (store.run_folder(run) / "cells").glob("hard_4_0-*.json")
    solved = gone.read_bytes()
    gone.unlink()

    def solve(*_):
        raise BlockingIOError(errno.EAGAIN, "unable to lock file")  # as HDF5 says it

    monkeypatch.setattr(distill, "solve", solve)
    try:
        with pytest.raises(studying.CellsError, match="unable to lock file"):
            studying.solve_cells(run, store)
    finally:
        gone.write_bytes(solved)


def test_a_name_with_other_settings_is_refused(store, run, tmp_path):
    config = tmp_path / "small.toml"
    config.write_text("seeds = 1\n")
    with pytest.raises(ConfigError, match=r"with other settings \(.*strengths, .*\); give this one another name"):
        studying.prepare_study("distill", store, config=config)


def test_a_strength_at_the_edge_of_what_was_tried_is_said():
    row = {"kind": "recorded", "arm": "electrodes", "k": 4, "snr_db": 0.0, "n": 16, "strengths": "10 10 40"}
    settings = TINY.model_copy(update={"strengths": (10.0, 40.0, 120.0)})
    assert _distill_report._at_the_edge(settings, [row]) == ["electrodes, k=4, 0 dB, N=16"]
    assert _distill_report._at_the_edge(settings, [{**row, "strengths": "40 40 10"}]) == []


def test_the_first_seeds_students_are_kept_and_speak(store, run):
    names = [path.stem for path in speaking.networks(run, store)]
    assert {"hard_n4", "hard_n64", "combined_n16_k4_0dB", "electrodes_n16_k2_0dB", "full_n16"} <= set(names)
    assert len(names) == sum(key["seed"] == 0 for key in distill.keys(TINY))
    speech = speaking.generate(run, store, network="combined", prompt="ab", length=12)
    assert (speech.network, len(speech.said)) == ("combined_n16_k4_0dB.safetensors", 12)
    assert set(speech.said) <= set("abcdef")
    assert speech.remarks["arm"] == "combined"
    assert 0 < speech.remarks["share_of_steps_the_language_has"] <= 1


def test_what_keeps_no_network_says_why(store):
    mindread = studying.prepare_study("mindread", store)
    with pytest.raises(StoreError, match="a study of 'mindread' keeps no networks; those of convert and distill do"):
        speaking.generate(mindread, store)
    (store.run_folder("copy")).mkdir(parents=True)
    (store.run_folder("copy") / "config.json").write_text("{}")
    with pytest.raises(StoreError, match="`neuroloom predict copy SESSION` says what it answers"):
        speaking.generate("copy", store)
