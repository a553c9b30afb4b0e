"""How much each sensor sees of a current in each area: a lead field, from MNE's spherical head or a forward solution.

Shapes: C electrodes or MEG sensors, A areas, S sources of a forward solution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

HEAD_RADIUS_M = 0.095  # of the standard montages' sphere
BRAIN_FRACTION = (
    0.88  # sources closer to the skull than this part of the radius are drawn in: the model needs them inside
)


def lead_field(
    electrodes: Sequence[str] | Mapping[str, ArrayLike],
    area_positions_mm: ArrayLike,
    *,
    area_directions: ArrayLike | None = None,
    average_reference: bool = True,
    montage: str = "10-20",
) -> FloatArray:
    """Potential at each electrode per unit of current dipole in each area, shape (C, A), V/(A·m).

    electrodes: names of a montage ("10-20" is MNE's extended 10-20 system; any montage of MNE's will do), or name ->
        position in mm (head coordinates: x right, y front, z up).
    area_positions_mm: (A, 3), millimetres, the same axes; an atlas' MNI coordinates will do for a sphere. Areas outside
        the brain's sphere are moved to its surface along their radius.
    area_directions: (A, 3), of each area's current; by default outwards, as pyramidal cells of a gyrus stand.
    Method: four-shell sphere of Berg and Scherg (1994) as in `mne.make_sphere_model`; nothing is downloaded.
    Raises ValueError for a name the montage has not, doubled names, or positions of another shape.
    """
    names, positions_mm = _electrodes(electrodes, montage)
    areas_mm = np.asarray(area_positions_mm, dtype=np.float64)
    if areas_mm.ndim != 2 or areas_mm.shape[1] != 3 or not np.isfinite(areas_mm).all():
        raise ValueError(f"area positions of shape {areas_mm.shape}; finite (A, 3) in mm is wanted")
    directions = areas_mm if area_directions is None else np.asarray(area_directions, dtype=np.float64)
    if directions.shape != areas_mm.shape:
        raise ValueError(f"{areas_mm.shape[0]} areas but directions of shape {directions.shape}; they must match")
    field = _solved(names, _as_key(positions_mm), _as_key(areas_mm), _as_key(directions)).copy()
    return field - field.mean(axis=0) if average_reference else field


def forward_lead_field(
    path: str | Path,
    channel_names: Sequence[str],
    area_positions_mm: ArrayLike,
    *,
    within_mm: float = 20.0,
    to_areas: ArrayLike | None = None,
    average_reference: bool = False,
) -> FloatArray:
    """A lead field (C, A) from a forward solution that MNE wrote (`-fwd.fif`): a person's own head, EEG or MEG.

    An area's column is the mean over the sources that are nearer to its centre than to any other, and not farther than
    `within_mm`. Sources on a surface point along its normals; others along the one direction, outwards, in which the
    area is seen best.
    area_positions_mm: (A, 3), in the frame of the sources' MRI (surface RAS; for fsaverage nearly MNI), or
    to_areas: (4, 4) transform from that MRI to the areas' frame, millimetres.
    average_reference: for EEG that was recorded or is used against the average.
    Raises ValueError for a file that is none, a channel that is not in it, or an area with no source near it.
    """
    import mne

    try:
        forward = mne.read_forward_solution(path, verbose="error")
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: {error}; a forward solution (-fwd.fif) is wanted") from error
    rows = forward["sol"]["row_names"]
    missing = [name for name in channel_names if name not in rows]
    if missing:
        raise ValueError(f"{path}: has no channel {missing[0]!r}; it has {', '.join(rows[:8])}, ...")
    sources_mm = _sources_mm(forward, to_areas)
    members = _members(path, sources_mm, np.asarray(area_positions_mm, dtype=np.float64), within_mm)
    gain = _gain(forward)[[rows.index(name) for name in channel_names]]
    columns = [_column(gain[:, own], sources_mm[own] - sources_mm.mean(axis=0)) for own in members]
    field = np.stack(columns, axis=1)
    return field - field.mean(axis=0) if average_reference else field


def _sources_mm(forward: Any, to_areas: ArrayLike | None) -> FloatArray:
    """Places of the sources (S, 3) in the MRI's frame, or that of the areas."""
    from mne.transforms import apply_trans, invert_transform

    places = forward["source_rr"]
    if int(forward["coord_frame"]) == 4:  # head coordinates
        places = apply_trans(invert_transform(forward["mri_head_t"]), places)
    places_mm = np.asarray(places, dtype=np.float64) * 1e3
    return places_mm if to_areas is None else np.asarray(apply_trans(np.asarray(to_areas), places_mm))


def _gain(forward: Any) -> FloatArray:
    """What every sensor sees of every source, (C, S, directions): one direction where sources lie on a surface."""
    import mne

    on_surface = all(space["type"] == "surf" for space in forward["src"])
    if on_surface:
        forward = mne.convert_forward_solution(forward, surf_ori=True, force_fixed=True, verbose="error")
    data = np.asarray(forward["sol"]["data"], dtype=np.float64)
    return data.reshape(len(data), int(forward["nsource"]), -1)


def _members(
    path: str | Path, sources_mm: FloatArray, areas_mm: FloatArray, within_mm: float
) -> list[NDArray[np.int64]]:
    """The sources of every area."""
    distance_mm = np.linalg.norm(sources_mm[:, None] - areas_mm[None], axis=2)
    nearest = distance_mm.argmin(axis=1)
    members = []
    for area, away_mm in enumerate(distance_mm.T):
        own = np.flatnonzero((nearest == area) & (away_mm <= within_mm))
        if not own.size:
            raise ValueError(
                f"{path}: no source within {within_mm:g} mm of area number {area + 1} at "
                f"{np.round(areas_mm[area]).astype(int).tolist()} mm; the nearest lies {away_mm.min():.0f} mm away. "
                "Sources and areas must be in one frame"
            )
        members.append(own)
    return members


def _column(gain_CSD: FloatArray, outward_S3: FloatArray) -> FloatArray:
    """The field of one area, (C,)."""
    mean = gain_CSD.mean(axis=1)
    if mean.shape[1] == 1:
        return np.asarray(mean[:, 0])
    direction = np.linalg.svd(mean, full_matrices=False)[2][0]
    direction = direction * (1 if direction @ outward_S3.mean(axis=0) >= 0 else -1)
    return np.asarray(mean @ direction)


def known_electrodes(names: Sequence[str], montage: str = "10-20") -> bool:
    """True where there are at least two electrodes, each with a name of its own that the montage has."""
    return len(set(names)) == len(names) >= 2 and all(name.lower() in _montage_mm(montage) for name in names)


def scaled(field: FloatArray) -> FloatArray:
    """The same field with a root mean square of 1, as a starting point for a network whose currents have no unit."""
    return field / max(float(np.sqrt((field**2).mean())), np.finfo(np.float64).tiny)


def _as_key(table: FloatArray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(x) for x in row) for row in table)


def _electrodes(
    electrodes: Sequence[str] | Mapping[str, ArrayLike], montage: str
) -> tuple[tuple[str, ...], FloatArray]:
    names = tuple(electrodes)
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled or len(names) < 2:
        raise ValueError(f"electrodes {list(doubled or names)}; at least two, each named once, are wanted")
    if isinstance(electrodes, Mapping):
        given = np.array([np.asarray(electrodes[name], dtype=np.float64) for name in names])
        if given.shape != (len(names), 3) or not np.isfinite(given).all():
            raise ValueError(f"electrode positions of shape {given.shape}; finite ({len(names)}, 3) in mm is wanted")
        return names, given
    known = _montage_mm(montage)
    missing = [name for name in names if name.lower() not in known]
    if missing:
        raise ValueError(f"{montage} has no electrode {missing[0]!r}; give its position in mm instead of its name")
    return names, np.array([known[name.lower()] for name in names])


@lru_cache(maxsize=8)
def _montage_mm(name: str) -> dict[str, FloatArray]:
    """Positions by lower-case name, centred on the sphere that fits the montage."""
    import mne

    if name == "10-20":  # MNE 1.13 gave standard_1020 another name
        built_in = mne.channels.get_builtin_montages()
        name = next(known for known in ("colin27_1020", "standard_1020") if known in built_in)
    positions_m = mne.channels.make_standard_montage(name, head_size=HEAD_RADIUS_M).get_positions()["ch_pos"]
    table = np.array(list(positions_m.values()))
    # |p - c|^2 = r^2 is linear in c and r^2 - |c|^2: the sphere through the electrodes by least squares.
    solved = np.linalg.lstsq(np.c_[2 * table, np.ones(len(table))], (table**2).sum(axis=1), rcond=None)[0]
    return {key.lower(): (at - solved[:3]) * 1e3 for key, at in zip(positions_m, table, strict=True)}


@lru_cache(maxsize=32)
def _solved(names: tuple[str, ...], electrodes_mm: Any, areas_mm: Any, directions: Any) -> FloatArray:
    """(C, A), against infinity; kept for the next network with the same areas and electrodes."""
    import mne

    on_sphere = _with_length(np.array(electrodes_mm), HEAD_RADIUS_M)
    info = mne.create_info(list(names), 100.0, "eeg", verbose="error")
    montage = mne.channels.make_dig_montage(dict(zip(names, on_sphere, strict=True)), coord_frame="head")
    info.set_montage(montage, verbose="error")
    sphere = mne.make_sphere_model((0.0, 0.0, 0.0), HEAD_RADIUS_M, verbose="error")
    areas_m = np.array(areas_mm) * 1e-3
    reach_m = BRAIN_FRACTION * HEAD_RADIUS_M
    radii_m = np.linalg.norm(areas_m, axis=1)
    areas_m = np.where((radii_m > reach_m)[:, None], _with_length(areas_m, reach_m), areas_m)
    normals = _with_length(np.array(directions), 1.0)
    sources = {"rr": areas_m, "nn": normals}
    space = mne.setup_volume_source_space(pos=sources, sphere=sphere, sphere_units="m", verbose="error")
    forward = mne.make_forward_solution(info, None, space, sphere, meg=False, mindist=0.0, verbose="error")
    if forward["nsource"] != len(areas_m):
        raise ValueError(f"{forward['nsource']} of {len(areas_m)} areas lie inside the head; all must")
    free = forward["sol"]["data"].reshape(len(names), len(areas_m), 3)
    return cast(FloatArray, np.einsum("cax,ax->ca", free, normals))


def _with_length(vectors: FloatArray, length: float) -> FloatArray:
    """Vectors (N, 3) of that length; one of no length points up."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    up = np.broadcast_to(np.array([0.0, 0.0, 1.0]), vectors.shape)
    return np.where(norms > 0, vectors / np.where(norms > 0, norms, 1), up) * length
