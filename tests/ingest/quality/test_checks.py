"""What every file of `ingest/quality/` promises, and that a new file there is a check."""

import importlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from neuroloom.ingest import quality as folder
from neuroloom.ingest.quality import Finding, checks, late, quality
from neuroloom.ingest.streams import Events, Intervals, Segment, Signal, Units
from neuroloom.ingest.timebase import Timebase, Timestamps

NEW_CHECK = """
from neuroloom.ingest.quality import Finding
TITLE = "counts channels"
def applies(stream):
    return hasattr(stream, "channel_names")
def check(stream):
    return Finding(values={"n_channels": len(stream.channel_names)})
"""


def sampled(modality, unit="uV", regular=True):
    samples = np.random.default_rng(0).standard_normal((2_000, 3)) * 20
    times = Timebase(rate_hz=500.0, n_samples=2_000) if regular else Timestamps(times_s=np.arange(2_000) / 500)
    return Signal(
        name=modality,
        modality=modality,
        segments=(Segment(samples=samples, timebase=times),),
        channel_names=("a", "b", "c"),
        unit=unit,
        gain=np.ones(3),
        offset=np.zeros(3),
    )


STREAMS = (
    sampled("eeg"),
    sampled("wideband"),
    sampled("gaze", unit="deg", regular=False),
    sampled("pupil", unit="a.u."),
    sampled("sync", unit="a.u."),
    replace(sampled("emg"), table={"bad_in_file": (False, True, False)}),
    Events(name="events", times_s=np.array([1.0]), labels=("go",)),
    Intervals(name="trials", bounds_s=np.array([[0.0, 1.0]]), labels=("1",)),
    Units(name="units", unit_names=("u0", "u1"), spike_times_s=(np.array([0.1, 0.2]), np.array([]))),
)


@pytest.mark.parametrize("name", checks())
def test_every_check_says_what_it_looks_for_and_gives_findings(name):
    check = checks()[name]
    fitting = [stream for stream in STREAMS if check.applies(stream)]
    assert check.TITLE
    assert fitting
    for stream in fitting:
        finding = check.check(stream)
        assert isinstance(finding, Finding)
        assert set(finding.bad_channels) <= set(getattr(stream, "channel_names", ()))


def test_quality_of_every_kind_of_stream_is_json():
    found = json.loads(json.dumps(quality(STREAMS), allow_nan=False))
    assert list(found) == [stream.name for stream in STREAMS]
    assert found["events"] == {"bad_channels": [], "reasons": {}, "notes": []}
    assert found["units"]["units"]["n_units"] == 2


def test_empty_streams_are_judged_without_error():
    empty = [s.between(100, 200) for s in STREAMS]
    assert json.dumps(quality(empty), allow_nan=False)


def test_a_new_file_in_the_folder_is_a_check(tmp_path, monkeypatch):
    (tmp_path / "channel_count.py").write_text(NEW_CHECK)
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    checks.cache_clear()
    try:
        assert quality([STREAMS[0]])["eeg"]["channel_count"] == {"n_channels": 3}
    finally:
        checks.cache_clear()
        sys.modules.pop("neuroloom.ingest.quality.channel_count", None)


def test_channels_that_the_file_calls_bad_are_bad_in_its_words():
    table = {"bad_in_file": (False, True, True), "status_description": ("", "loose", "")}
    found = quality([replace(sampled("eeg"), table=table)])["eeg"]
    assert found["bad_channels"] == ["b", "c"]
    assert found["reasons"] == {"b": ["said by the file: loose"], "c": ["said by the file"]}


def test_values_beyond_anything_measured_make_a_channel_bad():
    """Bytes that are no float32, as of a recording whose header counts its channels wrongly."""
    samples = np.random.default_rng(0).normal(0, 10, (500, 3)).astype(np.float32)
    samples[7, 1] = -9.3e36
    samples[:, 2] += 3e5  # an offset of 0.3 V is possible
    base = Timebase(rate_hz=250.0, n_samples=500)
    signal = Signal(
        name="eeg", modality="eeg", segments=(Segment(samples=samples, timebase=base),), unit="uV",
        channel_names=("A", "B", "C"), gain=np.ones(3), offset=np.zeros(3),
    )  # fmt: skip
    found = quality([signal])["eeg"]
    assert found["reasons"]["B"][0] == "reaches 9.3e+36 uV, more than can be measured; its bytes may be no numbers"
    assert found["bad_channels"] == ["B"]


def test_what_outlasts_its_own_device_is_told():
    """2,000 samples at 500 Hz: 4 s. A device without signals is held against all of them."""
    at_s = np.array([1.0, 4.5, 6.0])
    eeg, gaze = replace(sampled("eeg"), device="cap"), replace(sampled("gaze", "px"), device="eyes")
    longer = Segment(samples=np.zeros((4_000, 3)), timebase=Timebase(rate_hz=500.0, n_samples=4_000))
    gaze = replace(gaze, segments=(longer,))
    streams = (
        eeg,
        gaze,
        Events(name="triggers", times_s=at_s, labels=("a", "b", "c"), device="cap"),
        Events(name="messages", times_s=at_s, labels=("a", "b", "c"), device="eyes"),
        Intervals(name="log", bounds_s=np.array([[0.0, 30.0], [9.5, 10.0]]), labels=("x", "y"), device="task"),
        Units(name="sorted", unit_names=("u", "v"), spike_times_s=(at_s, np.empty(0)), device="cap"),
    )
    assert late(streams) == {
        "triggers": "1 of 3 lie after the last sample, up to 2 s: kept as they are",
        "log": "1 of 2 lie after the last sample, up to 1.5 s: kept as they are",
        "sorted": "1 of 3 lie after the last sample, up to 2 s: kept as they are",
    }
    assert late(streams[2:]) == {}
