"""An estimate of which areas belong together, from their activity: functional MRI, LFP, binned spikes.

    activity of areas -> correlation, or partial correlation with shrinkage -> the pairs kept -> pathways, both ways

What it is not: a measurement of axons. A correlation is there as well where two areas share an input or are joined by
way of a third; a partial correlation takes out what the *other recorded* areas explain linearly, and nothing else.
Neither knows a direction, a conduction delay or whether a synapse excites, so every pair becomes two pathways of equal
weight and open sign, with the straight distance as length, or 0 where places are not known. In functional MRI the
haemodynamic response differs between areas by more than any conduction delay: no lag of it is read as one. An estimate
from the time a network is scored on would leak the answers; `functional_topology_of` takes training time only.

Shapes: T bins or frames, A areas, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroloom.models.topology import Area, Pathway, Position, Topology
from neuroloom.pipeline.windowing import SessionData, Windows

Matrix = NDArray[np.float64]
FEWEST_FRAMES = 8


@dataclass(frozen=True, kw_only=True)
class FunctionalConfig:
    """How an estimate is made.

    method: "correlation", or "partial" (partial correlation).
    shrinkage: share of the identity in the covariance of standardised activity, 0 to 1; None: none for correlations,
        and as Ledoit and Wolf (2004) choose it for partial correlations.
    keep: "density" keeps the strongest pairs, a share `density` of all; "significant" keeps what survives a test of
        each pair (Fisher's z, with as many frames as are left after autocorrelation, Bartlett 1946) at a false
        discovery rate of `alpha` (Benjamini and Hochberg 1995). The test is a guide: shrinkage and two areas that were
        averaged over unequally many channels are not in it.
    negatives: "drop", or "absolute": a negative correlation is no inhibition, its weight is its size.
    """

    method: Literal["correlation", "partial"] = "correlation"
    shrinkage: float | None = None
    keep: Literal["density", "significant"] = "density"
    density: float = 0.2
    alpha: float = 0.05
    negatives: Literal["drop", "absolute"] = "drop"

    def __post_init__(self) -> None:
        for what, allowed in (
            ("method", ("correlation", "partial")),
            ("keep", ("density", "significant")),
            ("negatives", ("drop", "absolute")),
        ):
            if getattr(self, what) not in allowed:
                raise ValueError(f"{what} is {getattr(self, what)!r}; one of {', '.join(allowed)} is wanted")
        if not (0 < self.density <= 1 and 0 < self.alpha < 1 and (self.shrinkage is None or 0 <= self.shrinkage <= 1)):
            raise ValueError(
                f"density {self.density}, alpha {self.alpha}, shrinkage {self.shrinkage}; above 0 and at most 1, "
                "between 0 and 1, from 0 to 1 are wanted"
            )


def functional_topology(
    activity_TA: ArrayLike,
    area_names: Sequence[str],
    *,
    config: FunctionalConfig | None = None,
    positions_mm: Mapping[str, Position] | None = None,
    like: Topology | None = None,
    name: str = "functional",
) -> Topology:
    """A topology whose pathways join areas that are active together; see the head of the file for what that means.

    activity_TA: frames in order of time, in any unit, (T, A). positions_mm: for lengths.
    like: a topology that gives areas (positions, sizes, entrances), global modules and conduction speed; its own
        pathways are not looked at, and all names must be areas of it.
    Raises ValueError for too few frames, NaN, an area that never changes, or a name that `like` has not.
    """
    config = config or FunctionalConfig()
    activity = _checked(activity_TA, area_names)
    strength = _strength(activity, config)
    kept = _kept(strength, activity, config)
    bare = _bare(area_names, positions_mm or {}, like, name)
    places = {area.name for area in bare.areas if area.position_mm is not None}
    pathways: list[Pathway] = []
    for i, j in zip(*np.nonzero(kept), strict=True):
        a, b = area_names[i], area_names[j]
        length_mm = bare.distance_mm(a, b) if {a, b} <= places else 0.0
        pathways.append(Pathway(source=a, target=b, weight=float(abs(strength[i, j])), length_mm=length_mm))
    return replace(bare, pathways=tuple(pathways), notes=_notes(config, activity, len(pathways) // 2))


def functional_topology_of(
    data: Windows, port: str, *, config: FunctionalConfig | None = None, like: Topology | None = None
) -> Topology:
    """The estimate from one port's training time, over all sessions that have it, each standardised by itself.

    Channels of one area are averaged; where no areas are stated every channel is an area of its own name. Spike counts
    are taken as square roots. Raises ValueError where no session has the port, or sessions have different areas.
    """
    parts: list[Matrix] = []
    names: tuple[str, ...] = ()
    for session, one in data.sessions.items():
        if port not in one.features.ports:
            continue
        found, activity = _activity(one, port)
        if names and found != names:
            raise ValueError(f"{session}: areas {', '.join(found)} in {port!r}, elsewhere {', '.join(names)}")
        names = found
        parts.append(activity)
    if not parts:
        raise ValueError(f"no port {port!r} in any session; there are {sorted(_port_names(data))}")
    return functional_topology(np.concatenate(parts), names, config=config, like=like, name=f"functional, {port}")


def _port_names(data: Windows) -> set[str]:
    return {name for one in data.sessions.values() for name in one.features.ports}


def _activity(one: SessionData, port: str) -> tuple[tuple[str, ...], Matrix]:
    """Names and standardised activity (T, A) of one session's areas over training time, unknown bins left out."""
    made = one.features[port].port
    areas = made.areas if any(made.areas) else made.channel_names
    names = tuple(dict.fromkeys(area for area in areas if area))
    member = np.array([[area == name for name in names] for area in areas], dtype=np.float64)
    member /= member.sum(axis=0)
    parts = []
    for first, last in one.blocks["train"]:
        values, valid = one.targets_at(port, first, last)
        values = np.sqrt(np.maximum(values, 0)) if made.is_counts else values
        parts.append((values @ member)[valid[:, member.any(axis=1)].all(axis=1)])
    activity = np.concatenate(parts)
    return names, (activity - activity.mean(axis=0)) / np.maximum(activity.std(axis=0), 1e-12)


def _checked(activity_TA: ArrayLike, names: Sequence[str]) -> Matrix:
    activity = np.asarray(activity_TA, dtype=np.float64)
    if activity.ndim != 2 or activity.shape[1] != len(names) or len(names) < 2 or len(activity) < FEWEST_FRAMES:
        raise ValueError(
            f"activity of shape {activity.shape} for {len(names)} areas; (frames, areas) with at least "
            f"{FEWEST_FRAMES} frames and 2 areas is wanted"
        )
    if not np.isfinite(activity).all():
        raise ValueError(f"{int((~np.isfinite(activity)).sum())} values of the activity are not finite; all must be")
    spread = activity.std(axis=0)
    if (spread < 1e-9 * np.maximum(np.abs(activity).max(axis=0), 1e-30)).any():
        raise ValueError(f"activity of {names[int(spread.argmin())]!r} never changes; every area must")
    return np.asarray((activity - activity.mean(axis=0)) / spread)


def _strength(activity: Matrix, config: FunctionalConfig) -> Matrix:
    """Correlation or partial correlation, (A, A), 0 on the diagonal."""
    from sklearn.covariance import ledoit_wolf, shrunk_covariance

    covariance: Matrix = activity.T @ activity / len(activity)
    if config.shrinkage is not None:
        covariance = shrunk_covariance(covariance, shrinkage=config.shrinkage)
    elif config.method == "partial":
        covariance = ledoit_wolf(activity, assume_centered=True)[0]
    if config.method == "partial":
        covariance = np.asarray(-np.linalg.pinv(covariance, hermitian=True), dtype=np.float64)
    scale = np.sqrt(np.abs(np.diag(covariance)))
    strength = covariance / np.outer(scale, scale)
    np.fill_diagonal(strength, 0)
    return np.asarray(strength)


def _kept(strength: Matrix, activity: Matrix, config: FunctionalConfig) -> NDArray[np.bool_]:
    """The pairs kept, symmetric, (A, A)."""
    usable = strength if config.negatives == "drop" else np.abs(strength)
    rows, columns = np.triu_indices(len(strength), k=1)
    values = usable[rows, columns]
    if config.keep == "density":
        n_kept = max(1, round(config.density * values.size))
        chosen = np.zeros(values.size, dtype=np.bool_)
        chosen[np.argsort(-values, kind="stable")[:n_kept]] = True
    else:
        chosen = _significant(strength[rows, columns], _freedom(activity, config)[rows, columns], config.alpha)
    kept = np.zeros(strength.shape, dtype=np.bool_)
    kept[rows, columns] = chosen & (values > 0)
    return kept | kept.T


def _freedom(activity: Matrix, config: FunctionalConfig) -> Matrix:
    """Independent frames of each pair, (A, A): n / (1 + 2 sum over lags of the product of both autocorrelations)."""
    n_frames, n_areas = activity.shape
    spectrum = np.abs(np.fft.rfft(activity, n=2 * n_frames, axis=0)) ** 2
    auto = np.fft.irfft(spectrum, axis=0)[: n_frames // 4]
    auto = auto / np.maximum(auto[0], 1e-30)
    # Beyond the first lag at which it has died out an autocorrelation is mostly noise (as in Afyouni et al. 2019).
    auto = np.where(np.cumsum(auto < 1.96 / n_frames**0.5, axis=0) > 0, 0, auto)[1:]
    independent = n_frames / (1 + 2 * auto.T @ auto)
    return np.asarray(independent - (n_areas - 2 if config.method == "partial" else 0))


def _significant(values: Matrix, freedom: Matrix, alpha: float) -> NDArray[np.bool_]:
    from scipy.stats import false_discovery_control, norm

    z = np.arctanh(np.clip(np.abs(values), 0, 1 - 1e-12)) * np.sqrt(np.maximum(freedom - 3, 0))
    return np.asarray(false_discovery_control(2 * norm.sf(z), method="bh") <= alpha)


def _bare(names: Sequence[str], positions_mm: Mapping[str, Position], like: Topology | None, name: str) -> Topology:
    if like is None:
        return Topology(name=name, areas=tuple(Area(name=n, position_mm=positions_mm.get(n)) for n in names))
    unknown = [n for n in names if n not in like.area_names]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no area of {like.name!r}; it has {', '.join(like.area_names[:12])}")
    areas = tuple(replace(a, position_mm=positions_mm.get(a.name, a.position_mm)) for a in like.areas)
    return replace(like, name=name, areas=areas, pathways=(), notes=())


def _notes(config: FunctionalConfig, activity: Matrix, n_pairs: int) -> tuple[str, ...]:
    n_frames, n_areas = activity.shape
    what = "partial correlation" if config.method == "partial" else "correlation"
    rule = (
        f"the strongest {config.density:.0%}" if config.keep == "density" else f"a false discovery rate {config.alpha}"
    )
    return (
        f"pathways estimated from the {what} of {n_frames} frames; {n_pairs} of {n_areas * (n_areas - 1) // 2} pairs "
        f"kept by {rule}; neither direction, delay nor sign are measured",
    )
