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
