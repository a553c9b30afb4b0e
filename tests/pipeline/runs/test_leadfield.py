from pathlib import Path

import numpy as np
import pytest

from neuroloom.pipeline.runs.leadfield import forward_lead_field, lead_field, scaled

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


ELECTRODES_MM = {"top": (0, 0, 95), "left": (-67, 0, 67), "right": (67, 0, 67), "back": (-30, -80, 0)}
AREAS_MM = [[-50.0, 0, 50], [50, 0, 50], [-30, -70, 0]]


def forward_file(path: Path, channel_kind: str = "eeg") -> list[str]:
    """A forward solution of a sphere with one source per area, as MNE writes it; gives its channels."""
    import mne

    if channel_kind == "eeg":
        names = list(ELECTRODES_MM)
        info = mne.create_info(names, 100.0, "eeg", verbose="error")
        at = {name: 0.095 * np.array(place) / np.linalg.norm(place) for name, place in ELECTRODES_MM.items()}
        info.set_montage(mne.channels.make_dig_montage(at, coord_frame="head"), verbose="error")
    else:
        names = [f"MEG{i}" for i in range(6)]
        info = mne.create_info(names, 100.0, "mag", verbose="error")
        sides = np.array([[0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0.6, 0, 0.8]])
        for channel, outward in zip(info["chs"], sides, strict=True):
            channel["coil_type"] = 2000  # a point magnetometer
            across = np.cross(outward, [0.3, 0.5, 0.81])
            across /= np.linalg.norm(across)
            channel["loc"] = np.concatenate([0.12 * outward, across, np.cross(outward, across), outward])
        info["dev_head_t"] = mne.transforms.Transform("meg", "head")
    places = np.array(AREAS_MM) * 1e-3
    sources = {"rr": places, "nn": places / np.linalg.norm(places, axis=1, keepdims=True)}
    sphere = mne.make_sphere_model((0.0, 0.0, 0.0), 0.095, verbose="error")
    space = mne.setup_volume_source_space(pos=sources, sphere=sphere, sphere_units="m", verbose="error")
    meg = channel_kind != "eeg"
    forward = mne.make_forward_solution(info, None, space, sphere, meg=meg, eeg=not meg, mindist=0.0, verbose="error")
    mne.write_forward_solution(path, forward, verbose="error")
    return names


def test_a_forward_solution_gives_the_field_it_was_made_with(tmp_path: Path) -> None:
    names = forward_file(tmp_path / "head-fwd.fif")
    field = forward_lead_field(tmp_path / "head-fwd.fif", names, AREAS_MM, average_reference=True)
    assert [names[i] for i in field.argmax(axis=0)] == ["left", "right", "back"]
    ours = lead_field(ELECTRODES_MM, AREAS_MM)
    assert all(np.corrcoef(a, b)[0, 1] > 0.9 for a, b in zip(field.T, ours.T, strict=True))


def test_meg_sees_areas_through_a_forward_solution(tmp_path: Path) -> None:
    names = forward_file(tmp_path / "head-fwd.fif", "mag")
    field = forward_lead_field(tmp_path / "head-fwd.fif", names[::-1], AREAS_MM)
    assert field.shape == (6, 3)
    assert np.abs(field).max() > 1e-9  # T per A·m, some 10 fT per nA·m
    straight = forward_lead_field(tmp_path / "head-fwd.fif", names, AREAS_MM)
    np.testing.assert_allclose(field[::-1], straight)


def test_a_source_space_in_another_frame_is_noticed_and_can_be_moved(tmp_path: Path) -> None:
    names = forward_file(tmp_path / "head-fwd.fif")
    elsewhere = np.array(AREAS_MM) + np.array([200.0, 0, 0])
    with pytest.raises(ValueError, match=r"no source within 20 mm of area number 1 at \[150, 0, 50\] mm"):
        forward_lead_field(tmp_path / "head-fwd.fif", names, elsewhere)
    move = np.eye(4)
    move[0, 3] = 200.0
    moved = forward_lead_field(tmp_path / "head-fwd.fif", names, elsewhere, to_areas=move)
    np.testing.assert_allclose(moved, forward_lead_field(tmp_path / "head-fwd.fif", names, AREAS_MM))


def test_a_channel_or_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    forward_file(tmp_path / "head-fwd.fif")
    with pytest.raises(ValueError, match="has no channel 'X9'; it has top"):
        forward_lead_field(tmp_path / "head-fwd.fif", ["X9"], AREAS_MM)
    (tmp_path / "other-fwd.fif").write_bytes(b"no fif at all")
    with pytest.raises(ValueError, match=r"other-fwd\.fif: .*a forward solution .* is wanted"):
        forward_lead_field(tmp_path / "other-fwd.fif", ["Cz"], AREAS_MM)
