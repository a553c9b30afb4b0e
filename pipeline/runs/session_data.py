"""One session as windows see it: its features, late by their lags and scaled by its training time, at any bins.

Shapes: B windows, T time bins, C channels of a port, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.words import listed, visible
from neuroloom.models.ports import CLASSES, EVENTS, SENSORS, Port
from neuroloom.pipeline.runs.features import Features, PortFeatures
from neuroloom.pipeline.runs.splitting import Bounds, SplitName, WindowConfig

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

CHUNK_BINS = 1 << 16  # of the pass that looks for what is unknown
UNSCALED = (*EVENTS, *CLASSES)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaler:
    """Per channel `(value - mean) / std`, fitted on training time only; shape (C,) each."""

    mean: Floats
    std: Floats

    def scaled(self, values: Floats) -> Floats:
        """Values in standard deviations of the training time."""
        return np.asarray((values - self.mean) / self.std, dtype=np.float32)


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
