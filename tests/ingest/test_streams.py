import numpy as np
import pytest

from neuroloom.ingest.streams import Events, Intervals, Segment, Signal, Units
from neuroloom.ingest.timebase import ClockMap, Timebase

LATER = ClockMap(
    source="eeg",
    target="session",
    offset_s=5.0,
    drift_ppm=1e5,  # a tenth faster: large enough to check by eye
    span_s=(0, 10),
    residual_ms=0,
    n_matched=8,
    n_lost=0,
    n_extra=0,
    method="test",
)


class Unread:
    """Samples that fail the test when more than `most` of them are read."""

    shape = (100, 2)
    dtype = np.dtype(np.int16)

    def __init__(self, most):
        self.most = most

    def __getitem__(self, samples):
        assert samples.stop - samples.start <= self.most
        return np.zeros((samples.stop - samples.start, 2), dtype=np.int16)


def signal(*starts_s, samples=None):
    """10 Hz, ten samples a segment (0..9 and 100..109), in steps of half a microvolt."""
    data = np.arange(10, dtype=np.int16)[:, None] + np.array([0, 100], dtype=np.int16)
    data = data if samples is None else samples
    return Signal(
        name="eeg",
        modality="eeg",
        segments=tuple(
            Segment(samples=data, timebase=Timebase(rate_hz=10, start_s=t, n_samples=data.shape[0])) for t in starts_s
        ),
        channel_names=("Cz", "Pz"),
        unit="uV",
        gain=np.array([0.5, 0.5]),
        offset=np.zeros(2),
    )


def test_between_gives_original_integers_of_that_time():
    (segment,) = signal(0.0).between(0.2, 0.4).segments
    assert segment.samples.dtype == np.int16
    assert segment.samples.tolist() == [[2, 102], [3, 103]]


def test_between_knows_when_it_starts():
    assert signal(0.0).between(0.15, 0.4).segments[0].timebase.start_s == pytest.approx(0.2)


def test_gap_stays_a_gap():
    parts = signal(0.0, 60.0).between(0.8, 60.1).segments
    assert [part.timebase.n_samples for part in parts] == [2, 1]


def test_reads_no_more_than_was_asked_for():
    assert signal(0.0, samples=Unread(most=5)).between(2.0, 2.5).segments[0].samples.shape == (5, 2)


def test_values_are_in_the_unit_of_the_signal():
    (values,) = signal(0.0).between(0.1, 0.2).values()
    assert values.tolist() == [[0.5, 50.5]]


def test_times_move_and_samples_stay():
    (segment,) = signal(1.0).on(LATER).segments
    assert segment.timebase.start_s == pytest.approx(6.1)
    assert segment.timebase.seconds(1) - segment.timebase.seconds(0) == pytest.approx(0.11)
    assert segment.samples is not None


def test_overlapping_segments_are_refused():
    with pytest.raises(ValueError, match="starts before the one before it has ended"):
        signal(0.0, 0.5)


def test_names_and_channels_must_match():
    with pytest.raises(ValueError, match="2 channel names but samples of 3 channels"):
        signal(0.0, samples=np.zeros((10, 3), dtype=np.int16))


def test_events_between():
    events = Events(name="keys", times_s=np.array([1.0, 2.0, 3.0]), labels=("a", "b", "c"))
    assert events.between(2.0, 3.0).labels == ("b",)
    assert events.on(LATER).times_s == pytest.approx([6.1, 7.2, 8.3])


def test_events_out_of_order_are_refused():
    with pytest.raises(ValueError, match="must be in order"):
        Events(name="keys", times_s=np.array([2.0, 1.0]), labels=("a", "b"))


def test_interval_that_began_earlier_is_kept_whole():
    trials = Intervals(name="trials", bounds_s=np.array([[0.0, 2.0], [3.0, 4.0]]), labels=("go", "stop"))
    assert trials.between(1.0, 2.5).bounds_s.tolist() == [[0.0, 2.0]]


def test_silent_unit_stays():
    units = Units(name="probe", unit_names=("1", "2"), spike_times_s=(np.array([0.1, 0.9]), np.array([5.0])))
    assert [len(times) for times in units.between(0.0, 1.0).spike_times_s] == [2, 0]
