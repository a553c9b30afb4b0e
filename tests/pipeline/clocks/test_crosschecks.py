"""A person whose blinks, saccades and mains hum are known, seen by two devices, and right and wrong maps of clocks."""

from dataclasses import replace

import numpy as np
import pytest

from neuroloom.ingest import ClockMap, CrossCheck, Intervals, Segment, Session, Signal, Timebase
from neuroloom.ingest.gaze_events import gaze_events
from neuroloom.pipeline.clocks.crosschecks import checked, contradicted

RATE_HZ, DURATION_S, LATE_S = 250.0, 300.0, 100.0  # the tracker's clock is 100 s behind
NAMES = ("Fp1", "Fp2", "Cz", "Pz", "O1")
T = np.arange(int(DURATION_S * RATE_HZ)) / RATE_HZ


def moments(seed, mean_s):
    times_s = np.cumsum(np.random.default_rng(seed).gamma(2, mean_s / 2, 4000) + 0.2)
    return times_s[times_s < DURATION_S - 2]


def eeg(seed, *, blinks_s=(), saccades_s=(), hum=0.0, name="eeg", modality="eeg", names=NAMES, device="amp"):
    """Noise that is stronger the slower it is; lids and eye muscles in the frontal channels, hum in all."""
    rng = np.random.default_rng(seed)
    frequency = np.fft.rfftfreq(T.size)
    shape = (len(names), frequency.size)
    spectrum = (rng.normal(size=shape) + 1j * rng.normal(size=shape)) / np.maximum(frequency, 1 / T.size) ** 0.5
    noise = np.fft.irfft(spectrum, T.size)
    values = 10 * (noise / noise.std(axis=1, keepdims=True)).T + rng.normal(0, 2, (T.size, len(names)))
    for at_s in blinks_s:
        values[:, :2] += 100 * np.exp(-(((T - at_s) / 0.08) ** 2))[:, None]
    for at_s in saccades_s:
        first = int(at_s * RATE_HZ)
        values[first : first + 5, :2] += np.array([8.0, 8.0, -8.0, -8.0, 0.0])[:, None]
    wander = np.cumsum(np.random.default_rng(99).normal(0, 1e-3, T.size))  # one mains for all
    values += hum * np.sin(2 * np.pi * 50 * T + wander)[:, None]
    return signal(name, modality, values, names, device)


def signal(name, modality, values, names, device):
    base = Timebase(rate_hz=RATE_HZ, start_s=0.0 if device == "amp" else -LATE_S, n_samples=len(values))
    n = len(names)
    return Signal(
        name=name, modality=modality, segments=(Segment(samples=values, timebase=base),), channel_names=names,
        unit="uV", gain=np.ones(n), offset=np.zeros(n), device=device,
    )  # fmt: skip


def tracker(*, blinks_s=(), saccades_s=()):
    """What an eye tracker wrote, on its own clock."""
    rng = np.random.default_rng(5)
    gaze = signal("gaze", "gaze", rng.normal(0, 1, (T.size, 2)), ("x", "y"), "tracker")
    events = {"blinks": (blinks_s, 0.075), "saccades": (saccades_s, 0.0)}
    return [gaze] + [
        Intervals(
            name=name,
            bounds_s=np.stack([np.asarray(at_s) - half_s, np.asarray(at_s) + half_s + 0.03], axis=1) - LATE_S,
            labels=(name,) * len(at_s),
            device="tracker",
        )
        for name, (at_s, half_s) in events.items()
        if len(at_s)
    ]


def clock(*, wrong_s=0.0, wrong_ppm=0.0):
    return ClockMap(
        source="tracker", target="amp", offset_s=LATE_S + wrong_s, drift_ppm=wrong_ppm, anchor_s=0.0,
        span_s=(-LATE_S, DURATION_S - LATE_S), residual_ms=0.5, n_matched=99, n_lost=0, n_extra=0, method="pulses",
    )  # fmt: skip


def verdicts(home, away, **wrong):
    found = clock(**wrong)
    session = Session(subject="01", clock="amp", streams=(home, *(s.on(found) for s in away)), clock_maps=(found,))
    return {check.kind: check for check in checked(session).clock_maps[0].checks}


BLINKS_S, SACCADES_S = moments(1, 4.0), moments(2, 0.6)
HOME = eeg(3, blinks_s=BLINKS_S, saccades_s=SACCADES_S)
AWAY = tracker(blinks_s=BLINKS_S, saccades_s=SACCADES_S)


def test_blinks_and_saccades_confirm_the_right_map():
    found = verdicts(HOME, AWAY)
    assert {kind: check.verdict for kind, check in found.items()} == {
        "blinks": "confirms",
        "saccadic spikes": "confirms",
    }
    assert abs(found["blinks"].lag_ms) < 60
    assert abs(found["saccadic spikes"].lag_ms) < 20


@pytest.mark.parametrize("wrong_s", [0.4, -7.0, 60.0])
def test_a_wrong_offset_is_contradicted_and_measured(wrong_s):
    found = verdicts(HOME, AWAY, wrong_s=wrong_s)
    assert {check.verdict for check in found.values()} == {"contradicts"}
    assert found["blinks"].lag_ms == pytest.approx(1e3 * wrong_s, abs=60)
    assert found["saccadic spikes"].lag_ms == pytest.approx(1e3 * wrong_s, abs=20)


def test_the_reference_may_be_the_tracker():
    """Then the amplifier's times are carried over, and come out late where the tracker's came out early."""
    late = replace(clock(wrong_s=0.4), source="amp", target="tracker", offset_s=-LATE_S + 0.4, span_s=(0, 300))
    session = Session(subject="01", clock="tracker", streams=(HOME.on(late), *AWAY), clock_maps=(late,))
    found = {check.kind: check for check in checked(session).clock_maps[0].checks}
    assert found["blinks"].verdict == "contradicts"
    assert found["blinks"].lag_ms == pytest.approx(400, abs=60)


@pytest.mark.parametrize("seed", range(10))
def test_nothing_is_made_up_of_eyes_that_are_not_the_same(seed):
    other = eeg(seed, blinks_s=moments(100 + seed, 4.0), saccades_s=moments(200 + seed, 0.6))
    assert {check.verdict for check in verdicts(other, AWAY).values()} == {"cannot tell"}


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_made_up_of_noise(seed):
    assert {check.verdict for check in verdicts(eeg(seed), AWAY).values()} == {"cannot tell"}


def test_blinks_may_have_been_found_where_the_tracker_lost_the_eye():
    gaze = AWAY[0]
    values = gaze.segments[0].samples.copy()
    for at_s in BLINKS_S:
        values[int((at_s - 0.075) * RATE_HZ) : int((at_s + 0.075) * RATE_HZ)] = np.nan
    lost = replace(gaze, segments=(replace(gaze.segments[0], samples=values),))
    assert verdicts(HOME, [lost, *gaze_events(lost)])["blinks"].verdict == "confirms"


def test_saccades_may_have_been_found_in_the_gaze():
    gaze = AWAY[0]
    values = gaze.segments[0].samples + 40 * np.cumsum(np.isin(np.arange(T.size), (SACCADES_S * RATE_HZ).astype(int)))[
        :, None
    ] * np.array([1, 0])
    jumping = replace(gaze, segments=(replace(gaze.segments[0], samples=values),))
    assert verdicts(HOME, [jumping, *gaze_events(jumping)])["saccadic spikes"].verdict == "confirms"


def test_electrodes_far_from_the_eyes_are_not_asked():
    back = eeg(3, names=("Cz", "Pz", "O1", "O2", "P3"))
    assert verdicts(back, AWAY) == {}


@pytest.mark.parametrize("wrong_ppm", [0.0, 100.0, -100.0])
def test_hum_tells_a_wrong_drift(wrong_ppm):
    lfp = eeg(8, hum=4.0, name="lfp", modality="lfp", device="tracker")
    found = verdicts(eeg(7, hum=4.0), [lfp], wrong_ppm=wrong_ppm)["mains hum"]
    assert found.verdict == ("contradicts" if wrong_ppm else "confirms")
    assert found.lag_ms == pytest.approx(wrong_ppm * 1e-3 * DURATION_S, abs=1.0)


def test_hum_that_one_device_does_not_hear_tells_nothing():
    quiet = eeg(8, name="lfp", modality="lfp", device="tracker")
    assert verdicts(eeg(7, hum=4.0), [quiet])["mains hum"].verdict == "cannot tell"


def test_tones_of_two_buildings_keep_no_phase():
    lfp = eeg(8, name="lfp", modality="lfp", device="tracker")
    wander = np.cumsum(np.random.default_rng(123).normal(0, 0.15, T.size))
    own = lfp.segments[0].samples + 4 * np.sin(2 * np.pi * 50 * T + wander)[:, None]
    elsewhere = replace(lfp, segments=(replace(lfp.segments[0], samples=own),))
    assert verdicts(eeg(7, hum=4.0), [elsewhere])["mains hum"].verdict == "cannot tell"


def dated(apart_s, **changed):
    sources = (
        {"clock": "amp", "start": "2024-05-06T10:00:00"},
        {"clock": "tracker", "start": f"2024-05-{6 + apart_s // 86400:02d}T10:00:{apart_s % 86400:02d}"},
    )
    found = replace(clock(), method="pulses, linear", **changed)
    gaze = AWAY[0].on(found)  # begins with the amplifier by the map
    session = Session(subject="01", clock="amp", streams=(eeg(3), gaze), clock_maps=(found,), sources=sources)
    return {check.kind: check for check in checked(session).clock_maps[0].checks}.get("start times")


@pytest.mark.parametrize(("apart_s", "verdict"), [(1, "confirms"), (40, "cannot tell"), (2 * 86400, "contradicts")])
def test_dates_speak_for_a_map_or_against_it(apart_s, verdict):
    assert dated(apart_s).verdict == verdict


def test_start_times_do_not_confirm_themselves():
    found = replace(clock(), method="acquisition start times")
    session = Session(
        subject="01", clock="amp", streams=(eeg(3), AWAY[0].on(found)), clock_maps=(found,),
        sources=tuple({"clock": name, "start": "2024-05-06T10:00:00"} for name in ("amp", "tracker")),
    )  # fmt: skip
    assert checked(session).clock_maps[0].checks == ()


def test_checking_again_says_nothing_twice():
    """As happens when a late device joins a session that was checked before."""
    edges = CrossCheck(kind="pulse edges", against="amp", verdict="confirms")
    found = replace(clock(), checks=(edges,))
    session = Session(subject="01", clock="amp", streams=(HOME, *(s.on(found) for s in AWAY)), clock_maps=(found,))
    once = checked(session)
    assert checked(once).clock_maps == once.clock_maps
    assert once.clock_maps[0].checks[0] == edges


def test_what_contradicts_a_map_is_told_apart():
    session = Session(
        subject="01", clock="amp", streams=(HOME, *(s.on(clock(wrong_s=1.0)) for s in AWAY)),
        clock_maps=(clock(wrong_s=1.0),),
    )  # fmt: skip
    assert {check.kind for check in contradicted(checked(session).clock_maps[0])} == {"blinks", "saccadic spikes"}
