"""What the pages say, read as text."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from matplotlib.figure import Figure

from neuroloom.ingest import CrossCheck
from neuroloom.pipeline.review import write_compare, write_index, write_run, write_session
from neuroloom.pipeline.review.drifting import drift_picture
from neuroloom.pipeline.review.headmap import head_maps
from neuroloom.pipeline.review.run_folder import RunView
from neuroloom.pipeline.review.run_scores import ScoreRow, ScoreValue
from neuroloom.pipeline.review.scores import draw_scores, is_cut
from neuroloom.pipeline.review.spectra import spectrum
from neuroloom.pipeline.review.spikes import unit_table
from neuroloom.pipeline.review.views import DropRow, IndexView, QuarantineRow, RunRow, SessionRow

from .example import EEG_NAMES, FLAT, NOISY, clock_map, eeg, run_folder, session, units

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


def test_several_trainings_together_are_no_baseline_and_are_explained(tmp_path):
    folder = run_folder(tmp_path / "reach")
    assert "Together:" not in words(write_run(folder, tmp_path))
    scores = json.loads((folder / "scores.json").read_text())
    own = [row for row in scores["scores"] if row["model"] == "network"]
    scores["scores"] += [row | {"model": "together", "value": row["value"] + 0.02} for row in own]
    (folder / "scores.json").write_text(json.dumps(scores))
    seen = words(write_run(folder, tmp_path))
    assert "above every baseline in 4 of 4 rows of bits per spike" in seen
    assert "Together: what its trainings from several seeds expect, averaged" in seen


def test_a_run_that_has_just_begun_says_what_is_missing(tmp_path):
    (tmp_path / "new").mkdir()
    assert "Not there yet: config.json, metrics.jsonl, scores.json, topology.toml." in words(
        write_run(tmp_path / "new", tmp_path)
    )


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
    assert "– to –" not in seen  # an interval that is not known is no interval


def test_runs_are_set_side_by_side_with_what_differs(tmp_path):
    one, two = (run_folder(tmp_path / name) for name in ("one", "two"))
    (two / "config.json").write_text(json.dumps({"training": {"steps": 400, "seed": 0}}))
    seen = words(write_compare([one, two], tmp_path))
    assert "Settings that differ" in seen
    assert "training.steps 300 400" in seen
    assert "training.seed" not in seen


def test_a_runs_own_page_shows_it_beside_others_as_the_page_of_several_does(tmp_path):
    one, two = (RunView.read(run_folder(tmp_path / name)) for name in ("one", "two"))
    shown = write_run(one, tmp_path, others=[two])
    both = write_compare([tmp_path / "one", tmp_path / "two"], tmp_path)
    for page in (shown, both):
        assert "gaze R2 0.710 0.660 to 0.760 0.710" in words(page)
        assert "Validation loss over steps; at best one" in page.read_text()
        assert "All settings are the same." in words(page)
    assert 'href="run-two.html"' in shown.read_text()


def test_curves_of_all_that_was_tried_are_drawn(tmp_path):
    folder = run_folder(tmp_path / "reach")
    rows = [{"weights": {"0: features lfp": weight}, "loss": loss} for weight, loss in ((0.0, 0.6), (1.0, 0.4))]
    (folder / "choice.json").write_text(json.dumps({"chosen": 1, "candidates": rows}))
    for number, loss in enumerate((0.6, 0.4)):
        steps = [{"step": step, "validation": loss + 1 / step} for step in (10, 20, 30)]
        (folder / "candidates" / f"{number:02d}").mkdir(parents=True)
        (folder / "candidates" / f"{number:02d}" / "metrics.jsonl").write_text("\n".join(map(json.dumps, steps)))
    assert "Validation loss of 2 candidates over steps; the best of each lie between 0.433 and 0.633." in (
        write_run(folder, tmp_path).read_text()
    )


def test_heads_are_drawn_for_every_band_the_recording_reaches():
    found = spectrum(eeg())
    shown = head_maps(eeg(), found, {FLAT: "flat", NOISY: "noisy"})
    assert shown.alt.startswith("Power over the head from 6 channels, strongest in delta at")
    assert re.search("in alpha at O[12],", shown.alt)
    slow = replace(found, frequencies_hz=found.frequencies_hz[:100], power_FC=found.power_FC[:100])  # 25 Hz at most
    assert "in alpha" in head_maps(eeg(), slow, {}).alt
    assert "beta" not in head_maps(eeg(), slow, {}).alt
    assert head_maps(eeg(), found, dict.fromkeys(EEG_NAMES[:3], "bad")) is None


def drifting(found):
    """The units, 2 µm further up with every second, as sorting tells it."""
    depths = {name: [100.0 * i + 2.0 * k for k in range(20)] for i, name in enumerate(found.unit_names)}
    sizes = {name: [80.0] * 19 + [None] for name in found.unit_names}
    said = {"start_s": 0.0, "stop_s": 20.0, "depth_um": depths, "amplitude_uV": sizes}
    moved = {"times_s": [0, 10, 20], "depths_um": [0.0], "moved_um": [[0.0], [20.0], [40.0]]}
    chain = {
        "band_hz": [300, 6000],
        "reference": "none",
        "drift": {"preset": "dredge", "range_um": 40, "over_time": moved},
    }
    return replace(found, provenance={"over_time": said, "preprocessing": chain})


def test_drift_of_units_is_drawn_where_it_was_measured():
    assert drift_picture(units()) is None
    shown = drift_picture(drifting(units()))
    assert shown.alt.startswith("6 units over the recording; depths stay within 38 µm in the middle unit")
    assert "amplitudes go from 100 to 100 % of their own median" in shown.alt
    assert "how far the probe was found to move" in shown.caption


def test_the_templates_of_our_own_sorting_are_shown():
    found = units()
    table = {key: values for key, values in found.table.items() if key != "template_uV"}
    said = {"template_uV": {name: [0.0, -80.0, 20.0] for name in found.unit_names}}
    rows = unit_table(session(), replace(found, table=table, provenance=said)).rows
    assert [row.template is not None for row in rows] == [True] * 6


def test_the_trials_of_a_search_are_listed_the_best_first(tmp_path):
    folder = run_folder(tmp_path / "reach")
    trials = [{"trial": i, "values": {"size": 8 * i}, "loss": loss} for i, loss in enumerate((0.7, 0.5, None))]
    (folder / "trials.json").write_text(json.dumps({"best": 1, "trials": trials}))
    seen = words(write_run(folder, tmp_path))
    assert "the best of 2 trials" in seen
    assert "8 0.5000 yes 0 0.7000 –" in seen


def test_the_loss_of_trials_is_drawn_over_what_was_varied(tmp_path):
    folder = run_folder(tmp_path / "reach")
    tried = [
        ({"rate": 10.0**-i, "kind": kind}, loss) for i, (kind, loss) in enumerate((("gru", 0.7), ("leaky", 0.4)) * 2)
    ]
    trials = [{"trial": i, "values": values, "loss": loss} for i, (values, loss) in enumerate(tried)]
    (folder / "trials.json").write_text(json.dumps({"best": 1, "trials": trials}))
    page = write_run(folder, tmp_path).read_text()
    assert "Validation loss of 4 trials, from 0.4 to 0.7, over rate, kind." in page


@pytest.mark.parametrize(("values", "is_so"), [((0.2, -46.0), True), ((0.2, -0.9), False), ((-3.0, -46.0), False)])
def test_scores_far_down_are_left_out_only_where_others_are_not(values, is_so):
    assert is_cut(values) is is_so


@pytest.mark.parametrize("content", ["[]", "{", '{"ports": 3}', '{"ports": [{"measures": 1}], "damage": [{}]}'])
def test_a_fidelity_file_that_is_something_else_does_no_harm(tmp_path, content):
    folder = run_folder(tmp_path / "reach")
    (folder / "fidelity.json").write_text(content)
    assert "reach" in words(write_run(folder, tmp_path))


def index_view(**changed):
    when = datetime(2026, 3, 14, 9, 26, tzinfo=UTC)
    rows = {
        "drops": (DropRow(name="a.edf", state="SETTLING", reason="it is growing", when=when),),
        "waiting": {"SETTLING": 1},
        "sessions": (SessionRow(id="sub-01_ses-02", subject="01", start=when, duration_s=61, n_findings=2),),
        "quarantine": (QuarantineRow(name="b.edf", reason="no samples", when=when),),
        "runs": (RunRow(name="reach", state="DONE", metric="bits per spike, spikes", score=0.25),),
    }
    return IndexView(**({"store": "lab", "made": when} | rows | changed))


def test_the_index_tells_what_waits_what_was_refused_and_what_was_made(tmp_path):
    seen = words(write_index(index_view(), tmp_path))
    for told in ("a.edf settling it is growing", "b.edf no samples", "sub-01_ses-02 01", "0.250"):
        assert told in seen


def test_an_empty_index_says_what_to_do(tmp_path):
    seen = words(write_index(index_view(drops=(), waiting={}, sessions=(), quarantine=(), runs=()), tmp_path))
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


def test_a_row_of_a_picture_is_named_by_its_port_first():
    """Sessions have long names, and what is too long is cut at its end."""
    rows = [
        ScoreRow(session=f"sub-{n}_ses-01_task-a-rather-long-one_run-1", port=port, area="V1", metric="R2",
                 values={"network": ScoreValue(value=0.5)})
        for n in ("01", "02") for port in ("gaze", "eeg")
    ]  # fmt: skip
    axes = Figure().add_subplot()
    draw_scores(axes, rows, "R2")
    named = [tick.get_text() for tick in axes.get_yticklabels()]
    assert len(set(named)) == 4
    assert named[0].startswith("gaze · V1 · sub-01_ses-01")
