"""What holds for every clock map, run of samples, split, drop and name, not only for the examples one thought of."""

import itertools
import os
import string
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from neuroloom.ingest import ClockMap, FormatError, Intervals, Timebase
from neuroloom.ingest._runs import merged, runs_of
from neuroloom.ingest.clock_map import through
from neuroloom.ingest.formats._companions import hides, plainly_named
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import IN_FLIGHT, OPEN, STATES
from neuroloom.pipeline.drops.identity import session_key
from neuroloom.pipeline.drops.inbox import one_line
from neuroloom.pipeline.runs.splitting import WindowConfig, time_blocks
from neuroloom.pipeline.store import Store, StoreError, printable, slug

N_EXAMPLES = int(os.environ.get("NEUROLOOM_EXAMPLES", "100"))  # of each; `make check-trust` tries more
seconds = st.floats(-1e5, 1e5)
flags = st.lists(st.booleans(), max_size=200).map(lambda found: np.array(found, dtype=bool))
text = st.text(st.characters(), max_size=120)


many = settings(max_examples=N_EXAMPLES, deadline=None)


@st.composite
def clock_maps(draw):
    """Straight or bent by up to 300 ppm at up to six places, of which some nearly coincide."""
    n = draw(st.integers(0, 6))
    at_s = np.cumsum([draw(st.floats(1.0, 1000.0) | st.just(1e-3)) for _ in range(n)])
    slopes = [draw(st.floats(-3e-4, 3e-4)) for _ in range(n)]
    extra_s = np.cumsum([0.0, *(slope * step for slope, step in zip(slopes, np.diff(at_s), strict=False))])[:n]
    return ClockMap(
        source="a",
        target="b",
        offset_s=draw(seconds),
        drift_ppm=draw(st.floats(-500, 500)),
        anchor_s=draw(st.floats(0, 1e4)),
        span_s=(0.0, 1e4),
        residual_ms=0.1,
        n_matched=100,
        n_lost=0,
        n_extra=0,
        method="pulses",
        knots=tuple(zip(at_s.tolist(), extra_s.tolist(), strict=True)) if n >= 2 else (),
    )


# clocks -------------------------------------------------------------------------------------------------------------


@many
@given(clock_maps(), st.lists(seconds, min_size=1, max_size=20))
def test_there_and_back_is_where_one_was(clock, times_s):
    """Also a day away from the evidence, on end pieces that go on from knots which nearly meet."""
    there = clock.seconds(times_s)
    assert np.allclose(clock.inverse_seconds(there), times_s, rtol=0, atol=1e-6)
    assert np.allclose(clock.inverse().seconds(there), times_s, rtol=0, atol=1e-6)


@many
@given(clock_maps(), clock_maps(), st.lists(seconds, min_size=1, max_size=20))
def test_one_map_for_two_leads_where_both_lead(first, second, times_s):
    both = through(first, replace(second, source="b", target="c"))
    assert np.allclose(both.seconds(times_s), second.seconds(first.seconds(times_s)), rtol=0, atol=2e-6)


@many
@given(clock_maps(), st.lists(seconds, min_size=2, max_size=20, unique=True))
def test_what_comes_later_stays_later(clock, times_s):
    ordered = np.sort(times_s)
    assume((np.diff(ordered) > 1e-6).all())
    assert (np.diff(clock.seconds(ordered)) > 0).all()


@many
@given(clock_maps(), st.floats(0.1, 5000), st.integers(1, 3000), st.floats(0, 5000))
def test_samples_moved_to_another_clock_lie_where_the_map_says(clock, rate_hz, n_samples, start_s):
    base = Timebase(rate_hz=rate_hz, start_s=start_s, n_samples=n_samples)
    assert np.allclose(
        base.on(clock).seconds(np.arange(n_samples)),
        clock.seconds(base.seconds(np.arange(n_samples))),
        rtol=0,
        atol=1e-6,
    )


@many
@given(st.floats(0.1, 50_000), st.integers(0, 10_000), seconds, st.data())
def test_a_sample_is_found_at_its_own_time(rate_hz, n_samples, start_s, data):
    base = Timebase(rate_hz=rate_hz, start_s=start_s, n_samples=n_samples)
    assume(n_samples > 0 and 1 / rate_hz > 1e-4)
    k = data.draw(st.integers(0, n_samples - 1))
    at_s = float(base.seconds(k))
    assert base.samples_between(at_s, at_s + 0.5 / rate_hz) == slice(k, k + 1)


# runs and intervals -------------------------------------------------------------------------------------------------


@many
@given(flags)
def test_runs_hold_what_is_true_and_nothing_else(found):
    again = np.zeros(found.size, dtype=bool)
    for first, last in runs_of(found):
        again[first:last] = True
    assert again.tolist() == found.tolist()


@many
@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 50)), max_size=30), st.integers(0, 20))
def test_merged_runs_hold_all_and_lie_apart(spans, apart):
    runs = np.array([(first, first + length) for first, length in spans], dtype=np.int64).reshape(-1, 2)
    found = merged(runs, apart)
    assert all(any(a <= first and last <= b for a, b in found) for first, last in runs)
    assert all(later[0] - earlier[1] >= max(apart, 1) for earlier, later in itertools.pairwise(found))
    assert merged(found, apart).tolist() == found.tolist()


@many
@given(st.lists(st.tuples(seconds, st.floats(0, 100)), max_size=20), seconds, st.floats(0, 1000))
def test_intervals_between_two_times_are_those_that_overlap(spans, start_s, lasts_s):
    bounds = np.array([(at, at + length) for at, length in spans], dtype=np.float64).reshape(-1, 2)
    found = Intervals(name="i", bounds_s=bounds, labels=tuple(str(k) for k in range(len(spans))))
    kept = set(found.between(start_s, start_s + lasts_s).labels)
    assert kept == {str(k) for k, (a, b) in enumerate(bounds) if a < start_s + lasts_s and b >= start_s}


# splits -------------------------------------------------------------------------------------------------------------


@many
@given(
    st.integers(1, 200_000), st.floats(0.1, 5), st.floats(0.005, 0.1), st.floats(0.05, 0.4), st.floats(0.05, 0.4),
    st.integers(0, 50),
)  # fmt: skip
def test_no_window_of_one_split_sees_a_bin_of_another(n_bins, length_s, bin_s, validation, held_out, reach_bins):
    assume(length_s > 2 * bin_s and validation + held_out < 0.9)
    config = WindowConfig(length_s=length_s, bin_s=bin_s, validation=validation, held_out=held_out)
    try:
        blocks = time_blocks(n_bins, config, reach_bins=reach_bins)
    except ValueError:
        return
    ordered = sorted((*bounds, name) for name, found in blocks.items() for bounds in found)
    assert ordered[0][0] >= 0
    assert ordered[-1][1] <= n_bins
    assert all(last - first >= config.n_bins for first, last, _ in ordered)
    apart = min((later[0] - earlier[1] for earlier, later in itertools.pairwise(ordered)), default=config.n_bins)
    assert apart >= config.n_bins
    assert apart >= 3 * reach_bins


# drops --------------------------------------------------------------------------------------------------------------

moves = st.lists(
    st.tuples(st.sampled_from(["move", "submit", "claim", "renew"]), st.sampled_from(STATES), st.sampled_from("ab")),
    max_size=12,
)


@settings(max_examples=N_EXAMPLES // 5, deadline=None)
@given(moves)
def test_a_drop_is_in_one_state_and_moving_twice_is_moving_once(tmp_path_factory, steps):
    catalog = Catalog.at(f"sqlite:///{tmp_path_factory.mktemp('c')}/c.sqlite")
    number = catalog.drops.add("x", folder=Path("/in")).id
    for what, to, owner in steps:
        before = catalog.drops.get(number)
        if what == "move":
            frm = [state for state in OPEN if state != to]
            assert catalog.drops.move(number, to, frm=frm) == (before.state in frm)
            assert not catalog.drops.move(number, to, frm=frm)
        elif what == "submit":
            assert (catalog.drops.submit(number, lease_s=10) is not None) == (before.state == "READY")
        elif what == "claim":
            claimed = catalog.drops.claim(number, owner=owner, lease_s=10)
            assert (claimed is not None) == (before.state in ("READY", "SUBMITTED"))
            assert catalog.drops.claim(number, owner="other", lease_s=10) is None
        else:
            assert catalog.drops.renew(number, owner=owner, lease_s=10) == (
                before.state == "RUNNING" and before.owner == owner
            )
        after = catalog.drops.get(number)
        assert after.state in STATES
        assert sum(catalog.drops.counts().values()) == 1
        assert after.state in OPEN or catalog.drops.add("x", folder=Path("/in"), state="IGNORED") is not None
        if after.state in IN_FLIGHT:
            assert catalog.drops.add("x", folder=Path("/in")) is None
        if after.state not in OPEN:
            break
    catalog.close()


# names --------------------------------------------------------------------------------------------------------------


@many
@given(text)
def test_a_name_in_a_message_is_one_line_that_a_terminal_does_not_obey(name):
    for shown in (printable(name), one_line(name)):
        assert shown.isprintable()
        assert len(shown.splitlines()) <= 1


@many
@given(text)
def test_a_folder_named_after_a_drop_stays_in_its_folder(name):
    made = slug(name)
    assert made
    assert set(made) <= {*string.ascii_letters, *string.digits, *"._-"}
    assert made not in (".", "..")
    assert len(made) <= 80


@many
@given(text)
def test_a_name_that_a_store_takes_stays_in_the_store(name):
    store = Store(Path("/store"))
    for folder in (store.session_folder, store.run_folder):
        try:
            found = folder(name)
        except StoreError:
            continue
        assert found.parent in (store.sessions, store.runs)
        assert ".." not in found.parts


@many
@given(text)
def test_a_companion_lies_beside_what_names_it(name):
    try:
        found = plainly_named(Path("/drop/x.vhdr"), name, "data")
    except FormatError:
        return
    assert found.parent == Path("/drop")
    assert found.name == name
    assert not hides(name)


@many
@given(text)
def test_any_name_can_be_asked_for_its_session(name):
    assert session_key(name) is None or len(session_key(name)) == 4
