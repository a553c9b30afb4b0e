from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from neuroloom.ingest import ClockMap, Session
from neuroloom.pipeline.runs.splitting import WindowConfig, time_blocks
from neuroloom.pipeline.runs.windowing import windows

Simulate = Callable[..., Any]


def all_blocks(n_bins: int, config: WindowConfig) -> list[tuple[int, int, str]]:
    return sorted((*bounds, name) for name, found in time_blocks(n_bins, config).items() for bounds in found)


@pytest.mark.parametrize("n_bins", [1700, 6000, 30000, 180001])
def test_between_two_splits_lies_at_least_a_window(n_bins: int) -> None:
    config = WindowConfig(length_s=2.0, bin_s=0.02)
    blocks = all_blocks(n_bins, config)
    assert all(later[0] - earlier[1] >= 100 for earlier, later in pairwise(blocks))
    assert blocks[0][0] == 0
    assert n_bins - 2 <= blocks[-1][1] <= n_bins


def test_every_block_holds_a_window_and_long_recordings_lose_little_to_gaps() -> None:
    config = WindowConfig(length_s=2.0, bin_s=0.02)
    blocks = all_blocks(30000, config)
    assert min(last - first for first, last, _ in blocks) >= 100
    assert sum(last - first for first, last, _ in blocks) >= 0.84 * 30000
    assert len(blocks) > 3


def test_a_recording_too_short_for_three_splits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10.0 s of recording; at least 17.3 s are wanted"):
        time_blocks(500, WindowConfig(length_s=2.0, bin_s=0.02))


def test_a_gap_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match="or data leak"):
        WindowConfig(length_s=2.0, gap_s=1.0)


def test_inputs_are_one_bin_late_and_filtered_ones_by_their_reach_more(simulated: Simulate) -> None:
    data = windows([simulated().session])
    (one,) = data.sessions.values()
    batch = data.held_out.batch(one.id, [2000])
    counts = one.features["units"].values[1999:2099]
    assert batch.inputs["units"][0].tolist() == counts.tolist()
    gaze = one.scalers["gaze"].scaled(one.features["gaze"].values[1999:2099])
    torch.testing.assert_close(batch.inputs["gaze"][0], torch.from_numpy(gaze))
    assert one.lag_of("units") == 1
    assert one.lag_of("eeg") == 3


def test_spike_targets_are_counts_of_the_window_itself(simulated: Simulate) -> None:
    data = windows([simulated().session])
    (one,) = data.sessions.values()
    batch = data.held_out.batch(one.id, [2000])
    assert batch.targets["units"][0].tolist() == one.features["units"].values[2000:2100].tolist()


def test_what_happens_after_the_training_blocks_moves_no_scaler(simulated: Simulate) -> None:
    data = windows([simulated().session])
    (one,) = data.sessions.values()
    before = one.scalers["gaze"]
    inside = np.zeros(one.features.n_bins, dtype=bool)
    for first, last in one.blocks["train"]:
        inside[first:last] = True
    one.features["gaze"].values[~inside] = 1e6
    after = one._fitted(one.features["gaze"])
    assert after.mean.tolist() == before.mean.tolist()
    assert after.std.tolist() == before.std.tolist()


def test_an_input_before_the_recording_is_zero_and_masked(simulated: Simulate) -> None:
    data = windows([simulated().session])
    (name,) = data.sessions
    batch = data.train.batch(name, [0], warm_up_bins=10)
    assert not batch.input_masks["units"][0, :11].any()
    assert batch.input_masks["units"][0, 11:].all()
    assert not batch.inputs["units"][0, :11].any()
    assert batch.scored.tolist() == [False] * 10 + [True] * 100


def test_a_random_batch_depends_on_seed_and_step_only(simulated: Simulate) -> None:
    sessions = [simulated(seed=s, subject=f"0{s}", duration_s=60).session for s in (1, 2)]
    one, two = windows(sessions).train, windows(sessions).train
    for step in (0, 7):
        a, b = one.random_batch(step, batch_size=4), two.random_batch(step, batch_size=4)
        assert (a.session, a.first_bins.tolist()) == (b.session, b.first_bins.tolist())
    drawn = {one.random_batch(step, batch_size=2).session for step in range(20)}
    assert drawn == set(one.sessions)


def test_random_windows_stay_in_their_blocks(simulated: Simulate) -> None:
    data = windows([simulated().session])
    (one,) = data.sessions.values()
    for step in range(50):
        for start in data.train.random_batch(step, batch_size=8).first_bins:
            assert any(first <= start and start + 100 <= last for first, last in one.blocks["train"])


def test_tiles_cover_a_split_once(simulated: Simulate) -> None:
    data = windows([simulated().session])
    starts = np.concatenate([b.first_bins for b in data.held_out.batches(batch_size=3)])
    assert len(starts) == data.held_out.n_windows
    assert (np.diff(starts) >= 100).all()


def test_times_beyond_the_clock_map_are_masked_unless_asked_for(simulated: Simulate) -> None:
    session = simulated(duration_s=30).session
    strict, trusting = windows([session]), windows([session], use_extrapolated=True)
    for data, n_known in ((strict, 0), (trusting, 100)):
        (one,) = data.sessions.values()
        one.features["gaze"].extrapolated[:] = True
        assert one.targets_at("gaze", 100, 200)[1][:, 0].sum() == n_known


def drifting(simulated: Simulate) -> Session:
    """Gaze of a tracker whose pulses end at 15 s of 60; beyond, a second adds 1 ms of uncertainty."""
    session = simulated(duration_s=60).session
    tracked = tuple(replace(s, device="tracker") if s.name == "gaze" else s for s in session.streams)
    clock = ClockMap(
        source="tracker", target="eeg", offset_s=0.0, span_s=(0.0, 15.0), residual_ms=0.5, n_matched=9, n_lost=0,
        n_extra=0, method="pulses", wander_ppm=1000.0,
    )  # fmt: skip
    return replace(session, streams=tracked, clock_maps=(clock,))


def test_each_window_says_how_well_the_times_of_each_port_are_known(simulated: Simulate) -> None:
    data = windows([drifting(simulated)])
    batch = data.train.batch("sub-01_ses-01", [100, 2000])  # from 2 s and from 40 s on
    assert batch.uncertainty_ms["eeg"].tolist() == [0.0, 0.0]
    assert batch.uncertainty_ms["gaze"].tolist() == pytest.approx([0.5, 26.0], abs=0.1)


def test_bins_whose_time_is_known_too_badly_do_not_count(simulated: Simulate) -> None:
    trusting = windows([drifting(simulated)], use_extrapolated=True, max_uncertainty_ms=10.0)
    (one,) = trusting.sessions.values()
    assert one.targets_at("gaze", 1200, 1300)[1].any(axis=1).sum() == pytest.approx(50, abs=2)  # up to 25 s
    assert one.targets_at("eeg", 1200, 1300)[1].all()


def test_a_port_that_is_not_there_is_refused_with_those_that_are(simulated: Simulate) -> None:
    with pytest.raises(ValueError, match="no port 'lfp' in any session; there are eeg, gaze"):
        windows([simulated(duration_s=30).session], inputs=["lfp"])


def test_a_target_that_would_come_in_unlagged_is_refused(simulated: Simulate) -> None:
    with pytest.raises(ValueError, match="is input and target"):
        windows([simulated(duration_s=30).session], lag_bins=0)


def test_ports_are_told_as_a_network_wants_them(simulated: Simulate) -> None:
    session = simulated(duration_s=30).session
    inputs, outputs = windows([session]).ports(session)
    assert [port.kind for port in inputs] == ["spikes", "eeg", "gaze", "stimulus"]
    assert [port.kind for port in outputs] == ["spikes", "eeg", "gaze", "choice"]


@pytest.mark.parametrize("warm_up_bins", [0, 60])
def test_a_batch_is_its_windows_one_by_one(simulated, warm_up_bins):
    """Also where a window begins before the recording, and where something in it is unknown."""
    data = windows([simulated(duration_s=60).session], length_s=1.0, lag_bins=3)
    (one,) = data.sessions.values()
    gaze = one.features["gaze"]
    gaze.valid[500:520, 0] = False
    gaze.uncertainty_T_ms[500:510] = 4.0
    for starts in ([0, 30, 700], [480, 900, 1500], [700, 1500]):
        batch = data.train.batch(one.id, starts, warm_up_bins=warm_up_bins)
        for parts, masks, cut in (
            (batch.inputs, batch.input_masks, one.inputs_at),
            (batch.targets, batch.masks, one.targets_at),
        ):
            for name, values in parts.items():
                wanted = [cut(name, start - warm_up_bins, start + 50) for start in starts]
                assert np.array_equal(values.numpy(), np.stack([value for value, _ in wanted]))
                assert np.array_equal(masks[name].numpy(), np.stack([mask for _, mask in wanted]))
        known = [gaze.uncertainty_T_ms[start : start + 50].astype(float) for start in starts]
        assert batch.uncertainty_ms["gaze"].numpy() == pytest.approx([np.sqrt((k**2).mean()) for k in known])
