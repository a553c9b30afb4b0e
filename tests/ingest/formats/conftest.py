"""What every reader that MNE has a counterpart of is held against."""

import numpy as np
import pytest

from neuroloom.ingest import Signal

TO_SI = {"uV": 1e-6}


@pytest.fixture
def same_as_mne():
    """A function that compares every sample of every channel of a gapless Recording with MNE's, in SI units."""

    def compare(recording, raw, *, rtol=1e-9):
        signals = [stream for stream in recording.streams if isinstance(stream, Signal)]
        names = [name for signal in signals for name in signal.channel_names]
        assert sorted(names) == sorted(raw.ch_names)
        for signal in signals:
            ours = np.vstack(signal.values()) * TO_SI.get(signal.unit, 1.0)
            theirs = raw.get_data(picks=list(signal.channel_names)).T
            assert ours.shape == theirs.shape
            assert np.allclose(ours, theirs, rtol=rtol, atol=1e-30), signal.name
            assert signal.rate_hz == pytest.approx(raw.info["sfreq"], rel=1e-12)

    return compare
