import numpy as np
import pytest

from neuroloom.pipeline.leadfield import lead_field, scaled

NAMES = ("Fz", "Cz", "Pz", "C3", "C4", "O1", "O2", "T7", "T8", "Fp1")


def test_an_outward_current_is_seen_best_by_the_electrode_above_it() -> None:
    field = lead_field(NAMES, [[-50.0, 0, 50], [50, 0, 50], [-30, -70, 0]])
    assert [NAMES[i] for i in field.argmax(axis=0)] == ["C3", "C4", "O1"]


def test_the_potential_falls_with_distance() -> None:
    column = lead_field(NAMES, [[-50.0, 0, 50]], average_reference=False)[:, 0]
    c3, cz, c4, t8 = (abs(column[NAMES.index(name)]) for name in ("C3", "Cz", "C4", "T8"))
    assert c3 > 2 * cz > 2 * max(c4, t8)


def test_a_deep_current_is_seen_less_than_a_shallow_one() -> None:
    field = lead_field(NAMES, [[0.0, 0, 20], [0, 0, 75]])
    assert np.abs(field[:, 1]).max() > 2 * np.abs(field[:, 0]).max()


def test_the_average_over_electrodes_is_the_reference() -> None:
    field = lead_field(NAMES, [[-50.0, 0, 50], [20, 30, 40]])
    assert np.abs(field.mean(axis=0)).max() < 1e-12 * np.abs(field).max() * len(NAMES)


def test_left_and_right_mirror_each_other() -> None:
    left, right = lead_field(("C3", "C4", "Cz"), [[-50.0, 0, 50], [50, 0, 50]]).T
    assert left[0] == pytest.approx(right[1], rel=0.02)


def test_a_typical_cortical_current_gives_microvolts() -> None:
    seen_uV = lead_field(NAMES, [[-50.0, 0, 50]])[:, 0] * 20e-9 * 1e6  # 20 nA·m
    assert 0.5 < np.abs(seen_uV).max() < 20


def test_positions_in_mm_give_what_names_give() -> None:
    positions = {"a": (0.0, 0, 95), "b": (95, 0, 0), "c": (0, 95, 0)}
    field = lead_field(positions, [[0.0, 0, 70]])
    assert field[:, 0].argmax() == 0


def test_scaled_has_a_root_mean_square_of_one() -> None:
    field = scaled(lead_field(NAMES, [[-50.0, 0, 50]]))
    assert (field**2).mean() == pytest.approx(1)


def test_an_unknown_electrode_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no electrode 'X99'"):
        lead_field(("Cz", "X99"), [[0.0, 0, 50]])
