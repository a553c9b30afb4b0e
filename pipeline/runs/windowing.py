"""Sessions to windows of model-rate features, split by time so that nothing leaks from one split into another.

    time ->   |   train   | gap | validation | gap | held-out | gap |   train   | gap | ...

The recording is cut into equal cycles, each with its part of every split, so that slow changes of a recording reach
all of them. Between two blocks of different splits lies a gap at least as long as a window, which belongs to none.
Shapes: B windows, T time bins, C channels of a port.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.session import Session
from neuroloom.ingest.shown import html_table
from neuroloom.ingest.words import count, listed, visible
from neuroloom.models.ports import CLASSES, EVENTS, SENSORS, Port
from neuroloom.pipeline.runs.cosmoothing import hold_out_units
from neuroloom.pipeline.runs.features import FeatureConfig, Features, PortFeatures, build_features

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Bounds = tuple[int, int]
SplitName = Literal["train", "validation", "held_out"]

MOST_GAP = 0.15  # of a recording may go into gaps; the number of cycles follows from it
CHUNK_BINS = 1 << 16  # of the pass that looks for what is unknown
UNSCALED = (*EVENTS, *CLASSES)
WHOLE = slice(None)


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """How sessions are cut into windows.

    lag_bins: an input is seen that many bins late; 1 makes a prediction from the past only. Ports whose features look
        ahead (low-passed ones) are lagged by their reach on top. 0 or less (smoothing) is refused for a port that is
        also a target.
    inputs, targets: names of ports; by default all ports but the choice come in, and all but stimuli are asked for.
    kinds: stream -> kind of port where it is not the usual one; see `FeatureConfig`.
    held_out_units: share of the units that never come in and are targets only, 0 for none; see `cosmoothing.py`.
    use_extrapolated: whether times beyond a clock map's pulses count.
    max_uncertainty_ms: bins whose time is known worse than this do not count; None: all do, whatever is known.
    """

    length_s: float = 2.0
    bin_s: float = 0.02
    held_out: float = 0.2
    validation: float = 0.15
    gap_s: float | None = None
    lag_bins: int = 1
    inputs: tuple[str, ...] | None = None
    targets: tuple[str, ...] | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    held_out_units: float = 0.0
    use_extrapolated: bool = False
    max_uncertainty_ms: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.length_s < 2 * self.bin_s:
            raise ValueError(f"windows of {self.length_s} s with bins of {self.bin_s} s; at least two bins are wanted")
        if not (self.held_out > 0 and self.validation > 0 and self.held_out + self.validation < 1):
            raise ValueError(
                f"held out {self.held_out} and validation {self.validation}; each above 0, together below 1, is wanted"
            )
        if not 0 <= self.held_out_units < 1:
            raise ValueError(f"held_out_units is {self.held_out_units}; a share from 0 to below 1 is wanted")
        if self.gap_s is not None and self.gap_s < self.length_s:
            raise ValueError(f"gap of {self.gap_s} s; at least the window's {self.length_s} s is wanted, or data leak")

    @property
    def n_bins(self) -> int:
        """T of a window."""
        return round(self.length_s / self.bin_s)

    @property
    def gap_bins(self) -> int:
        """Bins between two splits."""
        return int(np.ceil((self.gap_s or self.length_s) / self.bin_s - 1e-6))


def time_blocks(n_bins: int, config: WindowConfig, *, reach_bins: int = 0) -> dict[SplitName, list[Bounds]]:
    """Runs of bins `[first, last)` of each split.

    reach_bins: how far features look around their bin; gaps grow by three times as much, since a late input looks
        back by its lag and its reach, and the other block ahead by its own.
    Raises ValueError where the recording is too short to give every split one window.
    """
    length, gap = config.n_bins, config.gap_bins + 3 * reach_bins
    shares: dict[SplitName, float] = {
        "train": 1 - config.held_out - config.validation,
        "validation": config.validation,
        "held_out": config.held_out,
    }
    shortest = int(np.ceil(length / min(shares.values()))) + 3 * gap
    wanted = max(shortest, int(3 * gap / MOST_GAP))
    n_cycles = max(1, n_bins // wanted)
    if n_bins // n_cycles < shortest - gap:  # the last cycle needs no gap behind it
        raise ValueError(
            f"{n_bins * config.bin_s:.1f} s of recording; at least {(shortest - gap) * config.bin_s:.1f} s are wanted "
            f"for windows of {config.length_s} s in three splits"
        )
    edges = np.linspace(0, n_bins + gap, n_cycles + 1).astype(int)
    blocks: dict[SplitName, list[Bounds]] = {name: [] for name in shares}
    for start, stop in pairwise(edges):
        usable = stop - start - 3 * gap
        parts = [max(length, int(usable * share)) for share in (config.validation, config.held_out)]
        first = int(start)
        for name, size in zip(shares, [usable - sum(parts), *parts], strict=True):
            blocks[name].append((first, first + int(size)))
            first += int(size) + gap
    return blocks


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaler:
    """Per channel `(value - mean) / std`, fitted on training time only; shape (C,) each."""

    mean: Floats
    std: Floats

    def scaled(self, values: Floats) -> Floats:
        """Values in standard deviations of the training time."""
        return np.asarray((values - self.mean) / self.std, dtype=np.float32)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Batch:
    """Windows of one session. Values outside a mask are 0 and mean nothing.

    inputs, targets: port name -> (B, T, C); masks of the same shapes. Spikes are counts, choices class indices,
    stimuli impulses, all else is scaled. uncertainty_ms: port name -> (B,), how well a window's times are known: the
    root mean square over its bins, of targets and inputs at their own time (an input's lag is known exactly).
    first_bins: (B,). scored: (T,), False for bins that only warm the network up.
    """

    session: str
    first_bins: NDArray[np.int64]
    inputs: Mapping[str, Tensor]
    input_masks: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    uncertainty_ms: Mapping[str, Tensor]
    scored: NDArray[np.bool_]

    def __repr__(self) -> str:
        ins, outs = ({n: tuple(v.shape) for n, v in ports.items()} for ports in (self.inputs, self.targets))
        return f"<Batch of {visible(self.session)}: inputs {ins}, targets {outs}>"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SessionData:
    """One session's features, splits and scalers."""

    features: Features
    config: WindowConfig
    blocks: Mapping[SplitName, Sequence[Bounds]]

    def __repr__(self) -> str:
        length_s = self.features.n_bins * self.config.bin_s
        ports = f"in: {listed(self.input_names)}; asked for: {listed(self.target_names)}"
        return f"<SessionData {visible(self.id)}: {length_s:.1f} s in bins of {1e3 * self.config.bin_s:g} ms; {ports}>"

    @property
    def id(self) -> str:
        """The session's id."""
        return self.features.session_id

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """Ports that come in."""
        chosen = self.config.inputs
        return tuple(
            name
            for name, made in self.features.ports.items()
            if not made.target_only and (made.port.kind != "choice" if chosen is None else name in chosen)
        )

    @cached_property
    def target_names(self) -> tuple[str, ...]:
        """Ports that are asked for."""
        chosen = self.config.targets
        return tuple(
            name
            for name, made in self.features.ports.items()
            if (made.port.kind != "stimulus" if chosen is None else name in chosen or made.target_only)
        )

    def ports(self) -> tuple[list[Port], list[Port]]:
        """Inputs and outputs, as a network is told of them."""
        return [self.features[name].port for name in self.input_names], [
            self.features[name].port for name in self.target_names
        ]

    def lag_of(self, name: str) -> int:
        """Bins by which an input is late."""
        lag = self.config.lag_bins
        return lag + self.features[name].reach_bins if lag > 0 else lag

    @cached_property
    def scalers(self) -> dict[str, Scaler]:
        """Per port, fitted on the training blocks; channels that never vary there are only centred."""
        return {name: self._fitted(made) for name, made in self.features.ports.items()}

    @cached_property
    def mean_rates(self) -> dict[str, Floats]:
        """Per port of spikes or saccades the mean number per bin over training time, shape (C,)."""
        return {name: self.scalers[name].mean for name, made in self.features.ports.items() if made.port.is_rates}

    @cached_property
    def class_shares(self) -> dict[str, Floats]:
        """Per port of choices or tokens how often each class occurs in training time, (K,), with one more of each."""
        return {name: self._shares(made) for name, made in self.features.ports.items() if made.port.is_classes}

    @cached_property
    def rooms(self) -> Mapping[SplitName, NDArray[np.int64]]:
        """Per split and block in how many bins a window can begin."""
        length = self.config.n_bins
        return {
            name: np.array([max(0, last - first - length + 1) for first, last in blocks], dtype=np.int64)
            for name, blocks in self.blocks.items()
        }

    def inputs_at(self, name: str, first: int, last: int, *, scaled: bool = False) -> tuple[Floats, Flags]:
        """An input port as seen at bins `[first, last)`: late by its lag, 0 where unknown.

        Counts stay counts unless `scaled`; stimuli stay impulses; all else is scaled.
        """
        lag, made = self.lag_of(name), self.features[name]
        values, valid = self._cut(made, first - lag, last - lag)
        if scaled or not made.port.is_counts:
            values = self._scaled(name, values)
        return np.where(valid, values, 0).astype(np.float32), valid

    def targets_at(self, name: str, first: int, last: int) -> tuple[Floats, Flags]:
        """A target port at bins `[first, last)`: counts, class indices or scaled values, 0 where unknown."""
        made = self.features[name]
        values, valid = self._cut(made, first, last)
        values = self.scalers[name].scaled(values) if self.is_scaled(name) else values
        return np.where(valid, values, 0).astype(np.float32), valid

    def stacked(self, name: str, starts: Sequence[int], length: int, *, target: bool) -> tuple[Floats, Flags | None]:
        """`targets_at` or `inputs_at` of many windows at once, (B, T, C); the mask is None where all is known.

        Design rationale: what a training waits for. Windows are copied once into one array and worked on there; whether
        anything in a window is unknown is looked up in sums over bins, so masks are only read where something is.
        """
        made, lag = self.features[name], 0 if target else self.lag_of(name)
        first = np.asarray(starts, dtype=np.int64) - lag
        unknown = self._n_unknown[name]
        n_bins = self.features.n_bins
        whole = (first >= 0) & (first + length <= n_bins)
        low, high = np.clip(first, 0, n_bins), np.clip(first + length, 0, n_bins)
        if not (whole & (unknown[high] == unknown[low])).all():
            cut = self.targets_at if target else self.inputs_at
            parts = [cut(name, int(start), int(start) + length) for start in starts]
            return np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts])
        values = np.empty((len(first), length, made.values.shape[1]), dtype=np.float32)
        mean, std = self._tiled(name, length) if self.is_scaled(name) else (None, None)
        source = made.values.view(np.ndarray)  # slices of a memory map that know of it cost as much as the copy
        for window, start in zip(values, first.tolist(), strict=True):
            if mean is None or std is None:
                window[:] = source[start : start + length]
            else:  # while the window lies in the processor's cache
                np.subtract(source[start : start + length], mean, out=window)
                np.divide(window, std, out=window)
        return values, None

    def _tiled(self, name: str, length: int) -> tuple[Floats, Floats]:
        """Mean and spread of a port for every bin of a window, (T, C): twice as fast as one line for all."""
        if (name, length) not in self._tiles:
            scaler = self.scalers[name]
            tiled = [np.tile(line, (length, 1)) for line in (scaler.mean, scaler.std)]
            self._tiles[name, length] = (tiled[0], tiled[1])
        return self._tiles[name, length]

    @cached_property
    def _tiles(self) -> dict[tuple[str, int], tuple[Floats, Floats]]:
        return {}

    @cached_property
    def _n_unknown(self) -> Mapping[str, NDArray[np.int64]]:
        """Per port how many bins before each are not wholly known, (T + 1,)."""
        found = {}
        for name, made in self.features.ports.items():
            total = np.zeros(self.features.n_bins + 1, dtype=np.int64)
            for first in range(0, self.features.n_bins, CHUNK_BINS):
                last = min(first + CHUNK_BINS, self.features.n_bins)
                total[first + 1 : last + 1] = ~self._cut(made, first, last)[1].all(axis=1)
            found[name] = total.cumsum()
        return found

    @cached_property
    def _uncertainty_sums(self) -> Mapping[str, NDArray[np.float64]]:
        """Per port, of the bins before each: sum of squared uncertainties, number that is not finite, (2, T + 1)."""
        found = {}
        for name, made in self.features.ports.items():
            each = np.asarray(made.uncertainty_T_ms, dtype=np.float64)
            finite = np.isfinite(each)
            rows = np.stack([np.where(finite, each, 0) ** 2, ~finite])
            found[name] = np.concatenate([np.zeros((2, 1)), rows.cumsum(axis=1)], axis=1)
        return found

    def uncertainty_at(self, name: str, starts: Sequence[int], length: int) -> NDArray[np.float32]:
        """How well the times of a port are known over windows of so many bins, ms, (B,).

        Root mean square of those bins there are; NaN where none is, infinite where one is not known at all.
        """
        sums, n_bins = self._uncertainty_sums[name], self.features.n_bins
        low, high = (np.clip(np.asarray(starts) + shift, 0, n_bins) for shift in (0, length))
        (square, unknown), n = sums[:, high] - sums[:, low], high - low
        mean = np.divide(square, n, out=np.full(len(n), np.nan), where=n > 0)
        return np.where(unknown > 0, np.inf, np.sqrt(np.maximum(mean, 0))).astype(np.float32)

    def is_scaled(self, name: str) -> bool:
        """Whether the values of a port are in standard deviations of the training time, as targets."""
        port = self.features[name].port
        return not port.is_counts and port.kind not in UNSCALED

    def _scaled(self, name: str, values: Floats) -> Floats:
        return values if self.features[name].port.kind in UNSCALED else self.scalers[name].scaled(values)

    def _cut(self, made: PortFeatures, first: int, last: int) -> tuple[Floats, Flags]:
        """Values and mask of `[first, last)`; bins that do not exist are not valid."""
        inside = slice(min(max(first, 0), self.features.n_bins), min(max(last, 0), self.features.n_bins))
        before = max(0, min(-first, last - first))
        values, valid = np.asarray(made.values[inside]), np.array(made.valid[inside])
        after = (last - first) - before - len(values)
        if not self.config.use_extrapolated:
            valid &= ~np.asarray(made.extrapolated[inside])[:, None]
        if self.config.max_uncertainty_ms is not None:
            valid &= (np.asarray(made.uncertainty_T_ms[inside]) <= self.config.max_uncertainty_ms)[:, None]
        if before or after:
            values = np.pad(values, ((before, after), (0, 0)))
            valid = np.pad(valid, ((before, after), (0, 0)))
        return values, valid

    def _shares(self, made: PortFeatures) -> Floats:
        found = np.ones(made.port.n_classes)
        for first, last in self.blocks["train"]:
            values, valid = self._cut(made, first, last)
            found += np.bincount(values[valid].astype(np.int64), minlength=found.size)
        return np.asarray(found / found.sum(), dtype=np.float32)

    def _fitted(self, made: PortFeatures) -> Scaler:
        total = np.zeros((3, made.port.n_channels))
        pivot: NDArray[np.float64] | None = None
        for first, last in self.blocks["train"]:
            values, valid = self._cut(made, first, last)
            if pivot is None:
                pivot = values.mean(axis=0, dtype=np.float64)
            away = np.where(valid, values - pivot, 0)
            total += np.stack([valid.sum(0), away.sum(0), (away**2).sum(0)])
        n_valid = np.maximum(total[0], 1)
        shift = total[1] / n_valid
        variance = np.maximum(total[2] / n_valid - shift**2, 0)
        mean = (0 if pivot is None else pivot) + shift
        flat = variance <= 1e-12 * (np.abs(mean) ** 2 + np.finfo(np.float64).tiny)
        std = np.where(flat, 1.0, np.sqrt(variance))
        if made.port.kind in SENSORS and not flat.all():
            std = np.full_like(std, np.median(std[~flat]))  # one for all sensors: a lead field needs the topography
        return Scaler(mean=mean.astype(np.float32), std=std.astype(np.float32))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Split:
    """The windows of one part of time, over all sessions; nothing is read until a batch is asked for."""

    name: SplitName
    sessions: Mapping[str, SessionData]
    config: WindowConfig

    def __repr__(self) -> str:
        of = listed(tuple(self.sessions))
        return f"<Split {self.name}: {count(self.n_windows, 'window')}, {self.duration_s:.1f} s of {of}>"

    @property
    def n_windows(self) -> int:
        """How many windows lie side by side in it."""
        return sum(len(self.tiles(session)) for session in self.sessions)

    @property
    def duration_s(self) -> float:
        """Its length over all sessions, seconds."""
        bins = sum(last - first for data in self.sessions.values() for first, last in data.blocks[self.name])
        return bins * self.config.bin_s

    def tiles(self, session: str) -> list[int]:
        """First bins of windows that lie side by side; what is left over at a block's end is not used."""
        length = self.config.n_bins
        return [
            start
            for first, last in self.sessions[session].blocks[self.name]
            for start in range(first, last - length + 1, length)
        ]

    def random_batch(self, step: int, *, batch_size: int, share: slice = WHOLE) -> Batch:
        """Windows drawn anywhere in the split, of one session, chosen by its length.

        A pure function of the seed and the step: a run that goes on at step n draws what it would have drawn.
        share: of these windows, where several processes have a part of each batch.
        """
        rng = np.random.default_rng([self.config.seed, step])
        names = list(self.sessions)
        room = [self.sessions[name].rooms[self.name] for name in names]
        weights = np.array([float(r.sum()) for r in room])
        chosen = int(rng.choice(len(names), p=weights / weights.sum()))
        blocks = self.sessions[names[chosen]].blocks[self.name]
        which = rng.choice(len(blocks), size=batch_size, p=room[chosen] / room[chosen].sum())
        starts = [blocks[i][0] + int(rng.integers(room[chosen][i])) for i in which]
        return self.batch(names[chosen], starts[share])

    def batches(self, *, batch_size: int, warm_up_bins: int = 0, share: slice = WHOLE) -> Iterator[Batch]:
        """All windows side by side, in order of time, each session's in batches of at most `batch_size`.

        warm_up_bins: context before each window, marked as not scored. share: of these batches.
        """
        tiles = {session: self.tiles(session) for session in self.sessions}
        parts = [
            (session, starts[i : i + batch_size])
            for session, starts in tiles.items()
            for i in range(0, len(starts), batch_size)
        ]
        for session, starts in parts[share]:
            yield self.batch(session, starts, warm_up_bins=warm_up_bins)

    def batch(self, session: str, starts: Sequence[int], *, warm_up_bins: int = 0) -> Batch:
        """The windows of one session that start at these bins, with `warm_up_bins` of context before each."""
        import torch

        data, length = self.sessions[session], self.config.n_bins + warm_up_bins
        firsts = [start - warm_up_bins for start in starts]

        def stacked(name: str, *, target: bool) -> tuple[Tensor, Tensor]:
            values, mask = data.stacked(name, firsts, length, target=target)
            known = torch.ones((), dtype=torch.bool).expand(values.shape) if mask is None else torch.from_numpy(mask)
            return torch.from_numpy(values), known

        inputs = {name: stacked(name, target=False) for name in data.input_names}
        targets = {name: stacked(name, target=True) for name in data.target_names}
        return Batch(
            session=session,
            first_bins=np.asarray(firsts, dtype=np.int64),
            inputs={name: pair[0] for name, pair in inputs.items()},
            input_masks={name: pair[1] for name, pair in inputs.items()},
            targets={name: pair[0] for name, pair in targets.items()},
            masks={name: pair[1] for name, pair in targets.items()},
            uncertainty_ms={
                name: torch.from_numpy(data.uncertainty_at(name, starts, self.config.n_bins))
                for name in dict.fromkeys((*data.input_names, *data.target_names))
            },
            scored=np.arange(length) >= warm_up_bins,
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Windows:
    """Windows of several sessions: `.train`, `.validation`, `.held_out`. control: what was done to the recordings."""

    sessions: Mapping[str, SessionData]
    config: WindowConfig
    feature_config: FeatureConfig = field(default_factory=FeatureConfig)
    control: str = ""

    def __repr__(self) -> str:
        sizes = ", ".join(f"{split.n_windows} {split.name}" for split in self._splits())
        bins = f"{self.config.length_s:g} s in bins of {1e3 * self.config.bin_s:g} ms"
        control = f"; control: {self.control}" if self.control else ""
        return f"<Windows of {count(len(self.sessions), 'session')}, {bins}: {sizes}{control}>"

    def _repr_html_(self) -> str:
        head = ("session", "port", "kind", "channels", "comes in", "is asked for", "lag (bins)")
        rows = [
            _port_row(data, name, made) for data in self.sessions.values() for name, made in data.features.ports.items()
        ]
        return html_table(repr(self), head, rows, len(rows))

    @property
    def train(self) -> Split:
        """What networks and scalers are fitted on."""
        return self._split("train")

    @property
    def validation(self) -> Split:
        """What settings are chosen on."""
        return self._split("validation")

    @property
    def held_out(self) -> Split:
        """What nobody has looked at."""
        return self._split("held_out")

    def ports(self, session: str | Session) -> tuple[list[Port], list[Port]]:
        """Inputs and outputs of one session. KeyError lists the sessions there are."""
        name = session if isinstance(session, str) else session.id
        if name not in self.sessions:
            raise KeyError(f"no session {name!r}; there are {sorted(self.sessions)}")
        return self.sessions[name].ports()

    def _splits(self) -> tuple[Split, Split, Split]:
        return self.train, self.validation, self.held_out

    def _split(self, name: SplitName) -> Split:
        return Split(name=name, sessions=self.sessions, config=self.config)


def _port_row(data: SessionData, name: str, made: PortFeatures) -> tuple[object, ...]:
    """A port as `Windows` shows it."""
    comes_in, is_asked_for = name in data.input_names, name in data.target_names
    lag = data.lag_of(name) if comes_in else None
    return (data.id, name, made.port.kind, made.port.n_channels, comes_in, is_asked_for, lag)


def windows(
    sessions: Sequence[Session],
    *,
    length_s: float = 2.0,
    bin_s: float = 0.02,
    held_out: float = 0.2,
    validation: float = 0.15,
    gap_s: float | None = None,
    lag_bins: int = 1,
    inputs: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    held_out_units: float = 0.0,
    shuffle_recording: bool = False,
    surrogate: bool = False,
    use_extrapolated: bool = False,
    max_uncertainty_ms: float | None = None,
    seed: int = 0,
    folder: Path | None = None,
    features: FeatureConfig | None = None,
) -> Windows:
    """Windows of `length_s` over sessions, split by interleaved blocks of time; lazy. See `WindowConfig`.

    folder: cache of the features (a store's `derived/`). features: how they are made; its bin is `bin_s`.
    shuffle_recording, surrogate: controls, one of them: recordings of the brain at the wrong times, or noise with their
        statistics; see `controls.py`. Behaviour and stimuli stay.
    Raises ValueError where two sessions have the same id, a recording is too short, a port name is not known, or a
    target would come in unlagged.
    """
    config = WindowConfig(
        length_s=length_s,
        bin_s=bin_s,
        held_out=held_out,
        validation=validation,
        gap_s=gap_s,
        lag_bins=lag_bins,
        inputs=None if inputs is None else tuple(inputs),
        targets=None if targets is None else tuple(targets),
        kinds=dict(kinds or {}),
        held_out_units=held_out_units,
        use_extrapolated=use_extrapolated,
        max_uncertainty_ms=max_uncertainty_ms,
        seed=seed,
    )
    feature_config = feature_config_of(features, bin_s, config.kinds)
    made: dict[str, SessionData] = {}
    for session in sessions:
        if session.id in made:
            raise ValueError(f"two sessions are {session.id}; each needs an id of its own")
        found = build_features(session, config=feature_config, folder=folder)
        found = hold_out_units(found, held_out_units, seed=seed) if held_out_units else found
        reach_bins = max((port.reach_bins for port in found.ports.values()), default=0)
        blocks = time_blocks(found.n_bins, config, reach_bins=reach_bins)
        made[session.id] = SessionData(features=found, config=config, blocks=blocks)
    if not made:
        raise ValueError("no session; at least one is wanted")
    _check_ports(made, config)
    data = Windows(sessions=made, config=config, feature_config=feature_config)
    if not (shuffle_recording or surrogate):
        return data
    from neuroloom.pipeline.runs.controls import controlled

    return controlled(data, shuffle_recording=shuffle_recording, surrogate=surrogate, seed=seed)


def feature_config_of(features: FeatureConfig | None, bin_s: float, kinds: Mapping[str, str]) -> FeatureConfig:
    """How features are made for windows that ask for these."""
    features = features or FeatureConfig()
    return replace(features, bin_s=bin_s, kinds={**features.kinds, **kinds})


def _check_ports(sessions: Mapping[str, SessionData], config: WindowConfig) -> None:
    known = {name for data in sessions.values() for name in data.features.ports}
    for name in (*(config.inputs or ()), *(config.targets or ())):
        if name not in known:
            raise ValueError(f"no port {name!r} in any session; there are {sorted(known)}")
    for data in sessions.values():
        for name in config.inputs or ():
            if name in data.features.ports and data.features[name].target_only:
                raise ValueError(f"{data.id}: {name!r} cannot come in: its units are held out")
        both = sorted(set(data.input_names) & set(data.target_names))
        if config.lag_bins <= 0 and both:
            raise ValueError(f"{data.id}: {both[0]!r} is input and target with a lag of {config.lag_bins}; 1 is wanted")
        if not data.input_names or not data.target_names:
            raise ValueError(
                f"{data.id}: {len(data.input_names)} inputs, {len(data.target_names)} targets; each needs one"
            )
