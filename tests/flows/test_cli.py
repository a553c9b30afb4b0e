"""The command line contract: exit codes, documents, one line per mistake."""

import json
import re
from pathlib import Path

import h5py
import pytest

from neuroloom.pipeline.catalog.tables import Drop
from neuroloom.pipeline.drops import custody
from neuroloom.pipeline.store import Store

SESSION = "sub-sample_ses-01_task-choice"


def test_sniff_says_what_a_folder_holds(neuroloom, person):
    said = neuroloom("sniff", person, "--json")
    assert said.code == 0
    assert [result["format"] for result in said.document["results"]] == ["brainvision", "eyelink"]
    assert {"path", "format", "modality", "streams", "reason"} == said.document["results"][0].keys()


def test_sniff_of_something_unknown_exits_3(neuroloom, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    said = neuroloom("sniff", tmp_path / "notes.txt", "--json")
    assert said.code == 3
    assert "notes.txt" in said.document["results"][0]["reason"]


def test_ingest_gives_the_document_of_the_contract(neuroloom, person):
    said = neuroloom("ingest", person, "--json", "--no-pages")
    (result,) = said.document["results"]
    assert said.code == 0
    assert (result["state"], result["session"]) == ("ingested", SESSION)
    assert {"path", "state", "session", "file", "format", "reason", "streams", "sync"} == result.keys()
    stream = {"name", "modality", "n_channels", "n_samples", "rate_hz", "unit", "start_s", "duration_s"}
    assert stream == result["streams"][0].keys()
    sync = {"from", "to", "method", "offset_s", "drift_ppm", "residual_ms", "n_matched", "n_lost", "n_extra"}
    assert sync == result["sync"][0].keys()


def test_the_store_may_be_named_before_the_command_and_after_it_counts(neuroloom, person, tmp_path):
    neuroloom("--store", tmp_path / "before", "ingest", person, "--no-pages")
    assert (tmp_path / "before" / "sessions" / SESSION).is_dir()
    said = neuroloom("--store", tmp_path / "nowhere", "sessions", "--store", tmp_path / "before", "--json")
    assert [row["session"] for row in said.document["sessions"]] == [SESSION]


def test_ingest_draws_the_pages_too(neuroloom, person, tmp_path):
    said = neuroloom("ingest", person)
    page = tmp_path / "store" / "review" / f"{SESSION}.html"
    assert f"page: {page}" in said.out
    assert f'href="{SESSION}.html"' in (page.parent / "index.html").read_text()


def test_ingest_says_what_nothing_reads_and_how_numbers_are_declared(neuroloom, person):
    said = neuroloom("ingest", person, "--no-pages")
    assert "not read" not in said.out
    (person / "notes.txt").write_text("slept badly")
    said = neuroloom("ingest", person, "--no-pages", "--store", person.parent / "two")
    assert "not read: notes.txt" in said.out
    assert "arrays" not in said.out
    (person / "spikes.csv").write_text("t\n1\n")
    said = neuroloom("ingest", person, "--no-pages", "--store", person.parent / "three")
    assert "spikes.csv" in said.out
    assert "`arrays` in docs/formats.md" in said.out


def test_ingest_again_says_already_and_exits_0(neuroloom, person):
    neuroloom("ingest", person, "--no-pages")
    said = neuroloom("ingest", person, "--json", "--no-pages")
    assert (said.code, said.document["results"][0]["state"]) == (0, "already")


def test_one_bad_recording_stops_no_other_and_exits_3(neuroloom, person, tmp_path):
    (tmp_path / "bad.vhdr").write_text("Brain Vision Data Exchange Header File Version 1.0\n")
    said = neuroloom("ingest", tmp_path / "bad.vhdr", person, "--json", "--no-pages")
    assert said.code == 3
    assert [result["state"] for result in said.document["results"]] == ["quarantined", "ingested"]


def test_sessions_show_and_verify_know_the_session(neuroloom, person):
    neuroloom("ingest", person, "--no-pages")
    (row,) = neuroloom("sessions", "--json").document["sessions"]
    assert (row["session"], row["version"], row["subject"]) == (SESSION, "v001", "sample")
    shown = neuroloom("show", SESSION, "--json").document
    assert shown["quality"]["eeg"]["bad_channels"] == ["T7", "F8"]
    verified = neuroloom("verify", "--json")
    assert (verified.code, verified.document["results"][0]["sound"]) == (0, True)


def test_show_says_what_the_clocks_rest_on_and_what_else_speaks_for_them(neuroloom, person):
    neuroloom("ingest", person, "--no-pages")
    told = neuroloom("show", SESSION).out
    assert "pulses, linear (input = markers S  1)" in told
    assert "    start times: confirms. The devices' own start times agree" in told
    assert "    held-out error: offset " in told


def test_verify_names_the_damaged_dataset_and_exits_1(neuroloom, person, tmp_path):
    neuroloom("ingest", person, "--no-pages")
    path = tmp_path / "store" / "sessions" / SESSION / "v001" / "session.nwb"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    said = neuroloom("verify", SESSION, "--json")
    (result,) = said.document["results"]
    assert (said.code, result["sound"]) == (1, False)
    assert result["damage"][0]["file"] == "session.nwb"
    assert result["damage"][0]["dataset"].startswith("/")


def test_quarantine_lists_and_retries(neuroloom, person):
    (person / "session.toml").write_text("subjekt = 1\n")
    neuroloom("ingest", person, "--no-pages")
    (entry,) = neuroloom("quarantine", "--json").document["quarantine"]
    assert "subjekt" in entry["reason"]
    (person / "session.toml").write_text('subject = "sample"\n')
    again = neuroloom("quarantine", "retry", entry["id"], "--json")
    assert again.document["results"][0]["state"] == "ingested"
    assert neuroloom("quarantine", "--json").document["quarantine"] == []


def test_a_retry_of_a_drop_is_a_document_too(neuroloom, tmp_path):
    store = Store(tmp_path / "store").create()
    (store.inbox / "notes.txt").write_text("slept badly")
    drop = Drop(name="notes.txt", folder=str(store.inbox), files=["notes.txt"])
    custody.quarantine(store, drop, "no format known here recognises it")
    said = neuroloom("quarantine", "retry", "notes.txt", "--json")
    assert said.document == {"retried": "notes.txt", "inbox": str(store.inbox)}
    assert (store.inbox / "notes.txt").read_text() == "slept badly"


def test_a_retry_of_a_file_that_is_gone_keeps_the_entry(neuroloom, person):
    (person / "session.toml").write_text("subjekt = 1\n")
    neuroloom("ingest", person, "--no-pages")
    (entry,) = neuroloom("quarantine", "--json").document["quarantine"]
    person.rename(person.parent / "elsewhere")
    said = neuroloom("quarantine", "retry", entry["id"])
    assert (said.code, f"{person}: is not there any more" in said.err) == (2, True)
    assert neuroloom("quarantine", "--json").document["quarantine"] == [entry]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("show", "sub-99"), "no such session"),
        (("train", "nowhere.toml"), "nowhere.toml"),
        (("evaluate", "nobody"), "no such run"),
        (("quarantine", "retry", "nothing"), "not in quarantine"),
    ],
)
def test_a_mistake_is_one_line_without_a_traceback(neuroloom, person, args, told):
    neuroloom("ingest", person, "--no-pages")
    said = neuroloom(*args)
    assert said.code == 2
    assert told in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert said.out == ""


@pytest.mark.parametrize("args", [("ingest",), ("ingest", "nowhere"), ("sniff", "--colour", "x"), ("nonsense",)])
def test_wrong_use_exits_2(neuroloom, args):
    assert neuroloom(*args).code == 2


def test_without_a_store_the_commands_say_how_to_make_one(neuroloom):
    said = neuroloom("sessions")
    assert said.code == 2
    assert "no store is here" in said.err


def test_doctor_is_well_here(neuroloom):
    said = neuroloom("doctor", "--json")
    assert said.code == 0, said.document
    assert all(row["ok"] for row in said.document["checks"])


def test_doctor_names_a_setting_that_is_wrong(neuroloom, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "neuroloom.toml").write_text("[inbox]\nsettle = 3\n")
    said = neuroloom("doctor", "--json")
    wrong = [row for row in said.document["checks"] if not row["ok"]]
    assert said.code == 1
    assert [row["check"] for row in wrong] == ["settings"]
    assert "settle" in wrong[0]["found"]


RUN = """
sessions = ["sub-sample_ses-01_task-choice"]
length_s = 1.0
steps = 6
inputs = ["eeg", "gaze"]
targets = ["eeg", "gaze"]
area_size = 4
"""


def test_train_evaluate_compare_and_predict(neuroloom, person, tmp_path):
    neuroloom("ingest", person, "--no-pages")
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(RUN + f"seed = {len(name)}\n")
        assert neuroloom("train", tmp_path / f"{name}.toml", "--json").document["run"] == name
        assert neuroloom("evaluate", name, "--json").code == 0
    compared = neuroloom("compare", "one", "two", "--json").document
    assert {"one", "two", "one ridge", "two mean"} <= compared["rows"][0]["scores"].keys()
    assert "Settings that differ" in Path(compared["page"]).read_text()
    more = ("--against", "dense,gru", "--seeds", "2", "--baselines", "mean,kalman", "--forward-s", "0.1", "--pathways")
    said = neuroloom("evaluate", "one", *more, "--json").document
    assert {row["model"] for row in said["scores"]} == {"network", "together", "mean", "kalman", "dense", "gru"}
    assert {row["metric"] for row in said["scores"]} == {"R2", "forward R2"}
    assert {"source", "target", "share", "lesion", "carries"} <= said["pathways"][0].keys()
    told = neuroloom("evaluate", "one", "--pathways", "--mechanism").out
    assert "hypothesis about the brain" in told
    assert re.search(rf"{SESSION}: \d+ fixed points? found", told)
    repeats = neuroloom("evaluate", "one", "--baselines", "average", "--json").document["repeatable"]
    assert all(row["share"] is None or row["share"] <= 1 for row in repeats)
    assert {row["port"] for row in repeats} >= {"gaze"}
    assert neuroloom("evaluate", "one", "--against", "lstm").code == 2
    kept = neuroloom("fidelity", "one", "--against", "two", "--noise", "1", "--json").document
    assert {port["port"] for port in kept["ports"]} <= {"gaze", "trials_choice"}
    assert (kept["against"], bool(kept["sentences"])) == ("two", True)
    assert 'id="fidelity"' in Path(kept["page"]).read_text()
    predicted = neuroloom("predict", "one", SESSION, "--json").document
    assert predicted["file"].endswith(f"predicted-{SESSION}.h5")
    with h5py.File(predicted["file"]) as file:
        assert (file.attrs["bin_s"], file.attrs["start_s"]) == (0.02, pytest.approx(0.0, abs=1.0))
        assert (file["gaze"].attrs["unit"], list(file["gaze"].attrs["columns"])) == ("px", ["x_right", "y_right"])
        assert file["gaze"][:].mean() > 100  # pixels, no standard deviations
        alone = file["gaze"][:]
    neuroloom("predict", "one", SESSION, "--seeds", "2")
    with h5py.File(predicted["file"]) as file:
        assert file.attrs["seeds"] == 2
        assert 0 < abs(file["gaze"][:] - alone).max() < 500
    said = neuroloom("predict", "two", SESSION, "--seeds", "3")
    assert said.code == 2
    assert "two: is not trained from seed 4; `neuroloom evaluate two --seeds 3` trains it from all 3" in said.err


def test_a_run_is_never_overwritten_by_another(neuroloom, person, tmp_path):
    neuroloom("ingest", person, "--no-pages")
    (tmp_path / "one.toml").write_text(RUN)
    neuroloom("train", tmp_path / "one.toml")
    (tmp_path / "one.toml").write_text(RUN.replace("steps = 6", "steps = 7"))
    said = neuroloom("train", tmp_path / "one.toml")
    assert said.code == 2
    assert "another steps" in said.err


def test_a_fault_is_shown_as_a_diff_and_refused_when_strict(neuroloom, person):
    samples = person / f"{SESSION}_eeg.eeg"
    samples.write_bytes(samples.read_bytes() + b"\x00")
    refused = neuroloom("ingest", person, "--strict", "--no-pages", "--json")
    assert refused.code == 3
    assert "a file without faults is wanted" in refused.document["results"][0]["reason"]
    assert neuroloom("ingest", person, "--no-pages").code == 0
    shown = neuroloom("show", SESSION).out.splitlines()
    assert f"    - {samples.name}: 1 bytes after the last whole sample" in shown
    assert "    + left out" in shown


def test_names_cannot_obey_the_terminal(neuroloom, tmp_path):
    name = "a\x1b[31m.txt"
    (tmp_path / name).write_text("hello")
    said = neuroloom("sniff", tmp_path / name)
    assert "\x1b" not in said.out
    assert json.dumps(name)[1:-1].split("\\")[0] in said.out


def test_amend_affected_and_reingest(neuroloom, person):
    neuroloom("ingest", person, "--no-pages")
    found = neuroloom("affected", "--reader", "eyelink", "--json").document
    assert [row["session"] for row in found["sessions"]] == [SESSION]
    again = neuroloom("reingest", "--reader", "eyelink", "--sorter", "none", "--json")
    assert [row["state"] for row in again.document["results"]] == ["unchanged"]
    assert again.document["runs"] == []
    amended = neuroloom("amend", SESSION, "--subject", "08", "--why", "wrong code", "--json").document
    assert (amended["session"], amended["was"]) == ("sub-08_ses-01_task-choice", SESSION)
    assert neuroloom("affected").code == 2


def test_init_makes_a_store_whose_settings_say_what_was_asked(neuroloom, tmp_path):
    said = neuroloom("init", "--time-zone", "Europe/Berlin", "--set", "inbox.settle_s=30", "--mail-to", "a@b", "--json")
    assert said.code == 0
    wanted = {"inbox": {"settle_s": 30}, "schedules": {"time_zone": "Europe/Berlin"}, "alerts": {"mail_to": ["a@b"]}}
    assert said.document["set"] == wanted
    assert (tmp_path / "store" / "inbox").is_dir()
    again = neuroloom("init")
    assert (again.code, "--force" in again.err) == (2, True)


def test_verdicts_are_given_and_shown_in_the_terminal(neuroloom, person):
    session = neuroloom("ingest", person, "--sorter", "none", "--json").document["results"][0]["session"]
    assert neuroloom("verdict", session, "reject", "--note", "asleep", "--by", "anna").code == 0
    said = neuroloom("verdict", session, "accept", "--bad-channels", "eeg:Fz", "--json").document
    assert (said["verdict"], said["bad_channels"]) == ("accept", {"eeg": ["Fz"]})
    assert said["history"][0]["by"] == "anna"
    assert "rejected by anna" in neuroloom("verdict", session).out
    said = neuroloom("verdict", session, "accept", "--good-channels", "eeg:T7", "--json").document
    assert (said["bad_channels"], said["good_channels"]) == ({"eeg": ["Fz"]}, {"eeg": ["T7"]})
    assert "(bad: eeg: Fz)  (good: eeg: T7)" in neuroloom("verdict", session).out
    assert neuroloom("verdict", session, "accept", "--bad-channels", "none", "--json").document["bad_channels"] == {}


def test_a_verdict_on_nothing_is_refused(neuroloom, tmp_path):
    neuroloom("init")
    assert neuroloom("verdict", "sub-99", "accept").code == 2
