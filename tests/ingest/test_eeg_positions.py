"""Places on the head by name, and by measurement where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from neuroloom.ingest.eeg_positions import BY_NAME, placed, plain_name, positions_mm
from neuroloom.ingest.streams import Segment, Signal
from neuroloom.ingest.timebase import Timebase


def eeg(*names, **columns):
    return Signal(
        name="eeg",
        modality="eeg",
        channel_names=names,
        unit="uV",
        gain=np.ones(len(names)),
        offset=np.zeros(len(names)),
        segments=(Segment(samples=np.zeros((4, len(names))), timebase=Timebase(rate_hz=100.0, n_samples=4)),),
        table=columns,
    )


@pytest.mark.parametrize(
    ("name", "plain"), [("EEG Fp1-Ref", "fp1"), ("Fc5.", "fc5"), ("T3", "t7"), (" CZ ", "cz"), ("Fp1-Fz", "fp1-fz")]
)
def test_names_are_read_as_people_write_them(name, plain):
    assert plain_name(name) == plain


def test_places_are_right_left_front_and_back_where_the_names_say():
    left, right, front, back, top = positions_mm(placed(eeg("T7", "T8", "Fpz", "Oz", "Cz")))
    assert left[0] < -50 < 50 < right[0]
    assert back[1] < -50 < 50 < front[1]
    assert top[2] > 80


def test_a_name_that_is_no_place_stays_without_one():
    made = placed(eeg("Cz", "E17", "Ch3"))
    assert np.isfinite(positions_mm(made)).all(axis=1).tolist() == [True, False, False]
    assert made.provenance["positions"] == BY_NAME


def test_what_the_file_has_measured_stays():
    measured = eeg("Cz", "Pz", x_mm=(1.0, 2.0), y_mm=(3.0, 4.0), z_mm=(5.0, 6.0))
    assert placed(measured) is measured


def test_a_cap_places_channels_that_are_only_numbered():
    made = placed(eeg("A1", "B32"), "biosemi64")
    assert np.isfinite(positions_mm(placed(eeg("E1", "E2"), "GSN-HydroCel-32"))).all()
    assert not np.isfinite(positions_mm(made)).all()


def test_a_cap_that_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match=r"'cap' is not known; there are .*biosemi64"):
        placed(eeg("Cz"), "cap")
