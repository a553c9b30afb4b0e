"""The quick profiles as a user runs them: what the docs say of them. Ten minutes and more."""

import json

import pytest

from neuroloom.pipeline import studying
from neuroloom.pipeline.store import Store

pytestmark = pytest.mark.slow


def report_of(study, folder):
    store = Store.here(folder)
    name = studying.prepare_study(study, store)
    studying.run_study(name, store)
    return json.loads((store.run_folder(name) / "report.json").read_text())


def test_electrodes_are_worth_more_than_behaviour_and_their_controls_are_not(tmp_path):
    rows = {row["arm"]: row for row in report_of("distill", tmp_path)["tables"]["exchange"]}
    assert rows["electrodes, k=24, 0 dB, N=64"]["M_low"] > 1.2
    assert rows["shuffled, k=24, 0 dB, N=64"]["M"] <= 1.05
    assert rows["surrogate, k=24, 0 dB, N=64"]["M"] <= 1.05
    assert rows["full, N=64"]["M"] > rows["electrodes, k=24, 0 dB, N=64"]["M"]
    assert all(row["M_high"] >= 0.95 for row in rows.values() if row["kind"] == "recorded")


def test_more_is_read_with_less_noise_and_with_a_language_model(tmp_path):
    tables = report_of("mindread", tmp_path)["tables"]
    token = {row["snr_db"]: row for row in tables["noise"] if row["target"] == "token" and row["k"] == 24}
    assert token[-10.0]["bits_high"] < token[0.0]["bits_low"] < token[10.0]["bits_low"]
    loud = {row["decoder"]: row for row in tables["language_model"] if row["k"] == 24 and row["snr_db"] == -10}
    assert loud["prior"]["bits_low"] > loud["plain"]["bits_high"]


def test_devices_are_worth_what_they_see_and_more_people_pay(tmp_path):
    tables = report_of("tradeoff", tmp_path)["tables"]
    worth = {row["what"]: row for row in tables["surcharge"]}
    assert worth["penetrating, 64 recorded"]["M_low"] > worth["surface, 64 recorded"]["M_low"] > 1.1
    assert worth["gaze, 256 recorded"]["M_high"] < 1.1
    assert all(row["M"] <= 1.05 for row in tables["exchange"] if row["control"])
    assert all(abs(row["surface"] - row["kl"]) < 0.05 * row["kl"] for row in tables["fit"])
    assert all(row["gained_low"] > 0 for row in tables["pays"] if row["device"] == "none")


def test_recurrence_tracks_bits_beyond_what_it_was_taught_and_a_single_pass_does_not(tmp_path):
    tables = report_of("convert", tmp_path)["tables"]
    at_96 = {row["what"]: row["right"] for row in tables["lengths_toggle"] if row["length"] == 96}
    assert at_96["toggle to state space"] > 0.9
    assert max(at_96["toggle to attention"], at_96["toggle to convolution"]) < 0.5
    kl = {row["what"]: row["kl"] for row in tables["divergence"]}
    assert kl["transformer to GRU, logits"] < 0.1 < kl["transformer to GRU, hidden"]
