"""What is computed of a session at ingestion, and how `session.toml` and the store's settings steer it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from neuroloom.ingest import Session
from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.sorters import UnsortedError
from neuroloom.pipeline.drops.ingesting import ingest_path
from neuroloom.pipeline.drops.processing import process
from neuroloom.pipeline.drops.reading import read_session
from neuroloom.pipeline.store import Store

from ..review.example import session, signal

SAMPLE = Path(__file__).parents[3] / "sample_data" / "person"
ASC = "sub-sample_ses-01_task-choice_gaze.asc"
SCREEN = "[screen]\nwidth_px = 1920\nheight_px = 1080\nwidth_cm = 53\nheight_cm = 30\ndistance_cm = 60\n"


@pytest.fixture
def person(tmp_path):
    return Path(shutil.copytree(SAMPLE, tmp_path / "person"))


def ingested(person, tmp_path, settings=""):
    store = Store(tmp_path / "store").create()
    store.settings_file.write_text(settings, encoding="utf-8")
    return Session.open(Path(ingest_path(person, store, sorter=None, in_place=True).file).parent)


def without_events(path):
    """The tracker's own blinks, saccades and fixations taken out of the file."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    own = ("SBLINK", "EBLINK", "SSACC", "ESACC", "SFIX", "EFIX")
    path.write_text("".join(line for line in lines if not line.startswith(own)), encoding="utf-8")


def test_a_trackers_own_events_are_kept_and_not_found_again(person, tmp_path):
    with ingested(person, tmp_path) as session:
        assert [name for name in session.stream_names if "blinks" in name] == ["blinks"]
        assert "made_by" not in session["blinks"].provenance
        assert "gaze saccades" in session.stream_names


def test_events_are_found_where_the_tracker_gave_none(person, tmp_path):
    without_events(person / ASC)
    with ingested(person, tmp_path) as session:
        assert session["gaze saccades"].provenance["made_by"] == "gaze_events"
        assert {"gaze blinks", "gaze fixations"} <= set(session.stream_names)


def test_a_screen_makes_degrees_of_pixels_and_events_are_found_in_them(person, tmp_path):
    without_events(person / ASC)
    note = person / "session.toml"
    note.write_text((note.read_text(encoding="utf-8") if note.is_file() else "") + SCREEN, encoding="utf-8")
    with ingested(person, tmp_path) as session:
        assert session["gaze deg"].unit == "deg"
        assert session["gaze deg"].n_samples == session["gaze"].n_samples
        assert "amplitude_deg" in session["gaze deg saccades"].table
        assert "gaze saccades" not in session.stream_names


def test_a_screen_that_has_no_size_is_refused_by_name(person):
    (person / "session.toml").write_text(SCREEN.replace("= 60", "= 0"), encoding="utf-8")
    with pytest.raises(FormatError, match=r"session.toml: screen.distance_cm: .*greater than 0, found 0"):
        read_session(person)


def test_a_cap_that_is_not_known_is_refused_by_name(person):
    (person / "session.toml").write_text('[eeg]\nmontage = "cap"\n', encoding="utf-8")
    with pytest.raises(FormatError, match=r"session.toml: eeg.montage: .*'cap' is not known; there are"):
        read_session(person)


def test_eeg_gets_places_by_name_and_the_reference_that_was_told(person, tmp_path):
    (person / "session.toml").write_text('[eeg]\nreference = "Cz"\n', encoding="utf-8")
    with ingested(person, tmp_path) as session:
        eeg = session["eeg"]
        assert eeg.provenance["reference"] == "Cz"
        assert np.isfinite(eeg.table["x_mm"]).all()
        assert not any("reference" in note for note in session.quality["eeg"]["notes"])


def test_quality_asks_for_a_reference_nobody_stated(person, tmp_path):
    with ingested(person, tmp_path) as session:
        assert any("[eeg] reference" in note for note in session.quality["eeg"]["notes"])


def test_artefacts_are_marked_and_no_sample_of_the_eeg_is_altered(person, tmp_path):
    raw = read_session(person)["eeg"].values()
    with ingested(person, tmp_path) as session:
        assert session["eeg artefacts"].provenance["source"] == "eeg"
        np.testing.assert_array_equal(session["eeg"].values()[0], raw[0])


def test_cleaned_eeg_is_added_only_where_asked_for(person, tmp_path):
    pytest.importorskip("mne_icalabel", reason="pip install neuroloom[ica]")
    with ingested(person, tmp_path, "[ingest]\nica = true\n") as session:
        assert session["eeg clean"].provenance["replaces"] == "eeg"
        assert session["eeg clean"].n_samples == session["eeg"].n_samples


def test_pixels_that_the_tracker_tells_need_not_be_said_again(person, tmp_path):
    asc = person / ASC
    text = asc.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines(keepends=True) if "_COORDS" not in line]
    first = next(k for k, line in enumerate(lines) if line.startswith("START"))
    time_ms = lines[first].split()[1]
    lines.insert(first, f"MSG\t{time_ms} DISPLAY_COORDS 0 0 1279 1023\n")
    asc.write_text("".join(lines), encoding="utf-8")
    note = person / "session.toml"
    said = note.read_text(encoding="utf-8") if note.is_file() else ""
    note.write_text(said + "[screen]\nwidth_cm = 40\nheight_cm = 30\ndistance_cm = 60\n", encoding="utf-8")
    with ingested(person, tmp_path) as session:
        assert session["gaze deg"].provenance["width_px"] == 1280
        assert session["gaze deg"].provenance["distance_cm"] == 60


def test_pixels_that_nobody_tells_are_asked_for(person, tmp_path):
    asc = person / ASC
    lines = [line for line in asc.read_text(encoding="utf-8").splitlines(keepends=True) if "_COORDS" not in line]
    asc.write_text("".join(lines), encoding="utf-8")
    note = person / "session.toml"
    said = note.read_text(encoding="utf-8") if note.is_file() else ""
    note.write_text(said + "[screen]\nwidth_cm = 40\nheight_cm = 30\ndistance_cm = 60\n", encoding="utf-8")
    store = Store(tmp_path / "store").create()
    result = ingest_path(person, store, sorter=None, in_place=True)
    assert result.state == "quarantined"
    assert "[screen] width_px: the file of gaze does not say; it is wanted" in result.reason


def test_a_recording_whose_sorting_fails_goes_without_and_quality_says_why(monkeypatch):
    def fails(signal):
        raise UnsortedError(f"{signal.name}: simple failed: no peak")

    monkeypatch.setattr("neuroloom.ingest.sorting.sorter_named", lambda name: fails)
    noise = np.random.default_rng(0).normal(0, 10, (6000, 4))
    probe = signal("probe", "wideband", [(0.0, noise)], 6000.0, ["a", "b", "c", "d"], "uV")
    made = process(session(streams=(probe,), clock_maps=(), quality={}), sorter="simple")
    assert [stream.name for stream in made.streams] == ["probe", "probe lfp"]
    assert any("not sorted: probe: simple failed: no peak" in note for note in made.quality["probe"]["notes"])


def test_what_nothing_reads_is_told_beside_what_was_read(person, tmp_path):
    (person / "spikes.mat").write_bytes(b"MATLAB 7")
    (person / ".hidden").touch()
    assert ingested(person, tmp_path).sources[0]["unread"] == ["spikes.mat"]
