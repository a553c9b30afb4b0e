"""The commands about runs: what cannot be is said in a line, and what misleads is said beside the numbers."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from neuroloom.flows import artifacts
from neuroloom.ingest import Session
from neuroloom.pipeline.drops.in_place import ingest_paths
from neuroloom.pipeline.runs import preparing, run_config, running
from neuroloom.pipeline.store import Store

SAMPLE = Path(__file__).parents[2] / "sample_data" / "person"
SESSION = "sub-sample_ses-01_task-choice"
RUN = f"""
sessions = ["{SESSION}"]
length_s = 1.0
bin_s = 0.05
steps = 6
inputs = ["eeg", "gaze"]
targets = ["eeg", "gaze"]
area_size = 4
loggers = []
"""


@pytest.fixture(scope="module")
def ingested(tmp_path_factory) -> Path:
    """A store with the sample session."""
    store = Store(tmp_path_factory.mktemp("ingested") / "store").create()
    ingest_paths([SAMPLE], store, sorter=None)
    return store.root


@pytest.fixture(autouse=True)
def in_store(ingested, tmp_path) -> None:
    """What each test begins with; what it trains is its own."""
    shutil.copytree(ingested, tmp_path / "store")


def test_all_that_uses_what_was_recorded_refuses_alike_once_a_consent_has_ended(neuroloom, tmp_path):
    config, subject = tmp_path / "one.toml", tmp_path / "subject.toml"
    config.write_text(RUN)
    subject.write_text("[sample.consent]\ngiven = 2024-02-01\nwithdrawn = 2025-03-01\n")
    assert neuroloom("train", config).code == 0
    said = neuroloom("ingest", subject)
    assert (said.code, said.out) == (0, f"{subject}: ingested subjects\n")
    why = "consent was withdrawn on 2025-03-01; neither it nor a network that learned from it can be used"
    for command in (("train", config), ("evaluate", "one"), ("predict", "one", SESSION), ("fidelity", "one")):
        said = neuroloom(*command)
        assert (said.code, said.out, said.err) == (2, "", f"neuroloom: {SESSION}: {why}\n")


def test_what_is_asked_of_a_run_that_cannot_be_is_one_line(neuroloom, tmp_path):
    (tmp_path / "one.toml").write_text(RUN)
    store = Store(tmp_path / "store")
    preparing.prepare_run(run_config.read_run_config(tmp_path / "one.toml"), store)
    for command in (("evaluate", "one"), ("predict", "one", SESSION), ("fidelity", "one")):
        said = neuroloom(*command)
        assert (said.code, said.err) == (
            2,
            "neuroloom: one: has no network yet; `neuroloom train` with its config makes it, or goes on\n",
        )
    neuroloom("train", tmp_path / "one.toml")
    told = {
        ("evaluate", "one", "--baselines", "rigde"): "no baseline 'rigde'; there are average, glm",
        ("evaluate", "one", "--against", "rewird"): "no network 'rewird' to compare with; there are rewired, rew",
        ("evaluate", "one", "--forward-s", "0.01"): "forward_s is 0.01; from a bin of 0.05 s to below the window's",
        ("evaluate", "one", "--forward-s", "nan"): "forward_s is nan; from a bin of 0.05 s",
        ("predict", "one", "sub-99"): "sub-99: no such session",
    }
    for command, words in told.items():
        said = neuroloom(*command)
        assert (said.code, said.out) == (2, "")
        assert words in said.err
        assert said.err.count("\n") == 1
    session = Session.open(store.latest(SESSION))
    replace(session, subject="99").save(store.sessions / "sub-99_ses-01_task-choice" / "v001")
    said = neuroloom("predict", "one", "sub-99_ses-01_task-choice")
    assert f"one: was trained on {SESSION}, not on sub-99_ses-01_task-choice; a run with start_from" in said.err
    assert "glm: a baseline for none of these targets" in neuroloom("evaluate", "one", "--baselines", "glm").err


def test_a_run_that_is_damaged_is_one_line_that_names_its_file(neuroloom, tmp_path):
    (tmp_path / "one.toml").write_text(RUN)
    neuroloom("train", tmp_path / "one.toml")
    folder = tmp_path / "store" / "runs" / "one"
    whole = {name: (folder / name).read_bytes() for name in ("checkpoint.pt", "config.json", "request.json")}
    damaged = [
        ("checkpoint.pt", whole["checkpoint.pt"][:300], "checkpoint.pt: is damaged, or no checkpoint; a whole"),
        ("checkpoint.pt", b"junk", "checkpoint.pt: is damaged, or no checkpoint; a whole"),
        ("checkpoint.pt", b"", "checkpoint.pt: is damaged, or no checkpoint; a whole"),
        (
            "checkpoint.pt",
            whole["checkpoint.pt"].replace(b"data.pkl", b"data.pkk"),
            "is damaged (RuntimeError: Pytorch",
        ),
        ("config.json", b"[1]", "config.json: holds no table; the settings of a run are wanted"),
        (
            "config.json",
            b"{}",
            "one: config.json, topology.toml and checkpoint.pt make no network (KeyError: 'network')",
        ),
        ("request.json", b'{"stepss": 3}', "request.json: stepss: no such setting (steps?)"),
    ]
    for name, content, words in damaged:
        (folder / name).write_bytes(content)
        said = neuroloom("fidelity", "one")
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert words in said.err
        (folder / name).write_bytes(whole[name])
    (tmp_path / "store" / "runs" / "listener").mkdir()
    said = neuroloom("fidelity", "listener")
    assert "listener: a run in which no network was trained; there are: one" in said.err
    assert "nothing to compare it by" in neuroloom("fidelity", "one", "--against", "one").out


def test_a_training_that_was_stopped_is_scored_as_far_as_it_came_and_said_to_be(neuroloom, tmp_path):
    (tmp_path / "one.toml").write_text(RUN + "[training]\ncheckpoint_every = 2\nvalidate_every = 2\n")
    store = Store(tmp_path / "store")
    preparing.prepare_run(run_config.read_run_config(tmp_path / "one.toml"), store)

    def stop(step, loss):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        running.train_run("one", store, progress=stop)
    remark = "one: its training has not ended (step 5 of 6); this is of the best network so far, of step"
    assert remark in neuroloom("evaluate", "one").err
    assert remark in neuroloom("compare", "one").out
    neuroloom("train", tmp_path / "one.toml")
    assert neuroloom("evaluate", "one").err == ""


def test_scores_that_cannot_be_compared_are_said_to_be(neuroloom, tmp_path):
    texts = {
        "one": RUN,
        "fine": RUN.replace("bin_s = 0.05", "bin_s = 0.1"),
        "other": RUN.replace('targets = ["eeg", "gaze"]', 'targets = ["pupil"]'),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
        neuroloom("train", tmp_path / f"{name}.toml")
        neuroloom("evaluate", name)
    said = neuroloom("compare", "one", "fine", "other", "one", "--json").document
    assert said["runs"] == ["one", "fine", "other"]
    assert said["remarks"][0] == "other shares no score with the others: its sessions or targets are others."
    assert "Not scored on the same data: windows.bin_s is 0.05 in one, 0.1 in fine." in said["remarks"]
    assert all(remark in Path(said["page"]).read_text() for remark in said["remarks"])
    assert neuroloom("compare", "one", "--json").document["remarks"] == []


def test_what_an_estimated_topology_rests_on_is_told_by_train_and_on_the_page(neuroloom, tmp_path):
    (tmp_path / "two.toml").write_text('name = "two"\n[[areas]]\nname = "x_right"\n[[areas]]\nname = "y_right"\n')
    text = RUN.replace("steps = 6", 'steps = 1\ntopology = "two.toml"')
    (tmp_path / "one.toml").write_text(text + '[functional]\nport = "gaze"\nmethod = "lagged"\nlags_s = 0.2\n')
    said = neuroloom("train", tmp_path / "one.toml", "--json").document
    pathways, delays = said["topology_notes"]
    assert pathways.startswith("pathways estimated from what 4 bins of the past tell of the next one")
    assert delays.startswith("delays told of ")
    assert f"  {delays}" in neuroloom("train", tmp_path / "one.toml").out.splitlines()
    assert delays.removeprefix("delays told") in Path(said["page"]).read_text()


def test_each_target_that_is_worse_than_its_mean_is_told_by_train_and_on_the_page(neuroloom, tmp_path):
    """After one step at a rate that is far too high."""
    text = RUN.replace("steps = 6", "steps = 1") + "[training]\nlearning_rate = 1.0\n"
    (tmp_path / "one.toml").write_text(text)
    said = neuroloom("train", tmp_path / "one.toml", "--json").document
    found = {row["port"]: row for row in said["worse_than_mean"]["found"]}
    assert found.keys() == {"eeg", "gaze"}
    assert all(row["value"] < row["mean"] for row in found.values())
    lines = neuroloom("train", tmp_path / "one.toml").out.splitlines()
    warnings = [line.strip() for line in lines if "is predicted worse than by its mean" in line]
    assert len(warnings) == 2
    assert all(line.startswith("warning: at step 1, on validation time, ") for line in warnings)
    page = Path(said["page"]).read_text()
    assert 'id="warnings"' in page
    assert all(line.removeprefix("warning: at step") in page for line in warnings)
    told = neuroloom("evaluate", "one")
    assert "warning: on held-out time, gaze of" in told.out
    assert "On held-out time, gaze of" in Path(said["page"]).read_text()


def test_a_control_that_is_the_network_itself_is_named(neuroloom, tmp_path):
    """In four areas that are nearly all joined nothing can be swapped."""
    (tmp_path / "one.toml").write_text(RUN)
    neuroloom("train", tmp_path / "one.toml")
    told = neuroloom("evaluate", "one", "--against", "rewired,none", "--pathways", "--mechanism").out
    assert "rewired: 100% of its pathways are those of 'four-areas' itself; its lead says little" in told
    assert "none: " not in told
    assert "lead of the network (95 %)" in told
    assert "gaze: R2 of its messages" in told
    page = (tmp_path / "store" / "review" / "run-one.html").read_text()
    assert 'id="inside"' in page
    assert "Good fits can have wrong currents" in page
    assert "fixed point" in page


def test_ctrl_c_is_answered_by_what_goes_on(neuroloom, tmp_path, monkeypatch):
    (tmp_path / "one.toml").write_text(RUN)

    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "train_run", stopped)
    said = neuroloom("train", tmp_path / "one.toml")
    assert (said.code, said.err) == (
        130,
        f"stopped; `neuroloom train {tmp_path / 'one.toml'}` goes on from the last checkpoint\n",
    )


def test_a_search_is_prepared_as_a_document_where_one_is_asked_for(neuroloom, tmp_path):
    (tmp_path / "find.toml").write_text(RUN + "[search]\ntrials = 2\n[search.space]\narea_size = [2, 3]\n")
    said = neuroloom("search", tmp_path / "find.toml", "--prepare", "--json").document
    assert (said["run"], said["prepared"]) == ("find", True)


def test_the_dashboard_is_told_of_targets_that_are_worse_than_their_mean(monkeypatch):
    told = {}
    monkeypatch.setattr(artifacts, "create_markdown_artifact", lambda text, **how: told.update(text=text))
    artifacts.run_page("one", [{"step": 1, "loss": 2.0}], [], ["warning: gaze of sub-01 is worse", "what may help"])
    assert told["text"].startswith("## one\n\n- warning: gaze of sub-01 is worse\n- what may help\n\n![loss over")


def test_a_run_that_was_refused_before_its_first_step_may_be_mended_under_its_name(neuroloom, tmp_path):
    config = tmp_path / "one.toml"
    config.write_text(RUN.replace('targets = ["eeg", "gaze"]', 'targets = ["gazee"]'))
    assert "one: no port 'gazee' in any session; there are" in neuroloom("train", config).err
    config.write_text(RUN)
    assert neuroloom("train", config).code == 0
    config.write_text(RUN.replace("steps = 6", "steps = 7"))  # now there is something to overwrite
    assert "holds a run with another steps; give this one another name" in neuroloom("train", config).err
