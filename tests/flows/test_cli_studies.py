"""record-teacher and study on the command line."""

import json
import pickle

from neuroloom.pipeline.store import Store
from neuroloom.pipeline.studies import stabilise
from neuroloom.pipeline.studying import CellsError

RECORDING = """
subject = "t01"
sequences = 120
length = 12
[teacher]
kind = "hidden_markov"
n_symbols = 6
n_topics = 2
successors = 2
width = 16
blocks = 1
heads = 2
context = 12
steps = 3
batch = 4
[[electrodes]]
name = "probe"
n_channels = 4
snr_db = 10.0
"""

STUDY = """
seeds = 2
curve = [4, 16, 32]
budgets = [16]
strengths = [10.0]
units = 8
[schooling]
steps = 10
validate_every = 10
batch_size = 8
[teacher]
session = "sub-t01_ses-01_task-reading"
electrodes = ["probe"]
"""


SMALL = """
systems = ["toggle"]
teacher = {channels = 1, units = 12, context = 6, longest_trained = 6, steps = 5}
gains = [0.9]
lengths = [3]
seeds = 1
arms = ["behaviour", "local", "gru"]
units = 8
n_channels = 4
pool = 40
n_test = 10
schooling = {steps = 2}
"""


def test_a_cell_that_fails_is_named_with_the_command_that_goes_on_and_the_others_are_done(
    neuroloom, tmp_path, monkeypatch
):
    solve = stabilise.solve

    def spoiled(bench, settings, keys):
        if keys[0]["arm"] == "local":
            raise ValueError("no more memory")
        return solve(bench, settings, keys)

    config = tmp_path / "small one.toml"
    config.write_text(SMALL)
    monkeypatch.setattr(stabilise, "solve", spoiled)
    failed = neuroloom("study", "stabilise", "--config", config)
    assert failed.code == 3
    assert "1 of 3 failed, the others are done; there is no report until these are, too" in failed.err
    assert "  system toggle, arm local, gain 0.9, length 3: no more memory\n" in failed.err
    assert f"  to go on: neuroloom study stabilise --config '{config}'" in failed.err
    monkeypatch.setattr(stabilise, "solve", solve)
    again = neuroloom("study", "stabilise", "--config", config)
    assert again.code == 0
    assert "3 of 3: system toggle, arm local" in again.err
    assert "arm gru" not in again.err


def test_a_study_that_is_stopped_says_how_to_go_on(neuroloom, tmp_path, monkeypatch):
    solve = stabilise.solve

    def stopped(bench, settings, keys):
        if keys[0]["arm"] == "local":
            raise KeyboardInterrupt
        return solve(bench, settings, keys)

    (tmp_path / "small.toml").write_text(SMALL)
    monkeypatch.setattr(stabilise, "solve", stopped)
    said = neuroloom("study", "stabilise", "--config", tmp_path / "small.toml")
    assert said.code == 130
    going_on = f"neuroloom study stabilise --config {tmp_path / 'small.toml'}"
    assert said.err.splitlines()[-1] == f"stopped with 1 of 3 cells done; to go on: {going_on}"


def test_what_failed_reads_the_same_in_another_process():
    error = CellsError([("arm local", ValueError("no more\nmemory")), ("arm gru", KeyError("x"))], 3)
    said = "there is no report until these are, too: the same again tries these alone; "
    assert str(error).endswith(said + "arm local: no more memory; arm gru: KeyError: 'x'")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - its own


def test_a_recorded_teacher_is_ingested_and_studied_from_its_session(neuroloom, tmp_path):
    (tmp_path / "listener.toml").write_text(RECORDING)
    said = neuroloom("record-teacher", tmp_path / "listener.toml", "--json")
    assert said.code == 0
    assert {"name", "drop", "truth"} == said.document.keys()
    ingested = neuroloom("ingest", said.document["drop"], "--json", "--no-pages", "--sorter", "none")
    assert ingested.document["results"][0]["session"] == "sub-t01_ses-01_task-reading"

    (tmp_path / "from-session.toml").write_text(STUDY)
    studied = neuroloom("study", "distillation", "--config", tmp_path / "from-session.toml", "--json")
    assert studied.code == 0
    arms = {row["arm"].partition(",")[0] for row in studied.document["tables"]["exchange"]}
    assert {"decoded", "shuffled", "surrogate"} <= arms
    assert "nats" in studied.document["tables"]["learning"][0]
    assert {(row["k"], row["snr_db"]) for row in studied.document["tables"]["exchange"]} == {(4, None)}
    assert "grid" not in studied.document["tables"]
    (tmp_path / "long.toml").write_text(STUDY.replace("16, 32]", "16, 4096]"))
    said = neuroloom("study", "distill", "--config", tmp_path / "long.toml")
    assert "long: curve and budgets ask for 4096 sequences; sub-t01_ses-01_task-reading has 84" in said.err

    (tmp_path / "mind.toml").write_text("sequences = 80\nseeds = 1\n" + STUDY[STUDY.index("[teacher]") :])
    read = neuroloom("study", "mindread", "--config", tmp_path / "mind.toml", "--json")
    assert read.document["sentence"].startswith("From its electrodes could be read")
    assert {row["k"] for row in read.document["tables"]["all"]} == {None}
    assert "noise" not in read.document["tables"]
    assert not [one for one in read.document["remarks"] if "capacity" in one]
    page = tmp_path / "store" / "review" / "run-from-session.html"
    assert studied.document["page"] == str(page)
    assert f'href="{page.name}"' in (page.parent / "index.html").read_text()


def test_a_study_that_is_not_there_lists_those_that_are(neuroloom):
    said = neuroloom("study", "telepathy")
    assert said.code == 2
    assert "no study 'telepathy'; there are: convert, distill, mindread, stabilise, tradeoff" in said.err


def test_a_setting_that_is_not_there_is_one_line(neuroloom, tmp_path):
    (tmp_path / "x.toml").write_text("sedes = 3\n")
    said = neuroloom("study", "distill", "--config", tmp_path / "x.toml")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "sedes" in said.err


def test_a_session_that_is_not_there_is_said(neuroloom, tmp_path):
    (tmp_path / "x.toml").write_text(STUDY)
    said = neuroloom("study", "distill", "--config", tmp_path / "x.toml")
    assert said.code == 2
    assert "no such session" in said.err


def test_who_withdrew_consent_is_not_learned_from(neuroloom, tmp_path):
    (tmp_path / "listener.toml").write_text(RECORDING)
    neuroloom("record-teacher", tmp_path / "listener.toml")
    neuroloom("ingest", tmp_path / "store" / "inbox" / "listener", "--no-pages", "--sorter", "none")
    subjects = {"t01": {"consent": {"given": "2020-01-01", "withdrawn": "2021-01-01"}}}
    (tmp_path / "store" / "subjects.json").write_text(json.dumps(subjects))
    (tmp_path / "x.toml").write_text(STUDY)
    said = neuroloom("study", "distill", "--config", tmp_path / "x.toml")
    assert said.code == 2
    assert "consent was withdrawn" in said.err


def test_a_run_without_networks_has_nobody_to_speak(neuroloom, tmp_path):
    Store.here(tmp_path / "store").create()
    said = neuroloom("generate", "nobody")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "no network that speaks" in said.err


def test_studies_are_named_in_the_help(neuroloom):
    said = " ".join(neuroloom("study", "--help").out.replace("│", " ").split())
    assert "STUDY <str> convert, distill, mindread, stabilise or tradeoff; docs/studies.md" in said


def test_a_profile_is_named_in_the_help_and_refused_beside_full(neuroloom):
    assert "default of distill" in " ".join(neuroloom("study", "--help").out.replace("│", " ").split())
    said = neuroloom("study", "distill", "--full", "--profile", "default")
    assert (said.code, "one of them is wanted" in said.err) == (2, True)
    said = neuroloom("study", "distill", "--profile", "vast")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "distill has no profile 'vast'; there are: quick, full, default" in said.err
