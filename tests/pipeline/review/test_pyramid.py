"""A signal looked at from any distance: always its own least and greatest values, and never anything in a gap."""

from dataclasses import replace

import numpy as np
import pytest

from neuroloom.ingest.session import Session
from neuroloom.pipeline.review import pyramid
from neuroloom.pipeline.review.pyramid import displays

from .example import session, signal


def shown(values, *, rate_hz=100.0, start_s=0.0, folder=None, **options):
    """The display of one signal of one channel per column of `values`; more segments as (start, values)."""
    parts = [(start_s, np.asarray(values)), *options.pop("more", ())]
    one = signal("x", "lfp", parts, rate_hz, [f"c{i}" for i in range(np.shape(values)[1])], "uV")
    one = replace(one, **options)
    return displays(Session(subject="1", clock="x", streams=(one,)), folder)["x"]


RAMP = np.arange(5000, dtype=np.int16)[:, None]


@pytest.mark.parametrize("n_columns", [4, 64, 512, 4096])
def test_every_column_holds_the_least_and_the_greatest_of_its_samples(n_columns):
    values = np.random.default_rng(0).integers(-1000, 1000, (4096, 2)).astype(np.int16)
    found = shown(values, start_s=0.005).window(0, 40.96, n_columns)
    each = values.reshape(n_columns, -1, 2)
    assert np.array_equal(found, np.stack([each.min(axis=1), each.max(axis=1)], axis=1))


def test_levels_are_made_of_each_other_until_few_bins_are_left():
    assert [(level.bin, len(level.values)) for level in shown(np.repeat(RAMP, 8, axis=0)).levels] == [
        (16, 2500), (64, 625), (256, 157),
    ]  # fmt: skip


def test_gain_and_offset_count_also_where_the_gain_is_negative():
    found = shown(RAMP, gain=np.array([-2.0]), offset=np.array([1.0])).window(0, 51.2, 2)
    assert found[0].ravel().tolist() == [1 - 2 * 2559, 1]


def test_nothing_is_drawn_in_a_gap_and_lines_join_samples_only_within_a_segment():
    display = shown(RAMP[:2], more=[(0.1, RAMP[:2])])
    found = display.window(0, 0.12, 24)[:, 0, 0]
    assert found[:3].tolist() == [0, pytest.approx(0.75), 1]
    assert np.isnan(found[3:20]).all()


def test_a_sample_that_was_lost_joins_nothing():
    values = np.array([[0.0], [np.nan], [2.0], [3.0]])
    found = shown(values).window(0, 0.04, 8)[:, 0, 0]
    assert np.isfinite(found).tolist() == [True, False, False, False, True, True, True, False]


def test_infinities_are_not_drawn():
    found = shown(np.where(RAMP == 7, np.inf, RAMP.astype(float))).window(0, 50, 5)
    assert np.isfinite(found).all()


def test_in_a_folder_it_is_built_once_and_the_same(tmp_path, monkeypatch):
    example = session()
    published = example.save(tmp_path / "v001")
    in_memory = displays(example, None)
    built = displays(published, tmp_path / "derived")
    monkeypatch.setattr(pyramid, "_build", None)
    again = displays(published, tmp_path / "derived")
    for name, display in in_memory.items():
        wanted = display.window(0, 20, 37)
        for other in (built, again):
            assert np.allclose(other[name].window(0, 20, 37), wanted, rtol=1e-5, equal_nan=True)


def test_a_cache_emptied_by_half_is_built_again(tmp_path):
    published = session().save(tmp_path / "v001")
    displays(published, tmp_path / "derived")
    (pyramid.place_of(published, tmp_path / "derived") / pyramid.LISTING).unlink()
    assert "eeg" in displays(published, tmp_path / "derived")


def test_a_large_one_is_left_to_whoever_has_time(tmp_path):
    published = session().save(tmp_path / "v001")
    assert displays(published, tmp_path / "derived", most_values=10) == {}
    assert displays(published, tmp_path / "derived")
    assert displays(published, tmp_path / "derived", most_values=10)


def test_a_sketch_looks_at_the_beginning_of_each_column():
    display = pyramid.Display(shown(RAMP).signal, ())
    assert display.sketch(0, 50, 5)[:, :, 0].tolist() == [[i, i + 31] for i in (0, 1000, 2000, 3000, 4000)]
