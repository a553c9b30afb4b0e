"""What a notebook shows: short lines, tables in which nothing from a recording acts, and pictures of what is there."""

from dataclasses import replace

import numpy as np
import pytest

from neuroloom.ingest import (
    ClockMap,
    Events,
    Intervals,
    PiecewiseTimebase,
    Recording,
    Segment,
    Session,
    Signal,
    Timebase,
    Timestamps,
    Units,
)  # fmt: skip
from neuroloom.ingest.shown import MOST_ROWS, html_table

HOSTILE = "<script>alert(1)</script>\x1b[2J"


def signal(name="lfp", n_channels=2, channel="ch"):
    parts = [
        Segment(samples=np.ones((100, n_channels)), timebase=Timebase(rate_hz=100.0, n_samples=100, start_s=start_s))
        for start_s in (0.0, 3.0)
    ]
    return Signal(
        name=name, modality="lfp", segments=tuple(parts), unit="uV",
        channel_names=tuple(f"{channel}{i}" for i in range(n_channels)),
        gain=np.ones(n_channels), offset=np.zeros(n_channels), device="probe",
    )  # fmt: skip


EVENTS = Events(name="codes", times_s=np.array([0.5, 2.0]), labels=("go", "stop"))
UNITS = Units(name="units", unit_names=("a", "b"), spike_times_s=(np.array([0.1, 0.2]), np.array([3.0])))
TRIALS = Intervals(name="trials", bounds_s=np.array([[0.0, 1.5]]), labels=("left",), modality="trials")
CLOCK = ClockMap(
    source="probe", target="eeg", offset_s=1.0, drift_ppm=20.0, span_s=(0.0, 4.0), residual_ms=0.25, n_matched=9,
    n_lost=1, n_extra=0, method="pulses",
)  # fmt: skip
RECORDING = Recording(clock="probe", format="arrays", files=(), streams=(EVENTS,))
SESSION = Session(subject="07", clock="eeg", streams=(signal(), EVENTS, UNITS, TRIALS), clock_maps=(CLOCK,))


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (signal(), "<Signal lfp: lfp, 2 channels (ch0, ch1) at 100 Hz, 0.00 to 4.00 s in 2 segments, uV>"),
        (EVENTS, "<Events codes: 2 events, 0.50 to 2.00 s, labels go, stop>"),
        (UNITS, "<Units units: 2 units (a, b), 3 spikes>"),
        (TRIALS, "<Intervals trials: 1 interval, 0.00 to 1.50 s, labels left>"),
        (CLOCK, "<ClockMap probe -> eeg: 0.25 ms, 20.0 ppm, 9 pulses matched, 1 lost, 0 extra>"),
        (signal().segments[1], "<Segment (100, 2) of float64, Timebase(rate_hz=100.0, start_s=3.0, n_samples=100)>"),
        (Timestamps(times_s=np.array([0.0, 1.0, 3.0])), "<Timestamps 3 samples, 0.000 to 4.500 s>"),
        (
            PiecewiseTimebase(knots=((0.0, 0.0), (10.0, 1.0), (20.0, 2.1)), n_samples=20),
            "<PiecewiseTimebase 20 samples, 0.000 to 2.100 s, 2 pieces at 9.52381 Hz>",
        ),
        (RECORDING, "<Recording on the clock of probe (arrays): codes>"),
    ],
)  # fmt: skip
def test_what_is_printed_is_one_line(shown, line):
    assert repr(shown) == line


def test_a_line_stays_short_however_many_channels_there_are():
    assert "and 380 more" in repr(signal(n_channels=384))
    assert len(repr(signal(n_channels=384))) < 150


@pytest.mark.parametrize(
    "shown",
    [
        signal(HOSTILE, channel=HOSTILE),
        Events(name=HOSTILE, times_s=np.zeros(1), labels=(HOSTILE,), table={HOSTILE: (HOSTILE,)}),
        Intervals(name=HOSTILE, bounds_s=np.zeros((1, 2)), labels=(HOSTILE,)),
        Units(name=HOSTILE, unit_names=(HOSTILE,), spike_times_s=(np.zeros(1),)),
        Recording(clock=HOSTILE, format="arrays", files=(), streams=(), repairs=(HOSTILE,)),
        replace(CLOCK, source=HOSTILE, target=HOSTILE, method=HOSTILE, notes=(HOSTILE,)),
        Session(subject=HOSTILE, clock="eeg", streams=(), sources=({"expects": [HOSTILE]},)),
    ],
)  # fmt: skip
def test_nothing_from_a_recording_acts_in_a_notebook(shown):
    html = shown._repr_html_()
    assert "alert(1)" in html
    assert "<script" not in html
    assert "\x1b" not in html


def test_a_session_shows_a_row_per_stream_and_per_clock():
    html = SESSION._repr_html_()
    assert html.count("<tr>") == 1 + 4 + 1 + 1
    assert "<td>0.25</td>" in html


def test_a_long_table_says_how_much_it_leaves_out():
    html = html_table("", ("n",), ((i,) for i in range(1_000_000)), 1_000_000)
    assert f"<td>{MOST_ROWS - 1}</td>" in html
    assert "and 999,940 more" in html


def test_a_session_is_drawn_with_a_row_of_axes_per_stream():
    figure = SESSION.plot()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["lfp, ± 0.25 ms", "codes", "units", "trials"]
    assert figure.axes[0].get_xlim() == (0.0, 4.0)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_gap_is_drawn_as_nothing():
    (drawn,) = SESSION.plot(streams=["lfp"]).axes[0].collections[:1]
    times_s = np.concatenate([path.vertices[:, 0] for path in drawn.get_paths()])
    assert not ((times_s > 1.1) & (times_s < 2.9)).any()


def test_only_the_stretch_and_the_streams_asked_for_are_drawn():
    (axes,) = SESSION.plot(1.0, 3.0, streams=["codes"]).axes
    assert axes.get_xlim() == (1.0, 3.0)
    assert [text.get_text() for text in axes.texts] == [" stop"]


def test_a_stretch_without_length_is_refused():
    with pytest.raises(ValueError, match=r"from 5.0 to 4.0 s there is nothing to draw"):
        SESSION.plot(start_s=5.0)
