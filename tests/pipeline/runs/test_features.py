from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from neuroloom.ingest import ClockMap, Events, Intervals, Segment, Session, Signal, Timebase, Timestamps, Units
from neuroloom.ingest.streams import Stream
from neuroloom.pipeline.runs.feature_cache import build_features
from neuroloom.pipeline.runs.features import FeatureConfig


def signal(
    samples: np.ndarray, rate_hz: float, *, modality: str = "eeg", start_s: float = 0.0, name: str = ""
) -> Signal:
    n = samples.shape[1]
    base = Timebase(rate_hz=rate_hz, start_s=start_s, n_samples=len(samples))
    return Signal(
        name=name or modality,
        modality=modality,
        segments=(Segment(samples=samples, timebase=base),),
        channel_names=tuple(f"c{i}" for i in range(n)),
        unit="V",
        gain=np.ones(n),
        offset=np.zeros(n),
    )


def session(*streams: Stream, **more: object) -> Session:
    return Session(subject="01", clock="eeg", streams=streams, **more)  # type: ignore[arg-type]


UNITS = Units(
    name="units",
    unit_names=("a", "b", "c"),
    spike_times_s=(np.array([0.0, 0.05, 0.19, 0.2]), np.array([0.1, 0.3]), np.array([0.35])),
    table={"accepted": (True, False, True), "area": ("V1", "V1", "M1")},
)


def test_spikes_are_counted_per_bin_and_only_of_accepted_units() -> None:
    made = build_features(session(UNITS), bin_s=0.1)["units"]
    assert made.values.T.tolist() == [[2, 1, 1, 0], [0, 0, 0, 1]]
    assert made.port.areas == ("V1", "M1")
    assert made.port.kind == "spikes"


def test_noise_is_no_feature() -> None:
    cut = replace(UNITS, table={"kind": ("sorted", "noise", "unsorted")})
    assert build_features(session(cut), bin_s=0.1)["units"].port.channel_names == ("a", "c")


def test_bins_start_at_multiples_of_their_length() -> None:
    late = replace(UNITS, spike_times_s=(np.array([0.75, 0.95]),) * 3)
    features = build_features(session(late), bin_s=0.1)
    assert features.start_s == pytest.approx(0.7)
    assert features["units"].values[:, 0].tolist() == [1, 0, 1]


def test_eeg_keeps_a_slow_wave_in_time_and_loses_a_fast_one() -> None:
    t = np.arange(4000) / 1000
    slow, fast = np.sin(2 * np.pi * 2 * t), np.sin(2 * np.pi * 48 * t)
    features = build_features(session(signal(np.stack([slow, fast], 1), 1000)), bin_s=0.02)
    made = features["eeg"]
    centres_s = (np.arange(features.n_bins) + 0.5) * 0.02
    inside = made.valid[:, 0]
    assert np.abs(made.values[inside, 0] - np.sin(2 * np.pi * 2 * centres_s[inside])).max() < 0.02
    assert np.abs(made.values[inside, 1]).max() < 0.02


def test_eeg_is_not_valid_where_the_filter_reaches_into_a_gap() -> None:
    one = signal(np.ones((1000, 1)), 1000)
    two = signal(np.ones((1000, 1)), 1000, start_s=1.5)
    features = build_features(session(replace(one, segments=one.segments + two.segments)), bin_s=0.1)
    assert np.flatnonzero(features["eeg"].valid[:, 0]).tolist() == [2, 3, 4, 5, 6, 7, 17, 18, 19, 20, 21, 22]


def test_a_bad_channel_and_a_nan_are_not_valid() -> None:
    samples = np.ones((1000, 2))
    samples[500, 0] = np.nan
    made = build_features(session(signal(samples, 1000), quality={"eeg": {"bad_channels": ["c1"]}}), bin_s=0.1)["eeg"]
    assert not made.valid[:, 1].any()
    assert np.flatnonzero(made.valid[:, 0]).tolist() == [2, 7]


def test_gaze_is_the_mean_of_a_bin_and_masked_in_blinks() -> None:
    gaze = signal(np.arange(8.0)[:, None], 20, modality="gaze")
    blink = Intervals(name="blinks", bounds_s=np.array([[0.2, 0.25]]), labels=("blink",))
    made = build_features(session(gaze, blink), bin_s=0.1)["gaze"]
    assert made.valid[:, 0].tolist() == [True, True, False, True]
    assert made.values[:, 0].tolist() == [0.5, 2.5, 0, 6.5]


def test_a_slow_signal_is_held_but_not_over_a_gap() -> None:
    times = Timestamps(times_s=np.array([0.0, 0.2, 0.4, 1.0]))
    slow = replace(signal(np.array([[1.0], [2], [3], [4]]), 5, modality="position"), segments=())
    slow = replace(slow, segments=(Segment(samples=np.array([[1.0], [2], [3], [4]]), timebase=times),))
    made = build_features(session(slow), bin_s=0.1)["position"]
    assert made.valid[:, 0].tolist()[:9] == [True] * 8 + [False]
    assert made.values[:5, 0].tolist() == [1, 1, 2, 2, 3]


def test_events_are_impulses_per_label() -> None:
    events = Events(name="cue", times_s=np.array([0.0, 0.25, 0.26]), labels=("go", "stop", "stop"))
    made = build_features(session(events), bin_s=0.1)["cue"]
    assert made.port.channel_names == ("go", "stop")
    assert made.values.tolist() == [[1, 0], [0, 0], [0, 2]]


def test_a_choice_is_valid_only_inside_the_decision_window() -> None:
    trials = Intervals(
        name="trials",
        modality="trials",
        bounds_s=np.array([[0.0, 0.5], [0.5, 1.0]]),
        labels=("t", "t"),
        table={"choice": ("right", "left")},
    )
    config = FeatureConfig(bin_s=0.1, decision_window_s=(-0.2, 0.0))
    made = build_features(session(trials), config=config)["trials_choice"]
    assert made.class_names == ("left", "right")
    assert np.flatnonzero(made.valid[:, 0]).tolist() == [3, 4, 8, 9]
    assert made.values[[3, 8], 0].tolist() == [1, 0]


def test_times_beyond_the_clock_maps_pulses_are_flagged_and_carry_its_residual() -> None:
    clock_map = ClockMap(
        source="probe", target="eeg", offset_s=0.1, span_s=(0.0, 0.2), residual_ms=2.1, n_matched=9, n_lost=0,
        n_extra=0, method="test",
    )  # fmt: skip
    made = build_features(session(replace(UNITS, device="probe"), clock_maps=(clock_map,)), bin_s=0.1)["units"]
    assert made.extrapolated.tolist() == [True, False, False, True]
    assert made.uncertainty_ms == 2.1
    assert made.uncertainty_T_ms.tolist() == pytest.approx([2.1] * 4)


def test_each_bin_says_how_well_its_time_is_known(tmp_path: Path) -> None:
    """Pulses up to 1 s; beyond them the clock may wander by 10 ppm, here made 1 % so that it shows within seconds."""
    clock_map = ClockMap(
        source="probe", target="eeg", offset_s=0.0, span_s=(0.0, 1.0), residual_ms=0.0, n_matched=9, n_lost=0,
        n_extra=0, method="pulses", wander_ppm=1e4,
    )  # fmt: skip
    late = replace(UNITS, device="probe", spike_times_s=(np.array([0.05, 3.95]),) * 3)
    whole = session(late, clock_maps=(clock_map,))
    made = build_features(whole, bin_s=0.1, folder=tmp_path, digest="d")["units"]
    assert made.uncertainty_T_ms[[5, 14, 39]].tolist() == pytest.approx([0.0, 4.5, 29.5])
    again = build_features(whole, bin_s=0.1, folder=tmp_path, digest="d")["units"]
    assert np.array_equal(again.uncertainty_T_ms, made.uncertainty_T_ms)


def test_band_power_of_a_sine_is_half_its_squared_amplitude() -> None:
    wave = 3 * np.sin(2 * np.pi * 20 * np.arange(4000) / 1000)[:, None]
    config = FeatureConfig(bin_s=0.02, bands={"beta": (15.0, 25.0)})
    made = build_features(session(signal(wave, 1000)), config=config)["eeg_beta"]
    assert np.exp(made.values[made.valid]).mean() == pytest.approx(4.5, rel=0.01)
    assert made.reach_bins == 10


def test_cached_features_are_memory_maps_equal_to_those_in_memory(tmp_path: Path) -> None:
    made = build_features(session(UNITS), bin_s=0.1)
    for _ in range(2):
        kept = build_features(session(UNITS), bin_s=0.1, folder=tmp_path, digest="abc")
        assert isinstance(kept["units"].values, np.memmap)
        np.testing.assert_array_equal(kept["units"].values, made["units"].values)
        assert kept["units"].port == made["units"].port
    assert len(list(tmp_path.iterdir())) == 1


def test_another_digest_or_bin_makes_other_features(tmp_path: Path) -> None:
    for digest, bin_s in (("a", 0.1), ("b", 0.1), ("b", 0.05)):
        build_features(session(UNITS), bin_s=bin_s, folder=tmp_path, digest=digest)
    assert len(list(tmp_path.iterdir())) == 3


def test_an_empty_session_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to put into bins"):
        build_features(session())


def test_a_stream_may_be_said_to_be_of_another_kind() -> None:
    config = FeatureConfig(bin_s=0.1, kinds={"units": "negative_binomial"})
    assert build_features(session(UNITS), config=config)["units"].port.kind == "negative_binomial"


@pytest.mark.parametrize(
    ("kinds", "message"), [({"units": "lfp"}, "which units cannot be"), ({"u": "lfp"}, "no stream")]
)
def test_a_kind_that_does_not_fit_is_refused(kinds: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_features(session(UNITS), config=FeatureConfig(bin_s=0.1, kinds=kinds))


def test_a_volume_of_bold_is_known_in_its_own_bin_only() -> None:
    rois = signal(np.arange(5.0)[:, None], 0.5, modality="aux", name="rois")  # one every 2 s
    made = build_features(session(rois), config=FeatureConfig(bin_s=1.0, kinds={"rois": "bold"}))["rois"]
    assert made.port.kind == "bold"
    assert made.valid[:, 0].tolist()[:6] == [True, False, True, False, True, False]
    assert made.values[made.valid].tolist() == [0, 1, 2, 3, 4]


def test_meg_is_a_kind_of_its_own() -> None:
    assert build_features(session(signal(np.ones((100, 2)), 100, modality="meg")))["meg"].port.kind == "meg"


SACCADES = Intervals(
    name="saccades",
    bounds_s=np.array([[0.12, 0.15], [0.42, 0.58], [0.81, 0.83]]),
    labels=("left", "left", "left"),
    device="eye",
)
BLINKS = Intervals(name="blinks", bounds_s=np.array([[0.45, 0.55]]), labels=("left",), device="eye")


def test_saccades_are_events_and_those_around_a_blink_are_not_known() -> None:
    gaze = replace(signal(np.zeros((100, 2)), 100, modality="gaze"), device="eye")
    made = build_features(session(gaze, SACCADES, BLINKS), bin_s=0.1)["saccades"]
    assert (made.port.kind, made.port.channel_names) == ("saccades", ("left",))
    assert np.where(made.valid, made.values, 0)[:, 0].tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    assert made.valid[:, 0].tolist() == [True] * 4 + [False] * 2 + [True] * 4


def test_where_the_eyes_were_not_recorded_no_saccade_could_be_seen() -> None:
    gaze = replace(signal(np.zeros((50, 2)), 100, modality="gaze"), device="eye")
    made = build_features(session(gaze, SACCADES), bin_s=0.1)["saccades"]
    assert made.valid[:, 0].tolist() == [True] * 5 + [False] * 4


def test_text_is_the_number_of_a_token_in_its_bin() -> None:
    words = Events(name="words", times_s=np.array([0.05, 0.21, 0.25, 0.45]), labels=("to", "be", "or", "to"))
    features = build_features(session(words), config=FeatureConfig(bin_s=0.1, kinds={"words": "tokens"}))
    made = features["words"]
    assert made.class_names == ("be", "or", "to")
    assert (made.port.n_classes, made.port.channel_names) == (3, ("token",))
    assert made.valid[:, 0].tolist() == [True, False, True, False, True]
    assert made.values[made.valid].tolist() == [2, 1, 2]
    assert features.skipped == {"words: 1 tokens": "another one follows in the same bin"}


def test_whose_and_when_a_recording_is_lies_with_the_features(tmp_path: Path) -> None:
    dated = session(UNITS, start=datetime(2024, 5, 6, 7, 8, tzinfo=UTC))
    for _ in range(2):
        features = build_features(dated, folder=tmp_path, digest="d", bin_s=0.1)
        assert (features.subject, features.recorded) == ("01", "2024-05-06T07:08:00+00:00")


def marks(source: str, *rows: tuple[float, float, str]) -> Intervals:
    return Intervals(
        name=f"{source} artefacts",
        bounds_s=np.array([row[:2] for row in rows]),
        labels=tuple(row[2] for row in rows),
        provenance={"made_by": "eeg_artefacts", "source": source},
    )


def test_artefacts_mask_an_eeg_as_the_config_wants() -> None:
    eeg = signal(np.ones((1000, 1)), 100.0)
    marked = session(eeg, marks("eeg", (2.0, 3.0, "muscle"), (6.0, 7.0, "blink")))
    masked = {
        labels: build_features(marked, config=FeatureConfig(bin_s=0.5, artefacts=labels))["eeg"].valid[:, 0]
        for labels in ((), ("muscle",), ("muscle", "blink"))
    }
    whole = masked[()]
    assert np.flatnonzero(whole & ~masked[("muscle",)]).tolist() == [4, 5]
    assert np.flatnonzero(whole & ~masked[("muscle", "blink")]).tolist() == [4, 5, 12, 13]


def test_a_cleaned_signal_stands_in_the_place_of_its_source_unless_told_otherwise() -> None:
    eeg = signal(np.ones((1000, 1)), 100.0)
    clean = replace(eeg, name="eeg clean", provenance={"source": "eeg", "replaces": "eeg"})
    both = session(eeg, clean)
    made = build_features(both, config=FeatureConfig(bin_s=0.1))
    assert list(made.ports) == ["eeg clean"]
    assert made.skipped == {"eeg": "eeg clean stands in its place"}
    assert set(build_features(both, config=FeatureConfig(bin_s=0.1, derived=False)).ports) == {"eeg", "eeg clean"}
    assert set(build_features(both, config=FeatureConfig(bin_s=0.1, streams=("eeg",))).ports) == {"eeg"}
