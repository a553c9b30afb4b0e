import numpy as np
import pytest

from neuroloom.pipeline.clocks.barcodes import barcodes

LEADS = {"Open Ephys, 10 ms": ((0.01, 0.01), ()), "Open Ephys, 20 ms": ((0.02, 0.02), ()),
         "ONE Core": ((0.01, 0.01, 0.01), (0.01, 0.01, 0.01))}  # fmt: skip


def sent(values, *, lead=(0.01, 0.01), tail=(), bit_s=0.03, every_s=10.0):
    """Rises and falls of a line on which these values are sent, lowest bit first."""
    rises, falls = [], []
    for k, value in enumerate(values):
        at_s, level = 3.0 + k * every_s, 0
        spans = [(1 - i % 2, d) for i, d in enumerate(lead)]
        spans += [(value >> i & 1, bit_s) for i in range(32)] + [(i % 2, d) for i, d in enumerate(tail)]
        for state, lasts_s in [*spans, (0, 0.0)]:
            if state != level:
                (rises if state else falls).append(at_s)
            level, at_s = state, at_s + lasts_s
    return np.array(rises), np.array(falls)


VALUES = [3_141_592_653 + k for k in range(20)]


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("bit_s", [0.0292, 0.03, 0.035])
def test_codes_are_read_as_they_were_sent(lead, bit_s):
    head, tail = LEADS[lead]
    found = barcodes(*sent(VALUES, lead=head, tail=tail, bit_s=bit_s))
    assert found.values == tuple(VALUES)
    assert found.bit_s == pytest.approx(bit_s, rel=1e-3)
    np.testing.assert_allclose(found.times_s, 3.0 + 10.0 * np.arange(20))


def test_a_recording_that_begins_within_a_code_keeps_the_others():
    rises, falls = sent(VALUES)
    assert barcodes(rises[5:], falls[5:]).values == tuple(VALUES[1:])


def test_edges_may_jitter():
    rng = np.random.default_rng(0)
    rises, falls = (edges + rng.normal(0, 3e-4, edges.size) for edges in sent(VALUES))
    assert barcodes(rises, falls).values == tuple(VALUES)


@pytest.mark.parametrize("width_s", [0.005, 0.3])
def test_plain_pulses_are_no_codes(width_s):
    irregular = np.cumsum(np.random.default_rng(0).uniform(0.4, 1.6, 400))
    assert barcodes(irregular, irregular + width_s) is None
    assert barcodes(np.arange(400.0), np.arange(400.0) + width_s) is None


def test_pulses_of_random_width_are_no_codes():
    rng = np.random.default_rng(0)
    irregular = np.cumsum(rng.uniform(0.4, 1.6, 400))
    assert barcodes(irregular, irregular + rng.uniform(0.01, 0.3, 400)) is None
