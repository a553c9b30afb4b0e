"""A recorded teacher goes the road of every recording, and what comes out is held against the truth kept aside."""

import json
from typing import get_args

import numpy as np
import pytest
import torch

from neuroloom.ingest.session import Session
from neuroloom.models.teachers import module
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.drops.in_place import ingest_paths
from neuroloom.pipeline.store import Store, StoreError
from neuroloom.pipeline.studies import mindread
from neuroloom.pipeline.studies._session_lessons import of_session
from neuroloom.pipeline.synthetic import teacher_recording
from neuroloom.pipeline.synthetic.synthesis import ElectrodeConfig
from neuroloom.pipeline.synthetic.teacher_recording import DeviceConfig, RecordingConfig, record_teacher

TINY = {
    "kind": "hidden_markov", "n_symbols": 6, "n_topics": 2, "successors": 2, "width": 16, "blocks": 1, "heads": 2,
    "context": 12, "steps": 3, "batch": 4,
}  # fmt: skip
ASKED = RecordingConfig(
    name="tiny",
    subject="t01",
    sequences=150,
    length=12,
    teacher=TINY,
    electrodes=(
        DeviceConfig(name="probe", n_channels=3, snr_db=10.0),
        DeviceConfig(name="threads", kind="spikes", n_channels=2, spikes_per_step=1.0),
    ),
)
SESSION = "sub-t01_ses-01_task-reading"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    place = Store.here(tmp_path_factory.mktemp("store"))
    drop = record_teacher(ASKED, place)
    (result,) = ingest_paths([drop], place, sorter=None)
    assert result["state"] == "ingested", result["reason"]
    return place


@pytest.fixture(scope="module")
def session(store):
    with Session.open(store.latest(SESSION)) as opened:
        yield opened


@pytest.fixture(scope="module")
def truth(store):
    return dict(np.load(store.run_folder("tiny") / teacher_recording.TRUTH_NUMBERS, allow_pickle=False))


@pytest.fixture(scope="module")
def lessons(store):
    return of_session(SESSION, {"electrodes": ("probe", "threads"), "test": 0.2}, store)


def test_every_device_is_carried_to_the_clock_of_the_behaviour_within_a_millisecond(session, store):
    told = json.loads((store.run_folder("tiny") / teacher_recording.TRUTH).read_text())
    zero_s = teacher_recording.step_times_s(ASKED)[0] - session["shown"].times_s[0]
    maps = {clock.source: clock for clock in session.clock_maps}
    for name in ("probe", "threads"):
        clock = teacher_recording.DeviceClock(**told["clocks"][name])
        true_s = np.array([4.0, 20.0, 38.0])
        assert maps[f"tiny_{name}"].seconds(clock.seconds(true_s)) == pytest.approx(true_s - zero_s, abs=1e-3)


def test_what_was_shown_and_answered_comes_back(lessons, truth):
    n = len(lessons.inputs)
    assert n == 120
    assert np.array_equal(lessons.inputs, truth["shown"][:n])
    assert np.array_equal(lessons.answers_NT, truth["answered"][:n])


def test_the_last_trials_are_kept_for_the_test(lessons, truth):
    assert np.array_equal(lessons.test_inputs, truth["shown"][-30:])


def test_electrodes_are_read_at_their_steps(lessons, truth):
    probe = lessons.recorded_NTK[..., :3].reshape(-1, 3)
    clean = truth["clean_probe"][: len(probe)]
    assert 10 * np.log10(clean.var(axis=0) / (probe - clean).var(axis=0)) == pytest.approx(np.full(3, 10.0), abs=1.0)


def test_spikes_are_counted_in_their_steps(lessons, truth):
    counts = lessons.recorded_NTK[..., 3:].reshape(-1, 2)
    rate = truth["clean_threads"][: len(counts)]
    assert counts.mean(axis=0) == pytest.approx(rate.mean(axis=0), rel=0.1)
    assert np.corrcoef(counts[:, 0], rate[:, 0])[0, 1] > 0.3


def test_a_session_has_no_oracle(lessons):
    assert lessons.oracle is None
    with pytest.raises(ValueError, match="is a recording; only a model can tell the clean state"):
        lessons.clean_state(torch.arange(3))


def test_a_stream_that_is_not_there_is_named(store):
    with pytest.raises(ConfigError, match="no signal named 'eeg'; there are: probe"):
        of_session(SESSION, {"electrodes": ("eeg",)}, store)


def test_nothing_of_the_truth_lies_in_the_drop(store):
    assert not [path for path in store.inbox.rglob("*") if "truth" in path.name or "clean" in path.name]


def test_a_name_is_used_once(store):
    with pytest.raises(StoreError, match="is there already"):
        record_teacher(ASKED, store)


def test_a_setting_the_teacher_does_not_have_is_named(tmp_path):
    asked = ASKED.model_copy(update={"teacher": {**TINY, "layers": 3}})
    with pytest.raises(ConfigError, match="layers: no such setting; known here: n_symbols"):
        record_teacher(asked, Store.here(tmp_path))


@pytest.mark.parametrize("kind", get_args(ElectrodeConfig.model_fields["kind"].annotation))
def test_every_kind_of_electrodes_is_dropped(tmp_path, kind):
    asked = ASKED.model_copy(update={"sequences": 3, "electrodes": (DeviceConfig(kind=kind, n_channels=2),)})
    drop = record_teacher(asked, Store.here(tmp_path))
    assert f"[[{'units' if kind == 'spikes' else 'signals'}]]" in (drop / "tiny_probe.toml").read_text()


def test_a_recording_that_fails_leaves_nothing_and_can_be_made_again(tmp_path, monkeypatch):
    store, asked = Store.here(tmp_path), ASKED.model_copy(update={"sequences": 3})
    with monkeypatch.context() as patched:
        patched.setattr(teacher_recording, "_write_units", lambda *given: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            record_teacher(asked, store)
    assert list(store.inbox.iterdir()) == list(store.runs.iterdir()) == []
    assert record_teacher(asked, store).is_dir()


def test_a_teacher_made_in_python_is_recorded(tmp_path):
    store = Store.here(tmp_path)
    asked = RecordingConfig(name="mine", sequences=4, length=6, electrodes=(DeviceConfig(n_channels=2, layers=("1",)),))
    drop = record_teacher(asked, store, teacher=module.example())
    assert (drop / "mine_probe.toml").is_file()
    told = json.loads((store.run_folder("mine") / teacher_recording.TRUTH).read_text())
    assert (told["asked"]["teacher"], told["teacher"]["name"]) == ({"kind": "module"}, "module")


def test_two_devices_cannot_share_a_name():
    with pytest.raises(ValueError, match="devices named probe, probe; names that differ"):
        RecordingConfig(electrodes=(DeviceConfig(), DeviceConfig()))


def test_a_sessions_electrodes_can_be_read(store):
    settings = mindread.Settings(
        teacher={"session": SESSION, "electrodes": ("probe",)}, sequences=100, seeds=1, channels=(3,), snr_db=(10.0,),
        at=(3, 10.0),
    )  # fmt: skip
    lessons = mindread.opened(settings, store)
    result, control = mindread.solve(lessons, settings, mindread.keys(settings))
    assert {one["target"] for one in result["read"]} == {"token", "answer"}
    bits, shuffled = (max(one["bits"] for one in of["read"] if one["target"] == "token") for of in (result, control))
    assert bits > 0.5
    assert shuffled < 0.1
