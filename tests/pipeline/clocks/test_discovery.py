"""Two devices and what their lines saw; the true map is: target = source - 500 s, and 40 ppm slower."""

import numpy as np
import pytest

from neuroloom.pipeline.clocks.alignment import AlignmentError
from neuroloom.pipeline.clocks.discovery import StartPrior, proves_together, shared_map
from neuroloom.pipeline.clocks.pulse_lines import FEWEST, PulseLine, cleaned_line

OFFSET_S, DRIFT_PPM = 500.0, 40.0


def irregular(n=200, seed=0):
    return np.cumsum(np.random.default_rng(seed).uniform(0.4, 1.6, n))


def on_source(times_s):
    return np.asarray(times_s) * (1 + DRIFT_PPM * 1e-6) + OFFSET_S


def line(name, times_s, stops_s=None, codes=()):
    times = np.asarray(times_s, dtype=np.float64)
    stops = np.full(times.size, np.nan) if stops_s is None else np.asarray(stops_s, dtype=np.float64)
    return cleaned_line(name, times, stops, tuple(codes))


def found(mine, theirs, **more):
    return shared_map(mine, theirs, source="gaze", target="eeg", **more)


def worst_ms(clock, until_s=200.0):
    truth = np.linspace(0, until_s, 1000)
    return float(np.abs(clock.seconds(on_source(truth)) - truth).max() * 1e3)


def inverted(times_s, stops_s):
    """The same line upside down: up where it was down."""
    return np.concatenate([[times_s[0] - 1.0], stops_s[:-1]]), times_s


def test_an_inverted_line_of_pulses_that_differ_in_width_is_found_by_its_ends():
    pulses, widths = irregular(), np.random.default_rng(1).uniform(0.05, 0.3, 200)
    up, down = inverted(on_source(pulses), on_source(pulses + widths))
    clock = found([line("in", up)], [line("ttl", pulses, pulses + widths)])
    assert worst_ms(clock) < 0.1
    assert "in = ttl falling" in clock.method
    assert down.size == up.size


def test_an_inverted_line_of_pulses_of_one_width_is_told_by_its_other_edge():
    pulses = irregular()
    up, down = inverted(on_source(pulses), on_source(pulses + 0.005))
    clock = found([line("in", up, down)], [line("ttl", pulses, pulses + 0.005)])
    assert worst_ms(clock) < 0.1
    assert "in falling = ttl" in clock.method


def test_an_inverted_line_of_equal_pulses_every_second_is_told_by_its_other_edge():
    pulses = np.arange(300.0)
    up, down = on_source(pulses + 0.1), on_source(pulses + 1)  # down from each whole second for a tenth
    prior = StartPrior(offset_s=-OFFSET_S + 0.05, uncertainty_s=0.2, at_s=OFFSET_S)
    clock = found([line("in", up, down)], [line("ttl", pulses, pulses + 0.1)], prior=prior)
    assert worst_ms(clock) < 0.1
    assert "inverted" in clock.method


def test_an_upright_line_stays_upright():
    pulses = irregular()
    clock = found([line("in", on_source(pulses), on_source(pulses + 0.005))], [line("ttl", pulses, pulses + 0.005)])
    assert worst_ms(clock) < 0.1
    assert "inverted" not in clock.method
    assert clock.checks[0].words == "The other edge of 200 of 200 matched pulses fits as well."


def test_where_only_one_edge_was_recorded_it_is_said_what_an_inverted_line_would_do():
    pulses = irregular()
    clock = found([line("in", on_source(pulses))], [line("ttl", pulses, pulses + 0.020)])
    (check,) = clock.checks
    assert (check.kind, check.verdict) == ("pulse edges", "cannot tell")
    assert "in holds one edge of pulses that last 20.0 ms on ttl: were its line inverted" in check.words


def test_pulses_seen_twice_within_milliseconds_count_once():
    pulses = irregular()
    bounced = np.sort(np.concatenate([pulses, pulses + np.random.default_rng(1).uniform(0.001, 0.006, 200)]))
    clock = found([line("in", on_source(bounced))], [line("ttl", pulses)])
    assert worst_ms(clock) < 0.1
    assert (clock.n_matched, clock.n_lost, clock.n_extra) == (200, 0, 0)
    assert "bounces merged" in clock.method


def test_both_edges_written_as_one_kind_of_event_count_once():
    pulses = irregular()
    both = np.sort(np.concatenate([pulses, pulses + 0.1]))
    clock = found([line("in", on_source(both))], [line("ttl", pulses)])
    assert worst_ms(clock) < 0.1
    assert (clock.n_matched, clock.n_lost, clock.n_extra) == (200, 0, 0)


def test_a_line_that_counts_every_second_pulse_is_matched():
    pulses = irregular()
    clock = found([line("in", on_source(pulses[::2]))], [line("ttl", pulses)])
    assert worst_ms(clock) < 0.1
    assert (clock.n_matched, clock.n_lost, clock.n_extra) == (100, 99, 0)


def paced(seed=3, n=120, n_codes=2):
    """A trial every two seconds, to the millisecond; only what is shown differs."""
    rng = np.random.default_rng(seed)
    return 2.0 * np.arange(n) + rng.normal(0, 2e-4, n), [f"S {k + 11}" for k in rng.integers(n_codes, size=n)]


def test_equal_codes_decide_where_a_paced_task_fits_at_every_trial():
    times, codes = paced()
    clock = found(
        [line("input", on_source(times[7:]), codes=[c[2:] for c in codes[7:]])],
        [line("markers", times[:-9], codes=[c[2:] for c in codes[:-9]])],
    )
    assert worst_ms(clock) < 1
    assert "100% of codes agree" in clock.method


def test_codes_that_stand_for_each_other_decide_as_well():
    times, codes = paced(n_codes=3)
    words = {"S 11": "left", "S 12": "right", "S 13": "none"}
    clock = found(
        [line("messages", on_source(times[7:]), codes=[words[c] for c in codes[7:]])],
        [line("markers", times[:-9], codes=codes[:-9])],
    )
    assert worst_ms(clock) < 1


def test_a_paced_task_whose_codes_repeat_too_is_refused():
    times = 2.0 * np.arange(120)
    codes = ["1", "2"] * 60
    with pytest.raises(AlignmentError, match="ambiguous"):
        found([line("in", on_source(times[7:]), codes=codes[7:])], [line("markers", times, codes=codes)])


def test_intervals_that_fit_while_codes_disagree_prove_nothing():
    pulses, rng = irregular(), np.random.default_rng(5)
    mine, theirs = (rng.integers(4, size=200).astype(str) for _ in range(2))
    with pytest.raises(AlignmentError, match="codes disagree"):
        found([line("in", on_source(pulses), codes=mine)], [line("ttl", pulses, codes=theirs)])


def barcoded(values, every_s=10.0):
    """Barcodes as PulseLine has them, one every ten seconds."""
    times = every_s * np.arange(len(values))
    return PulseLine(
        name="ttl barcodes", times_s=times, stops_s=np.full(times.size, np.nan), codes=tuple(values), is_barcode=True
    )


def test_barcodes_anchor_what_comes_every_ten_seconds():
    values = [str(1_000_000 + k) for k in range(30)]
    theirs = barcoded(values)
    mine = PulseLine(
        name="sync barcodes",
        times_s=on_source(theirs.times_s[5:]),
        stops_s=theirs.stops_s[5:],
        codes=theirs.codes[5:],
        is_barcode=True,
    )
    clock = found([mine], [theirs])
    assert worst_ms(clock) < 0.01
    assert clock.method == "25 barcodes, linear (sync barcodes = ttl barcodes)"
    assert proves_together(clock)


def test_a_misread_barcode_does_no_harm():
    values = [str(1_000_000 + k) for k in range(30)]
    misread = [*values[:10], values[20], *values[11:20], "7", *values[21:]]
    theirs = barcoded(values)
    mine = PulseLine(
        name="b", times_s=on_source(theirs.times_s), stops_s=theirs.stops_s, codes=tuple(misread), is_barcode=True
    )
    assert worst_ms(found([mine], [theirs])) < 0.01


def test_start_times_decide_where_pulses_come_every_second():
    pulses = np.arange(300.0)
    prior = StartPrior(offset_s=-OFFSET_S + 0.3, uncertainty_s=0.45, at_s=OFFSET_S)
    clock = found([line("in", on_source(pulses[3:]))], [line("ttl", pulses)], prior=prior)
    assert worst_ms(clock) < 0.1
    assert "start times told which" in clock.method
    assert not proves_together(clock)


def test_start_times_known_to_half_a_period_only_do_not_decide():
    pulses = np.arange(300.0)
    prior = StartPrior(offset_s=-OFFSET_S + 0.3, uncertainty_s=0.55, at_s=OFFSET_S)
    with pytest.raises(AlignmentError, match="ambiguous"):
        found([line("in", on_source(pulses[3:]))], [line("ttl", pulses)], prior=prior)


def test_wrong_start_times_do_not_mislead_pulses_that_have_a_pattern():
    pulses = irregular()
    prior = StartPrior(offset_s=1234.0, uncertainty_s=0.1, at_s=OFFSET_S)
    assert worst_ms(found([line("in", on_source(pulses))], [line("ttl", pulses)], prior=prior)) < 0.1


def test_the_right_pair_is_found_among_sixteen_lines_of_an_hour():
    """Each device has fifteen other lines, as full as the one they share."""
    rng = np.random.default_rng(0)
    pulses = irregular(3600)
    kept = pulses[rng.random(3600) > 0.1]
    mine = [line(f"sync {k}", on_source(irregular(3000 + 50 * k, seed=k + 10))) for k in range(15)]
    theirs = [line(f"XD {k}", irregular(3000 + 50 * k, seed=k + 50)) for k in range(15)]
    clock = found([*mine[:8], line("sync 6", on_source(kept)), *mine[8:]], [*theirs, line("XD 15", pulses)])
    assert worst_ms(clock, 3600) < 1
    assert "sync 6 = XD 15" in clock.method


def test_lines_too_short_to_compare_are_said_to_be():
    short = line("in", np.arange(FEWEST - 1.0))
    with pytest.raises(AlignmentError, match="at least 8 are needed"):
        found([short], [short])
