from pathlib import Path

import numpy as np
import pytest

from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events


def recording(*names):
    return Recording(
        clock="amplifier",
        format="edf",
        files=(Path("a.edf"),),
        streams=tuple(Events(name=name, times_s=np.array([1.0]), labels=("go",)) for name in names),
    )


def test_stream_by_name():
    assert recording("keys", "lights")["lights"].name == "lights"


def test_wrong_name_lists_the_right_ones():
    with pytest.raises(KeyError, match=r"no stream 'eeg'; it has \['keys'\]"):
        recording("keys")["eeg"]


def test_two_streams_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two streams are named 'keys'"):
        recording("keys", "keys")
