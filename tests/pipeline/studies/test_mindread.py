"""Mind reading: what there is to read, and that a decoder is asked only about sequences it has not seen."""

import pytest
import torch

from neuroloom.pipeline.store import Store
from neuroloom.pipeline.studies import _mindread_report, mindread
from neuroloom.pipeline.studies.mindread import retrieved

TINY = mindread.Settings(
    teacher={
        "kind": "hidden_markov", "n_symbols": 6, "n_topics": 2, "successors": 2, "width": 16, "blocks": 1, "heads": 2,
        "context": 12, "steps": 60, "batch": 16,
    },
    length=8, sequences=40, seeds=2, channels=(8,), snr_db=(float("inf"),), at=(8, float("inf")), window=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def lessons(tmp_path_factory):
    return mindread.opened(TINY, Store.here(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def found(lessons):
    return [(key, mindread.solve(lessons, TINY, [key])[0]) for key in mindread.keys(TINY)]


def test_time_is_cut_into_blocks_that_share_nothing():
    train, choose, test = (set(part.tolist()) for part in mindread._parts(10))
    assert (train, choose, test) == ({0, 1, 2, 3, 4, 5}, {6, 7}, {8, 9})


def test_a_fair_coin_has_one_bit():
    assert mindread._entropy(torch.tensor([[0, 1], [1, 0]]), 2) == pytest.approx(1)


def test_without_noise_the_token_is_read(found):
    row = max((r for r in _mindread_report.rows_of(found) if r["target"] == "token"), key=lambda r: r["bits"])
    assert row["of_ceiling"] > 0.8


def test_from_wrong_times_nothing_is_read(found):
    rows = [row for row in _mindread_report.coverage_rows(TINY, found) if row["electrodes"] == "wrong times"]
    assert {row["target"] for row in rows} == {"token", "answer", "topic", "attention block0", "certainty"}
    assert max(row["bits"] for row in rows) < 0.1


def test_where_electrodes_lie_is_a_cell_of_its_own():
    two = TINY.model_copy(update={"teacher": {**TINY.teacher, "blocks": 2}})
    assert [key["layer"] for key in mindread.keys(two) if "layer" in key] == ["block0"] * 2 + ["block1"] * 2
    assert not any("layer" in key for key in mindread.keys(TINY.model_copy(update={"teacher": {"session": "s"}})))


def test_no_more_is_read_than_there_is(found):
    for row in _mindread_report.rows_of([one for one in found if "control" not in one[0]]):
        assert row["bits"] < (row["ceiling"] or row["entropy"]) + 0.1


def test_every_target_is_there(found):
    assert {row["target"] for row in _mindread_report.rows_of(found)} == {
        "token", "answer", "topic", "attention", "certainty",
    }  # fmt: skip


def test_a_decoder_that_fits_noise_is_said_to(found):
    key, result = found[0]
    noise = {
        "target": "topic",
        "place": "topic",
        "decoder": "linear",
        "bits": -0.2,
        "right": 0.5,
        "entropy": 1.0,
        "ceiling": 1.0,
    }
    report = mindread.report(TINY, [(key, {**result, "read": [noise]})], {})
    assert any("Overfitting (negative bits): topic by linear" in remark for remark in report.remarks)


def test_every_prior_is_told_beside_its_bound(found):
    told = found[0][1]["language_model"]
    assert list(told) == ["plain", "prior", "whole", "bound", "bound, whole"] == list(found[0][1]["retrieval"])
    rows = mindread.report(TINY.model_copy(update={"at": (8, 10.0)}), quieter(found), {}).wanted
    ratios = [row for row in rows if "prior" in row["what"]]
    assert [row["found"] for row in ratios] == ["1.50 (the language itself: 2.50)", "2.00 (the language itself: 3.00)"]
    assert [row["met"] for row in ratios] == [False, True]


def quieter(found):
    """The cells as if they had been recorded at 0 dB, with priors of known worth."""
    told = {"plain": 1.0, "prior": 1.5, "whole": 2.0, "bound": 2.5, "bound, whole": 3.0}
    return [
        ({**key, "snr_db": 0.0}, {**result, "language_model": told}) for key, result in found if "retrieval" in result
    ]


def test_the_right_sequence_is_found_by_what_was_decoded():
    symbols = torch.arange(20)[:, None]
    certain = torch.full((20, 1, 20), -9.0).scatter(-1, symbols[..., None], 0.0)
    assert retrieved(certain, symbols, 20) == 1.0
    assert retrieved(-certain, symbols, 20) == 0.0
