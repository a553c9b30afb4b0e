"""Places on a screen as angles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neuroloom.ingest.gaze_geometry import Screen, degrees, is_fit
from neuroloom.ingest.streams import Segment, Signal
from neuroloom.ingest.timebase import Timebase

SCREEN = Screen(width_px=1000, height_px=500, width_cm=50, height_cm=25, distance_cm=50)


def gaze(values, unit="px", names=("x_left", "y_left", "confidence")):
    values = np.asarray(values, dtype=np.float32)
    return Signal(
        name="gaze",
        modality="gaze",
        channel_names=names,
        unit=unit,
        gain=np.ones(len(names)),
        offset=np.zeros(len(names)),
        segments=(Segment(samples=values, timebase=Timebase(rate_hz=100.0, n_samples=len(values))),),
    )


def test_the_middle_is_0_and_the_edge_is_the_angle_of_half_the_screen():
    made = degrees(gaze([[500, 250, 1], [1000, 0, 1]]), SCREEN)
    assert made.unit == "deg"
    assert made.channel_names == ("x_left", "y_left")
    edge = np.degrees(np.arctan([25 / 50, -12.5 / 50]))
    np.testing.assert_allclose(made.values()[0], [[0, 0], edge], atol=1e-5)


def test_lengths_are_taken_from_the_upper_left_corner():
    made = degrees(gaze([[250, 125, 1]], unit="mm"), SCREEN)
    np.testing.assert_allclose(made.values()[0], [[0, 0]], atol=1e-6)


def test_a_lost_eye_looks_nowhere():
    assert np.isnan(degrees(gaze([[1e8, 250, 1]]), SCREEN).values()[0][0, 0])


def test_it_says_what_it_stands_for_and_on_what_screen():
    said = degrees(gaze([[0, 0, 0]]), SCREEN).provenance
    assert said["replaces"] == "gaze"
    assert said["distance_cm"] == 50


def test_only_what_a_slice_asks_for_is_read():
    class Counting:
        shape, dtype, seen = (10, 3), np.dtype(np.float32), 0

        def __getitem__(self, rows):
            made = np.full((10, 3), 500, np.float32)[rows]
            self.seen += len(made)
            return made

    samples = Counting()
    lazy = gaze(np.zeros((10, 3)))
    lazy = replace(lazy, segments=(replace(lazy.segments[0], samples=samples),))
    degrees(lazy, SCREEN).between(0.02, 0.05).values()
    assert samples.seen == 3


@pytest.mark.parametrize("unit", ["deg", "norm", "href"])
def test_gaze_that_is_no_place_on_a_screen_is_refused(unit):
    wrong = gaze([[0, 0, 0]], unit=unit)
    assert not is_fit(wrong)
    with pytest.raises(ValueError, match="px, cm, mm or m"):
        degrees(wrong, SCREEN)


def test_a_screen_without_a_size_is_refused():
    with pytest.raises(ValueError, match=r"distance_cm is 0"):
        replace(SCREEN, distance_cm=0)


@pytest.mark.parametrize(("system", "fits"), [("DACS", True), ("MCS", False), ("image of the scene camera", False)])
def test_places_on_anything_but_the_screen_are_not_fit(system, fits):
    placed = replace(gaze([[500, 250, 1]]), provenance={"coordinates": system})
    assert is_fit(placed) is fits
    if not fits:
        with pytest.raises(ValueError, match=f"lies in {system}; gaze on a screen is wanted"):
            degrees(placed, SCREEN)
