"""Tables of events that several streams share, as `neuroloom export` writes them."""

import json

import numpy as np
import pytest

from neuroloom.ingest import Events, Intervals, read

TABLE = (
    "onset\tduration\tstream\ttrial_type\tnumber\tright\n"
    "0.5\t0.1\tmarkers\tgo\t007\tn/a\n"
    "0.5\t1.5\ttrials\ttrials/go\tn/a\ttrue\n"
    "2.5\tn/a\tmarkers\tstop\t1\tn/a\n"
)
MARKERS = {"kind": "events", "modality": "sync", "columns": {"duration_s": "number", "number": "text"}}
TRIALS = {"kind": "intervals", "modality": "trials", "led_by": "trials/", "columns": {"right": "bool"}}


def streams(folder, told, table=TABLE):
    path = folder / "sub-01_task-rest_events.tsv"
    path.write_text(table)
    path.with_suffix(".json").write_text(json.dumps({"stream": told}))
    return read(path)[0].streams


def test_rows_are_parted_by_stream_with_their_own_columns_and_types(tmp_path):
    markers, trials = streams(tmp_path, {"Streams": {"markers": MARKERS, "trials": TRIALS}})
    assert isinstance(markers, Events)
    assert isinstance(trials, Intervals)
    assert (markers.name, markers.modality, markers.labels) == ("markers", "sync", ("go", "stop"))
    assert markers.table["number"] == ("007", "1")
    assert np.array_equal(markers.table["duration_s"], [0.1, np.nan], equal_nan=True)
    assert (trials.labels, trials.bounds_s.tolist(), trials.table) == (("go",), [[0.5, 2.0]], {"right": (True,)})


@pytest.mark.parametrize(
    "told",
    [
        None,
        "markers and trials",
        {"Streams": {"markers": MARKERS}},
        {"Streams": {"markers": MARKERS, "trials": {**TRIALS, "kind": "units"}}},
        {"Streams": {"markers": MARKERS, "trials": {**TRIALS, "modality": "../x"}}},
        {"Streams": {"markers": MARKERS, "trials": {**TRIALS, "columns": ["right"]}}},
        {"Streams": {"markers": MARKERS, "trials": {**TRIALS, "columns": {"left": "bool"}}}},
    ],
)
def test_a_table_whose_json_does_not_tell_all_of_it_is_one_stream(told, tmp_path):
    (events,) = streams(tmp_path, told)
    assert (events.name, len(events.labels)) == ("events", 3)
    assert events.table["stream"] == ("markers", "trials", "markers")
