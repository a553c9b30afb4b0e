import numpy as np
import pytest

from neuroloom.ingest import Segment, Signal, Timebase
from neuroloom.pipeline.clocks import analog_pulses as module
from neuroloom.pipeline.clocks.analog_pulses import analog_pulses

DURATION_S = 120.0
RATE_HZ = 1000.0
T = np.arange(int(DURATION_S * RATE_HZ)) / RATE_HZ
ONSETS_S = np.cumsum(np.random.default_rng(0).uniform(0.4, 1.6, 200))
ONSETS_S = ONSETS_S[ONSETS_S < DURATION_S - 1]
NOISE = np.random.default_rng(1).normal(0, 0.01, T.size)


def aux(*channels, rate_hz=RATE_HZ, modality="aux", names=None, start_s=0.0):
    """Channels of 1 mV steps, as integers."""
    bits = np.round(np.stack(channels, axis=1) * 1000).astype(np.int16)
    n = bits.shape[1]
    return Signal(
        name="nidq",
        modality=modality,
        segments=(Segment(samples=bits, timebase=Timebase(rate_hz=rate_hz, start_s=start_s, n_samples=len(bits))),),
        channel_names=names or tuple(f"XA{k}" for k in range(n)),
        unit="V",
        gain=np.full(n, 1e-3),
        offset=np.zeros(n),
    )


def up(width_s, onsets_s=ONSETS_S):
    """1 while a pulse lasts; the samples that an edge falls into are up in part, as an averaging converter has it."""
    level = np.zeros(T.size)
    for onset_s in onsets_s:
        for k in range(int(onset_s * RATE_HZ) - 1, int((onset_s + width_s) * RATE_HZ) + 3):
            overlap_s = min(T[k] + 0.5e-3, onset_s + width_s) - max(T[k] - 0.5e-3, onset_s)
            level[k] += max(0.0, overlap_s) * RATE_HZ
    return level


def only(signal):
    (found,) = analog_pulses(signal)
    return found


def test_edges_lie_between_samples():
    found = only(aux(3 * up(0.02) + NOISE))
    assert np.abs(found.rises_s - ONSETS_S).max() < 0.3e-3
    assert np.abs(found.falls_s - ONSETS_S - 0.02).max() < 0.3e-3


def test_an_inverted_line_rises_where_its_pulses_end():
    found = only(aux(3 - 3 * up(0.02) + NOISE))
    assert np.abs(found.rises_s - ONSETS_S - 0.02).max() < 0.3e-3


def test_the_threshold_follows_a_baseline_that_drifts_further_than_a_pulse_is_high():
    found = only(aux(up(0.02) + 3 * np.sin(2 * np.pi * T / 100) + NOISE))
    assert np.abs(found.rises_s - ONSETS_S).max() < 0.3e-3


@pytest.mark.parametrize(("period_s", "share"), [(1.0, 0.5), (4.0, 0.5), (0.2, 0.5), (1.0, 0.9)])
def test_a_square_wave_has_edges_whatever_its_period(period_s, share):
    found = only(aux(3.0 * (T % period_s < share * period_s) + NOISE))
    assert np.allclose(np.diff(found.rises_s), period_s, atol=1.1e-3)  # of a sample
    assert np.allclose((found.falls_s - found.rises_s)[:-1], share * period_s, atol=2e-3)


def test_a_slow_photodiode_is_late_by_the_same_time_at_every_flash():
    level, seen = up(0.1), np.zeros(T.size)
    for k in range(1, T.size):
        seen[k] = seen[k - 1] + 0.2 * (level[k] - seen[k - 1])
    found = only(aux(seen + NOISE))
    assert found.rises_s.size == ONSETS_S.size
    assert np.std(found.rises_s - ONSETS_S) < 0.5e-3


@pytest.mark.parametrize("refresh_hz", [60.0, 85.0, 120.0])
def test_a_screen_that_flickers_makes_one_pulse_per_flash(refresh_hz):
    glow = np.exp(-((T * refresh_hz) % 1) / refresh_hz / 0.003)
    found = only(aux(up(0.1) * glow + NOISE))
    assert found.rises_s.size == ONSETS_S.size
    assert np.abs(found.rises_s - ONSETS_S).max() < 1.2 / refresh_hz
    assert found.flicker_hz == pytest.approx(refresh_hz, rel=0.1)


BEATS_S = np.arange(0.5, DURATION_S - 1, 0.83)
NO_PULSES = {
    "noise": 100 * NOISE,
    "breathing": np.sin(2 * np.pi * 0.3 * T) + NOISE,
    "alpha": np.sin(2 * np.pi * 10 * T) + NOISE,
    "hum": np.sin(2 * np.pi * 50 * T) + NOISE,
    "wandering": np.cumsum(NOISE),
    "flat": 0 * T,
    "ECG": sum(np.exp(-(((T - b) / 0.012) ** 2)) + 0.2 * np.exp(-(((T - b - 0.25) / 0.04) ** 2)) for b in BEATS_S),
    "blinks": sum(np.exp(-(((T - b) / 0.08) ** 2)) for b in ONSETS_S[::4]) + NOISE,
    "EMG": 100 * NOISE * (np.sin(T) > 0.5),
    "bursts": np.sin(2 * np.pi * 80 * T) * up(0.1) + NOISE,
    "triangle": np.abs(T % 1 - 0.5),
    "sawtooth": T % 1,
    "staircase": np.round(T / 7) % 5 + NOISE,
}


@pytest.mark.parametrize("kind", NO_PULSES)
def test_what_has_no_two_levels_is_no_line(kind):
    assert analog_pulses(aux(NO_PULSES[kind])) == []


def test_only_channels_with_two_levels_become_lines():
    found = analog_pulses(aux(NO_PULSES["alpha"], 3 * up(0.02) + NOISE, NO_PULSES["noise"]))
    assert [pulses.channel for pulses in found] == ["XA1"]


def test_an_eeg_channel_named_as_a_trigger_is_looked_at_and_others_are_not():
    level = 3 * up(0.02) + NOISE
    found = analog_pulses(aux(level, level, modality="eeg", names=("Cz", "Photosensor")))
    assert [pulses.channel for pulses in found] == ["Photosensor"]


def test_blocks_change_nothing(monkeypatch):
    signal = aux(3 * up(0.02) + NOISE)
    whole = only(signal)
    monkeypatch.setattr(module, "BLOCK_VALUES", 1000)
    assert np.array_equal(only(signal).rises_s, whole.rises_s)


def test_a_gap_makes_no_edge():
    level = 3 * up(0.02) + NOISE
    before, after = aux(level[:60_000]), aux(level[60_000:] + 3, start_s=70.0)
    joined = Signal(**{**vars(before), "segments": before.segments + after.segments})
    rises_s = only(joined).rises_s
    assert not ((rises_s > 60) & (rises_s < 70)).any()
