"""EEG without eyes: on a head whose sources are known, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neuroloom.ingest.eeg_artefacts import eeg_artefacts
from neuroloom.ingest.eeg_cleaning import CleaningError, cleaned
from neuroloom.ingest.eeg_positions import placed, positions_mm
from neuroloom.ingest.streams import Segment, Signal
from neuroloom.ingest.timebase import Timebase

pytest.importorskip("mne_icalabel", reason="pip install neuroloom[ica]")

CHANNELS = (
    "Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz", "C4", "T8", "P7", "P3", "Pz", "P4", "P8", "O1", "O2",
)  # fmt: skip
RATE_HZ = 256.0


def head(seconds=80.0):
    """19 channels of as many rhythms, with blinks that fall off from the eyes backwards; and the rhythms alone."""
    empty = Signal(
        name="eeg",
        modality="eeg",
        channel_names=CHANNELS,
        unit="uV",
        gain=np.ones(19),
        offset=np.zeros(19),
        segments=(),
    )
    places = positions_mm(placed(empty))
    rng = np.random.default_rng(0)
    n = int(seconds * RATE_HZ)
    rhythms = np.cumsum(rng.laplace(size=(n, 19)), axis=0)
    rhythms -= np.stack([np.convolve(r, np.ones(256) / 256, "same") for r in rhythms.T], axis=1)
    near = np.exp(-(np.linalg.norm(places[:, None] - places[None, :], axis=2) ** 2) / (2 * 40.0**2))
    brain = rhythms @ near.T
    brain *= 10 / brain.std()
    times_s = np.arange(n) / RATE_HZ
    blink = sum(np.exp(-(((times_s - t) / 0.08) ** 2)) for t in np.arange(2, seconds - 2, 3.1))
    eyes_mm = np.array([[-30.0, 85.0, -20.0], [30.0, 85.0, -20.0]])
    falls_off = sum(1 / np.linalg.norm(places - eye, axis=1) ** 2 for eye in eyes_mm)
    seen = brain + 200 * blink[:, None] * falls_off / falls_off.max()
    return placed(with_samples(empty, seen)), brain


def with_samples(signal, values):
    return replace(
        signal, segments=(Segment(samples=values, timebase=Timebase(rate_hz=RATE_HZ, n_samples=len(values))),)
    )


@pytest.fixture(scope="module")
def made():
    recorded, brain = head()
    return recorded, brain, cleaned(recorded)


def test_blinks_are_gone_and_the_rest_is_there(made):
    recorded, brain, clean = made
    wanted = brain - brain.mean(axis=1, keepdims=True)
    before = recorded.values()[0] - recorded.values()[0].mean(axis=1, keepdims=True)
    after = clean.values()[0]
    front = CHANNELS.index("Fp1")
    assert np.std(after[:, front] - wanted[:, front]) < 0.3 * np.std(before[:, front] - wanted[:, front])
    back = CHANNELS.index("Pz")
    assert np.corrcoef(after[:, back], wanted[:, back])[0, 1] > 0.95
    assert eeg_artefacts(recorded).labels.count("blink") > 20
    assert eeg_artefacts(clean).labels.count("blink") < 5


def test_it_says_which_components_were_left_out_and_why(made):
    _, _, clean = made
    said = clean.provenance
    assert said["replaces"] == "eeg"
    assert said["reference"] == "average"
    assert len(said["components"]) == 18
    assert [said["components"][i][0] for i in said["left_out"]] == ["eye blink"]


def test_a_slice_is_the_slice_of_the_whole(made):
    clean = made[2]
    np.testing.assert_allclose(clean.between(10, 10.5).values()[0], clean.values()[0][2560:2688], rtol=1e-5)


def test_a_bad_channel_stays_as_recorded():
    recorded, _ = head(60)
    values = np.asarray(recorded.segments[0].samples).copy()
    values[:, 9] = 500 * np.random.default_rng(1).standard_normal(len(values))
    clean = cleaned(with_samples(recorded, values), bad_channels=("Cz",))
    np.testing.assert_allclose(clean.values()[0][:, 9], values[:, 9], rtol=1e-5)


def test_channels_without_a_place_on_the_head_are_refused():
    recorded, _ = head(60)
    with pytest.raises(CleaningError, match=r"place of 'Fp1' on the head is not known; state a montage"):
        cleaned(replace(recorded, table={}))


def test_a_recording_too_short_for_its_channels_is_refused():
    recorded, _ = head(10)
    with pytest.raises(CleaningError, match=r"2560 samples; 19 channels want 3610"):
        cleaned(recorded)
