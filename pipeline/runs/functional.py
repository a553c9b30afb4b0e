"""An estimate of which areas belong together, from their activity: functional MRI, LFP, binned spikes.

    activity of areas    -> correlation, or partial correlation with shrinkage -> the pairs kept -> pathways, both ways
    activity of channels -> what each area's past tells of another's next bins (`lagged.py`) -> pathways, one way each

What it is not: a measurement of axons. A correlation is there as well where two areas share an input or are joined by
way of a third; a partial correlation takes out what the *other recorded* areas explain linearly, and nothing else.
Neither knows a direction, so every pair becomes two pathways of equal weight, nor a conduction delay: lengths are the
straight distance, or 0 where places are not known. "lagged" tells a delay where one lag stands out (`delays.py`), and
the length follows from it and the conduction speed; a pathway whose delay it cannot tell has the straight distance,
the mean of those told where places are not known, or 0. None of the three knows whether a synapse excites: a pathway
joins mixed units, and signs are open.
In functional MRI the haemodynamic response differs between areas by more than any conduction delay: "lagged" is refused
for it. An estimate from the time a network is scored on would leak the answers; `functional_topology_of` takes training
time only.

Shapes: T bins or frames, A areas, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroloom.models.topology import Area, Pathway, Position, Topology
from neuroloom.pipeline.runs.delays import delays_note, delays_of, lag_profile, share_at
from neuroloom.pipeline.runs.jackknife import Jackknifed, together
from neuroloom.pipeline.runs.lagged import lagged_power, significant, strength_of
from neuroloom.pipeline.runs.past import regressions
from neuroloom.pipeline.runs.session_data import SessionData
from neuroloom.pipeline.runs.windowing import Windows

Matrix = NDArray[np.float64]
FEWEST_FRAMES = 8
LAGGED = "lagged"


@dataclass(frozen=True, kw_only=True)
class FunctionalConfig:
    """How an estimate is made.

    method: "correlation", "partial" (partial correlation), or "lagged" (has a direction).
    lags_s: how far back "lagged" looks, seconds. A delay is told where it is shorter by a bin or more, and where that
        are 3 bins or more.
    shrinkage: share of the identity in the covariance of standardised activity, 0 to 1; None: none for correlations,
        and as Ledoit and Wolf (2004) choose it for partial correlations.
    keep: "density" keeps the strongest pairs, a share `density` of all; "significant" keeps what survives a test of
        each pair (Fisher's z, with as many frames as are left after autocorrelation, Bartlett 1946) at a false
        discovery rate of `alpha` (Benjamini and Hochberg 1995). The test is a guide: shrinkage and two areas that were
        averaged over unequally many channels are not in it. Of "lagged" it is a test of each direction, and tells that
        something is sent beyond what all recorded channels know: areas of which few units are recorded, or by few
        spikes, nearly all seem to send something.
    negatives: "drop", or "absolute": a negative correlation is no inhibition, its weight is its size.
    """

    method: Literal["correlation", "partial", "lagged"] = "correlation"
    lags_s: float = 0.08
    shrinkage: float | None = None
    keep: Literal["density", "significant"] = "density"
    density: float = 0.2
    alpha: float = 0.05
    negatives: Literal["drop", "absolute"] = "drop"

    def __post_init__(self) -> None:
        for what, allowed in (
            ("method", ("correlation", "partial", LAGGED)),
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
        if self.method == LAGGED and self.lags_s <= 0:
            raise ValueError(f"lags_s {self.lags_s}; 'lagged' wants lags_s above 0")


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
    Raises ValueError for too few frames, NaN, an area that never changes, a name that `like` has not, or the method
    "lagged", which looks at channels: see `functional_topology_of`.
    """
    config = config or FunctionalConfig()
    if config.method == LAGGED:
        raise ValueError("the activity of whole areas has no channels; 'lagged' is for `functional_topology_of`")
    activity = _checked(activity_TA, area_names)
    strength = _strength(activity, config)
    kept = _kept(strength, activity, config)
    bare = _bare(area_names, positions_mm or {}, like, name)
    note = _notes(config, len(activity), int(kept.sum()) // 2, len(kept))
    return _joined(bare, area_names, strength, kept, np.full(kept.shape, np.nan), note)


def _joined(
    bare: Topology, names: Sequence[str], strength: Matrix, kept: NDArray[np.bool_], told_s: Matrix, *notes: str
) -> Topology:
    """With a pathway for every pair that was kept, the source first. told_s: delays, (A, A), NaN where not known."""
    places = {area.name for area in bare.areas if area.position_mm is not None}
    told = told_s[kept & ~np.isnan(told_s)]
    mean_s = float(told.mean()) if told.size else 0.0
    pathways: list[Pathway] = []
    for i, j in zip(*np.nonzero(kept), strict=True):
        a, b = names[i], names[j]
        if np.isnan(told_s[i, j]) and {a, b} <= places:
            length_mm = bare.distance_mm(a, b)
        else:
            length_mm = 1000 * bare.speed_m_per_s * float(np.nan_to_num(told_s[i, j], nan=mean_s))
        pathways.append(Pathway(source=a, target=b, weight=float(abs(strength[i, j])), length_mm=length_mm))
    return replace(bare, pathways=tuple(pathways), notes=notes)


def functional_topology_of(
    data: Windows, port: str, *, config: FunctionalConfig | None = None, like: Topology | None = None
) -> Topology:
    """The estimate from one port's training time, over all sessions that have it, each standardised by itself.

    Channels of one area are averaged (not for "lagged"); where no areas are stated every channel is an area of its own
    name. Spike counts are taken as square roots. Raises ValueError where no session has the port, sessions have
    different areas, there is too little time, or "lagged" is asked of functional MRI.
    """
    config = config or FunctionalConfig()
    found: dict[str, _Activity] = {}
    for session, one in data.sessions.items():
        if port in one.features.ports:
            found[session] = _activity(one, port)
    if not found:
        raise ValueError(f"no port {port!r} in any session; there are {', '.join(sorted(_port_names(data)))}")
    first, *others = found.values()
    for session, other in found.items():
        if other.names != first.names:
            raise ValueError(
                f"{session}: areas {', '.join(other.names)} in {port!r}, elsewhere {', '.join(first.names)}"
            )
    name = f"functional, {port}"
    if config.method == LAGGED:
        return _lagged([first, *others], config, _bare(first.names, {}, like, name))
    together = np.concatenate([one.of_areas() for one in found.values()])
    return functional_topology(together, first.names, config=config, like=like, name=name)


@dataclass(frozen=True, eq=False)
class _Activity:
    """One session's training time: stretches without a gap, (T, C), and the area of each channel."""

    kind: str
    bin_s: float
    stretches: tuple[Matrix, ...]
    areas: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Areas in the order of their first channels."""
        return tuple(dict.fromkeys(area for area in self.areas if area))

    def of_areas(self) -> Matrix:
        """Averages of each area's channels, standardised, (T, A)."""
        member = np.array([[area == name for name in self.names] for area in self.areas], dtype=np.float64)
        activity = np.concatenate(self.stretches) @ (member / member.sum(axis=0))
        return np.asarray((activity - activity.mean(axis=0)) / np.maximum(activity.std(axis=0), 1e-12))


def _activity(one: SessionData, port: str) -> _Activity:
    """Bins in which any channel with an area is unknown are left out."""
    made = one.features[port].port
    areas = made.areas if any(made.areas) else made.channel_names
    placed = np.array([bool(area) for area in areas])
    stretches: list[Matrix] = []
    for first, last in one.blocks["train"]:
        values, valid = one.targets_at(port, first, last)
        activity: Matrix = np.nan_to_num(values).astype(np.float64)  # NaN is left in channels without an area only
        activity = np.sqrt(np.maximum(activity, 0)) if made.is_counts else activity
        known = valid[:, placed].all(axis=1)
        ends = np.flatnonzero(np.diff(known)) + 1
        parts = zip(np.split(activity, ends), np.split(known, ends), strict=True)
        stretches += [part for part, is_known in parts if len(part) and is_known[0]]
    return _Activity(made.kind, made.bin_s, tuple(stretches), tuple(areas))


def _lagged(sessions: Sequence[_Activity], config: FunctionalConfig, bare: Topology) -> Topology:
    """Directed pairs, and their delays, by the mean over sessions, each as long as it is."""
    names, first = sessions[0].names, sessions[0]
    if first.kind == "bold":
        raise ValueError("'lagged' is asked of functional MRI, whose lags are those of blood; 'partial' is there")
    n_lags = max(1, round(config.lags_s / first.bin_s))
    frames = [sum(map(len, one.stretches)) for one in sessions]
    found = [_sent(one, names, n_lags) for one in sessions]
    power, sharp, profile = (together(of_session, frames) for of_session in zip(*found, strict=True))
    sizes, pairs = strength_of(power), ~np.eye(len(names), dtype=np.bool_)
    kept = np.zeros(pairs.shape, dtype=np.bool_)
    if config.keep == "density":
        kept[pairs] = _strongest(sizes[pairs], config.density)
    else:
        kept = significant(sharp, config.alpha)
    kept &= sizes > 0
    delay_bins = delays_of(profile)
    note = (
        f"pathways estimated from what {n_lags} bins of the past tell of the next one, in {sum(frames)} bins; "
        f"{int(kept.sum())} of {int(pairs.sum())} directed pairs kept by {_rule(config)}; signs are not measured"
    )
    of_delays = delays_note(delay_bins[kept], share_at(delay_bins, profile)[kept], first.bin_s)
    return _joined(bare, names, sizes, kept, delay_bins * first.bin_s, note, of_delays)


def _sent(one: _Activity, names: Sequence[str], n_lags: int) -> tuple[Jackknifed, Jackknifed, Jackknifed]:
    """Power of every pair, the same by sharp weights, and by lag."""
    told, areas = regressions(one.stretches, n_lags), one.areas
    by_lag = lag_profile(told, areas, names)
    return lagged_power(told, areas, names), lagged_power(told, areas, names, sharp=True), by_lag


def _port_names(data: Windows) -> set[str]:
    return {name for one in data.sessions.values() for name in one.features.ports}


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
        chosen = _strongest(values, config.density)
    else:
        chosen = _significant(strength[rows, columns], _freedom(activity, config)[rows, columns], config.alpha)
    kept = np.zeros(strength.shape, dtype=np.bool_)
    kept[rows, columns] = chosen & (values > 0)
    return kept | kept.T


def _strongest(values: Matrix, share: float) -> NDArray[np.bool_]:
    """Which are among the greatest, a share of all, at least one."""
    chosen = np.zeros(values.size, dtype=np.bool_)
    chosen[np.argsort(-values, kind="stable")[: max(1, round(share * values.size))]] = True
    return chosen


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


def _rule(config: FunctionalConfig) -> str:
    if config.keep == "density":
        return f"the strongest {config.density:.0%}"
    return f"a false discovery rate {config.alpha}"


def _notes(config: FunctionalConfig, n_frames: int, n_pairs: int, n_areas: int) -> str:
    what = "partial correlation" if config.method == "partial" else "correlation"
    return (
        f"pathways estimated from the {what} of {n_frames} frames; {n_pairs} of {n_areas * (n_areas - 1) // 2} pairs "
        f"kept by {_rule(config)}; neither direction, delay nor sign are measured"
    )
