"""What the pages say, read as text."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from neuroloom.ingest import CrossCheck
from neuroloom.pipeline.review import write_compare, write_index, write_run, write_session
from neuroloom.pipeline.review.views import DropRow, IndexView, QuarantineRow, RunRow, SessionRow

from .example import FLAT, NOISY, clock_map, run_folder, session

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


def words(path):
    """What a reader sees of a page, pictures left out, in one line."""
    html = path.read_text(encoding="utf-8")
    return " ".join(re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]*>", " ", html, flags=re.DOTALL).split())


def test_bad_channels_come_first_with_their_reasons(tmp_path):
    seen = words(write_session(session(), tmp_path))
    assert f"Channel {FLAT} is bad: flat; constant." in seen
    assert f"Channel {NOISY} is bad: noisy" in seen
    assert seen.index("is bad") < seen.index("Streams on one clock")


def test_what_was_measured_is_a_table_and_no_finding(tmp_path):
    seen = words(write_session(session(), tmp_path))
    assert "line 50 hz share" in seen
    assert "samples seen" not in seen[: seen.index("Streams on one clock")]


def test_clocks_are_told_with_residuals_and_a_picture(tmp_path):
    path = write_session(session(), tmp_path)
    assert "34 ppm" in words(path)
    assert "57 matched pulses; the band is the stated residual" in words(path)
    assert path.read_text().count("Residual of 57 matched pulses") == 2


def test_mended_files_and_gaps_are_told(tmp_path):
    seen = words(write_session(session(), tmp_path))
    assert "Mended in reading: the header names 9 channels" in seen
    assert "The file has Used instead" in seen
    assert "1 gap" in seen


def test_a_session_of_nothing_has_a_page(tmp_path):
    empty = session(streams=(), clock_maps=(), sources=(), quality={})
    assert "This session holds no stream." in words(write_session(empty, tmp_path))


def test_a_run_is_set_beside_its_baselines_and_the_truth(tmp_path):
    path = write_run(run_folder(tmp_path / "reach"), tmp_path)
    assert path.name == "run-reach.html"
    seen = words(path)
    assert "above every baseline in 4 of 4 rows of bits per spike, 0 of 1 row of R2" in seen
    assert "0.610 0.560 to 0.660 (80 % of truth)" in seen


def test_a_run_that_has_just_begun_says_what_is_missing(tmp_path):
    (tmp_path / "new").mkdir()
    assert "scores.json is not there yet." in words(write_run(tmp_path / "new", tmp_path))


def test_a_broken_file_of_a_run_is_named(tmp_path):
    folder = run_folder(tmp_path / "reach")
    (folder / "scores.json").write_text("{")
    assert "scores.json cannot be read" in words(write_run(folder, tmp_path))


def with_fidelity(folder, port="choice"):
    numbers = {"copy": 0.7, "person": 0.5, "departure": 0.2, "low": 0.1, "high": 0.3}
    share = {"aspect": "errors", "name": "share of the answer", "what": "left", "departs": True, "tested": True}
    measures = [share | numbers, {"aspect": "agreement", "name": "R2", "copy": None, "tested": False}, "no measure"]
    curves = {"reliability": [[0.1, 0.2, 9], [0.8, None, 9]], "over_time": [[60.0, 0.1], [120.0, 0.3]]}
    common = {"port": port, "session": "sub-01"}
    blows = (("area", "V1"), ("pathway", "V1 -> M1"), ("noise", "1"), ("noise", "much"))
    lost = common | {"lost": 0.2, "low": 0.1, "high": 0.3, "kept": 0.4}
    damage = [lost | {"kind": kind, "what": what} for kind, what in blows]
    ports = [common | {"measures": measures} | curves, 7]
    said = {"ports": ports, "sentences": [f"{port}: it departs."], "damage": damage}
    (folder / "fidelity.json").write_text(json.dumps(said))
    return folder


def test_a_run_is_set_beside_whom_it_was_trained_on(tmp_path):
    seen = words(write_run(with_fidelity(run_folder(tmp_path / "reach")), tmp_path))
    assert "choice: it departs." in seen
    assert "errors share of the answer: left 0.700 0.500 0.200 0.100 to 0.300 yes" in seen


def test_runs_are_set_side_by_side_with_what_differs(tmp_path):
    one, two = (run_folder(tmp_path / name) for name in ("one", "two"))
    (two / "config.json").write_text(json.dumps({"training": {"steps": 400, "seed": 0}}))
    seen = words(write_compare([one, two], tmp_path))
    assert "Settings that differ" in seen
    assert "training.steps 300 400" in seen
    assert "training.seed" not in seen


def test_the_trials_of_a_search_are_listed_the_best_first(tmp_path):
    folder = run_folder(tmp_path / "reach")
    trials = [{"trial": i, "values": {"size": 8 * i}, "loss": loss} for i, loss in enumerate((0.7, 0.5, None))]
    (folder / "trials.json").write_text(json.dumps({"best": 1, "trials": trials}))
    seen = words(write_run(folder, tmp_path))
    assert "the best of 2 trials" in seen
    assert "8 0.5000 yes 0 0.7000 –" in seen


@pytest.mark.parametrize("content", ["[]", "{", '{"ports": 3}', '{"ports": [{"measures": 1}], "damage": [{}]}'])
def test_a_fidelity_file_that_is_something_else_does_no_harm(tmp_path, content):
    folder = run_folder(tmp_path / "reach")
    (folder / "fidelity.json").write_text(content)
    assert "reach" in words(write_run(folder, tmp_path))


def index_view(**changed):
    when = datetime(2026, 3, 14, 9, 26, tzinfo=UTC)
    rows = {
        "drops": (DropRow(name="a.edf", state="SETTLING", reason="it is growing", when=when),),
        "sessions": (SessionRow(id="sub-01_ses-02", subject="01", start=when, duration_s=61, n_findings=2),),
        "quarantine": (QuarantineRow(name="b.edf", reason="no samples", advice="drop it again", when=when),),
        "runs": (RunRow(name="reach", state="DONE", n_sessions=1, metric="bits per spike, spikes", score=0.25),),
    }
    return IndexView(**({"store": "lab", "made": when} | rows | changed))


def test_the_index_tells_what_waits_what_was_refused_and_what_was_made(tmp_path):
    seen = words(write_index(index_view(), tmp_path))
    for told in ("a.edf settling it is growing", "b.edf no samples drop it again", "sub-01_ses-02 01", "0.250"):
        assert told in seen


def test_an_empty_index_says_what_to_do(tmp_path):
    seen = words(write_index(index_view(drops=(), sessions=(), quarantine=(), runs=()), tmp_path))
    assert "Drop files or folders into it" in seen


def hostile_session():
    found = session(subject=HOSTILE, clock=HOSTILE)
    eeg = replace(found.streams[0], channel_names=(HOSTILE, *found.streams[0].channel_names[1:]), name=HOSTILE)
    return replace(found, streams=(eeg, *found.streams[1:]))


@pytest.mark.parametrize("kind", ["session", "run", "index"])
def test_no_name_becomes_markup(tmp_path, kind):
    match kind:
        case "session":
            path = write_session(hostile_session(), tmp_path)
        case "run":
            folder = with_fidelity(run_folder(tmp_path / "run", port=HOSTILE), HOSTILE)
            (folder / "config.json").write_text(json.dumps({HOSTILE: HOSTILE}))
            path = write_run(folder, tmp_path)
        case _:
            drop = DropRow(name=HOSTILE, state=HOSTILE, reason=HOSTILE)
            path = write_index(index_view(drops=(drop,), store=HOSTILE), tmp_path)
    html = path.read_text(encoding="utf-8")
    assert "<img src=x" not in html
    assert "<script>document" not in html
    assert "&lt;img src=x" in html


def bent_map():
    """A tracker that wanders by 3 ms, found piecewise; blinks speak against it, dates for it."""
    return replace(
        clock_map(),
        knots=((0.0, 0.0), (10.0, 3e-3), (20.0, 0.0)),
        method="pulses, piecewise (input = ttl)",
        tried=(("offset", 2.1), ("linear", 0.9), ("piecewise, 2 pieces", 0.3), ("piecewise, 3 pieces", 0.4)),
        notes=("input holds one edge of pulses that last 20.0 ms on ttl",),
        checks=(
            CrossCheck(
                kind="blinks", against="amplifier", verdict="contradicts", lag_ms=412.0, words="Blinks are late."
            ),
            CrossCheck(kind="start times", against="amplifier", verdict="confirms", words="Dates agree."),
        ),
    )


def test_the_drift_model_is_told_with_its_pieces_and_what_was_tried(tmp_path):
    path = write_session(session(clock_maps=(bent_map(),)), tmp_path)
    assert "it wanders by 3 ms, followed in 2 straight pieces" in words(path)
    assert "Above: the 2 pieces, against a straight line." in words(path)
    assert "tracker linear 0.900 ms no tracker piecewise, 2 pieces 0.300 ms yes" in words(path)


def test_evidence_against_a_clock_map_is_a_finding_and_evidence_for_it_is_not(tmp_path):
    seen = words(write_session(session(clock_maps=(bent_map(),)), tmp_path))
    findings, clocks = seen.split("Streams on one clock")
    assert "tracker · Its clock map is contradicted by blinks: Blinks are late." in findings
    assert "Dates agree." not in findings
    assert "tracker amplifier start times confirms Dates agree." in clocks


def test_what_a_reviewer_should_know_of_a_clock_is_a_finding(tmp_path):
    seen = words(write_session(session(clock_maps=(bent_map(),)), tmp_path))
    assert "Input holds one edge of pulses that last 20.0 ms on ttl." in seen
