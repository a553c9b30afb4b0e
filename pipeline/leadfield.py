"""How much each EEG electrode sees of a current in each area: a lead field from MNE's spherical head.

Shapes: C electrodes, A areas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
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
