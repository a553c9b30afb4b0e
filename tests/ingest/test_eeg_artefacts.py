"""Blinks and muscles marked in EEG whose truth is known, and on a real recording beside MNE-Python."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neuroloom.ingest import _blocks
from neuroloom.ingest.eeg_artefacts import eeg_artefacts, is_fit
from neuroloom.ingest.streams import Segment, Signal
from neuroloom.ingest.timebase import Timebase

RATE_HZ = 500.0
CHANNELS = ("EEG Fp1-Ref", "Cz", "Pz", "Oz")
BLINKS_S = np.arange(3.0, 57.0, 4.0)
MUSCLE_S = ((20.0, 21.0), (44.5, 45.5))


def eeg(blinks=True, muscle=True, sign=1.0, rate_hz=RATE_HZ):
    """A minute of rhythm and noise, with blinks of 150 uV in front and bursts above 100 Hz everywhere."""
    times_s = np.arange(0, 60, 1 / rate_hz)
    rng = np.random.default_rng(0)
    values = 5 * rng.standard_normal((len(times_s), len(CHANNELS)))
    values += (15 * np.sin(2 * np.pi * 10 * times_s) * (1 + 0.5 * np.sin(2 * np.pi * 0.1 * times_s)))[:, None]
    for at_s in BLINKS_S if blinks else ():
        values[:, 0] += sign * 150 * np.exp(-(((times_s - at_s) / 0.08) ** 2))
    for start_s, stop_s in MUSCLE_S if muscle else ():
        inside = (times_s >= start_s) & (times_s < stop_s)
        values[inside] += 20 * rng.standard_normal((inside.sum(), len(CHANNELS)))
    return Signal(
        name="eeg",
        modality="eeg",
        channel_names=CHANNELS,
        unit="uV",
        gain=np.ones(len(CHANNELS)),
        offset=np.zeros(len(CHANNELS)),
        segments=(Segment(samples=values, timebase=Timebase(rate_hz=rate_hz, n_samples=len(values))),),
    )


def marked(found, label):
    return found.bounds_s[[one == label for one in found.labels]]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_every_blink_is_marked_around_its_peak(sign):
    bounds = marked(eeg_artefacts(eeg(sign=sign, muscle=False)), "blink")
    assert len(bounds) == len(BLINKS_S)
    assert ((bounds[:, 0] < BLINKS_S) & (bounds[:, 1] > BLINKS_S)).all()
    assert (np.diff(bounds) < 0.5).all()


def test_a_rhythm_without_blinks_has_none():
    assert not len(marked(eeg_artefacts(eeg(blinks=False)), "blink"))


def test_blinks_are_looked_for_beside_the_eyes_only():
    behind = replace(eeg(), channel_names=("Cz", "Pz", "Oz", "O1"))
    found = eeg_artefacts(behind)
    assert not len(marked(found, "blink"))
    assert "blinks_of" not in found.provenance
    assert eeg_artefacts(eeg()).provenance["blinks_of"] == "EEG Fp1-Ref"


def test_a_bad_channel_has_no_say():
    assert not len(marked(eeg_artefacts(eeg(), bad_channels=("EEG Fp1-Ref",)), "blink"))


def test_bursts_of_muscle_are_marked_and_little_else():
    bounds = marked(eeg_artefacts(eeg()), "muscle")
    overlap_s = sum(max(0.0, min(b, d) - max(a, c)) for a, b in bounds for c, d in MUSCLE_S)
    assert overlap_s > 0.8 * 2.0
    assert np.diff(bounds).sum() < 1.3 * 2.0


def test_a_recording_too_slow_for_muscles_still_has_its_blinks():
    found = eeg_artefacts(eeg(rate_hz=128.0))
    assert set(found.labels) == {"blink"}


def test_blocks_give_what_the_whole_gives(monkeypatch):
    whole = eeg_artefacts(eeg())
    monkeypatch.setattr(_blocks, "BLOCK_VALUES", 1)
    parts = eeg_artefacts(eeg())
    assert parts.labels == whole.labels
    np.testing.assert_allclose(parts.bounds_s, whole.bounds_s, atol=0.02)


def test_what_is_no_eeg_is_refused():
    other = replace(eeg(), modality="aux")
    assert not is_fit(other)
    with pytest.raises(ValueError, match="EEG at 60 Hz or more"):
        eeg_artefacts(other)


@pytest.mark.filterwarnings("ignore")
def test_on_a_real_recording_blinks_are_those_that_mne_finds(recordings_dir):
    import mne

    from neuroloom.ingest import read

    (path,) = sorted(recordings_dir.rglob("test_edf_overlapping_annotations.edf"))
    signal = next(s for s in read(path)[0].streams if s.modality == "eeg")
    found = marked(eeg_artefacts(signal), "blink")
    volts = np.concatenate(signal.channels(("Fp1.",)).values()).T * 1e-6
    raw = mne.io.RawArray(volts, mne.create_info(["Fp1."], signal.rate_hz, "eog"), verbose="error")
    peaks_s = mne.preprocessing.find_eog_events(raw, ch_name="Fp1.", verbose="error")[:, 0] / signal.rate_hz
    met = sum(bool(((found[:, 0] <= t) & (t <= found[:, 1])).any()) for t in peaks_s)
    assert met >= 0.95 * len(peaks_s)
    assert len(found) <= len(peaks_s)
