"""Electrodes for models: what a device would have recorded had it been put into a teacher.

    e = noise(filter(P s))      s: states of the recorded layers side by side, each scaled by its own RMS

The layers' scale comes from a calibration stretch, one number per layer: scaling each dimension would turn dead
dimensions into signal. The filter runs over time as a device's does, whatever sequences the time is made of. Noise is
drawn once, from the recording's seed, and belongs to the recording: whoever looks twice sees the same.

    projection   P ~ N(0, 1/d), one draw per subject
    local        each electrode hears a few neighbouring units, the nearer the louder
    sparse       each electrode hears a few units, wherever they are
    eeg          sources and electrodes lie on a sphere; mixing falls off as exp(-distance): few spatial dimensions
    spikes       projection, then rate = softplus(...), Poisson counts per step; `snr_db` has no meaning there

Shapes: T steps, D features of the state, K electrodes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from neuroloom.pipeline.config import Config

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
LOUD = 10.0  # standard deviations of a burst
LONGEST_BURST = 8  # steps


def _is_a_ratio(value: float) -> float:
    if math.isnan(value) or value == -math.inf:
        raise ValueError("a number of decibels, or inf, is wanted")
    return value


Decibels = Annotated[float, Field(allow_inf_nan=True), AfterValidator(_is_a_ratio)]


class ElectrodeConfig(Config):
    """Which electrodes, where, how noisy.

    snr_db: signal over noise per channel, after the filter, in decibels; inf for none. snr_spread_db: by how much
    channels differ in it, standard deviation; which are good is the subject's. layers: those recorded, all where empty.
    coverage: share of the recorded units that lie in the region that electrodes reach, neighbours of each other; the
    others are heard by none. low_pass: of a one-pole filter, y[t] = low_pass y[t-1] + (1 - low_pass) x[t].
    reach: over which an electrode's hearing falls by e: of the local kind a share of the d units (0.05 where it is not
    given), of the eeg kind in radii of the head (0.5). Of the sparse kind the share of units that one hears (0.05).
    rank: most spatial dimensions of the eeg kind. spikes_per_step: mean count of the spikes kind.
    dead: share of channels that are flat. bursts: chance per step that a loud artefact begins, on all channels.
    dropouts: chance per step and channel that it goes flat for a while. drift: share of each electrode's variance that
    has turned to other units by the end. subject_seed: where the electrodes lie; noise_seed: what they add.
    """

    kind: Literal["projection", "local", "sparse", "eeg", "spikes"] = "projection"
    n_channels: int = Field(default=128, ge=1)
    snr_db: Decibels = 0.0
    snr_spread_db: float = Field(default=0.0, ge=0)
    layers: tuple[str, ...] = ()
    coverage: float = Field(default=1.0, gt=0, le=1)
    low_pass: float = Field(default=0.0, ge=0, lt=1)
    reach: float | None = Field(default=None, gt=0)
    rank: int = Field(default=32, ge=1)
    spikes_per_step: float = Field(default=0.5, gt=0, le=1000)
    dead: float = Field(default=0.0, ge=0, lt=1)
    bursts: float = Field(default=0.0, ge=0, lt=1)
    dropouts: float = Field(default=0.0, ge=0, lt=1)
    drift: float = Field(default=0.0, ge=0, le=1)
    subject_seed: int = Field(default=0, ge=0)
    noise_seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """What a recording can hold, to be stated beside every result that rests on it.

    d: features of the recorded state, 0 where it is not known. participation: (sum of eigenvalues)^2 / sum of squared
    eigenvalues of its covariance: about how many dimensions it fills. capacity_bits: per sample, C = 1/2 log2 det(I +
    SNR Corr) with the correlations of the noiseless channels; inf without noise. snr_db: as measured per channel, their
    median; snr_low_db, snr_high_db: the worst and the best channel's. heard: features that any channel hears.
    """

    n_channels: int
    d: int
    participation: float
    capacity_bits: float
    snr_db: float
    n_steps: int
    snr_low_db: float = math.nan
    snr_high_db: float = math.nan
    heard: int = 0

    def to_json(self) -> dict[str, Any]:
        """With the ratios that results are drawn over; what is not finite as None."""
        ratios = {
            "k_over_d": self.n_channels / self.d if self.d else None,
            "k_over_participation": self.n_channels / self.participation if self.participation else None,
        }
        found = {name: getattr(self, name) for name in self.__dataclass_fields__} | ratios
        return {n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in found.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Tape:
    """What electrodes recorded: values_TK (counts for spikes). clean_TK: without noise, the truth: to be kept aside."""

    values_TK: Floats
    clean_TK: Floats
    facts: Facts


@dataclass(frozen=True, kw_only=True, eq=False)
class Electrodes:
    """Electrodes put into a teacher: the same whatever it does. Made by `implant`."""

    config: ElectrodeConfig
    scales: Mapping[str, float]
    weights_DK: Floats
    drifted_DK: Floats
    mean_K: Floats
    std_K: Floats
    participation: float

    def record(self, states: Mapping[str, Floats]) -> Tape:
        """What they record of states (T, D) per layer, in order of time."""
        rng = np.random.default_rng([self.config.noise_seed, 1])
        clean = filtered(self._mixed(scaled(states, self.scales)), self.config.low_pass)
        if self.config.kind == "spikes":
            rate = self._rate(clean)
            values, noise_variance, clean = rng.poisson(rate).astype(np.float32), rate.mean(axis=0), rate
        else:
            noise = self.std_K * 10 ** (-snr_of_channels(self.config) / 20)
            values = clean + (rng.standard_normal(clean.shape, dtype=np.float32) * noise).astype(np.float32)
            noise_variance = noise.astype(np.float64) ** 2
        values = spoiled(values, self.std_K, self.config, rng)
        return Tape(values_TK=values, clean_TK=clean, facts=self._facts(clean, noise_variance))

    def _mixed(self, state_TD: Floats) -> Floats:
        if self.config.drift == 0:
            return np.asarray(state_TD @ self.weights_DK)
        turned = (self.config.drift * np.linspace(0, 1, len(state_TD), dtype=np.float32))[:, None]
        mixed = np.sqrt(1 - turned) * (state_TD @ self.weights_DK) + np.sqrt(turned) * (state_TD @ self.drifted_DK)
        return np.asarray(mixed, dtype=np.float32)

    def _rate(self, mixed_TK: Floats) -> Floats:
        """softplus of the standardised input, scaled so that the mean over standard normal input is as asked."""
        standard = (mixed_TK - self.mean_K) / self.std_K
        return np.asarray(self.config.spikes_per_step * np.logaddexp(0, 1.5 * standard - 0.5) / SOFTPLUS_MEAN)

    def _facts(self, clean_TK: Floats, noise_variance_K: Doubles) -> Facts:
        live = np.flatnonzero(clean_TK.std(axis=0) > 0)
        part = clean_TK[:, live].astype(np.float64)
        with np.errstate(divide="ignore"):
            snr_K = part.var(axis=0) / noise_variance_K[live]
        return Facts(
            n_channels=clean_TK.shape[1],
            d=self.weights_DK.shape[0],
            participation=self.participation,
            capacity_bits=capacity_bits(part, snr_K),
            snr_db=_decibels(np.median(snr_K)) if len(live) else -math.inf,
            snr_low_db=_decibels(snr_K.min()) if len(live) else -math.inf,
            snr_high_db=_decibels(snr_K.max()) if len(live) else -math.inf,
            n_steps=len(clean_TK),
            heard=int((self.weights_DK != 0).any(axis=1).sum()),
        )


_GRID = np.linspace(-6, 6, 2001)
SOFTPLUS_MEAN = float(
    np.sum(np.logaddexp(0, 1.5 * _GRID - 0.5) * np.exp(-(_GRID**2) / 2)) / np.sum(np.exp(-(_GRID**2) / 2))
)


def implant(config: ElectrodeConfig, calibration: Mapping[str, Floats]) -> Electrodes:
    """Put electrodes into a teacher. calibration: states (T, D) per layer of a stretch that is used for nothing else.

    Raises ValueError for a layer that is not there.
    """
    unknown = [name for name in config.layers if name not in calibration]
    if unknown:
        raise ValueError(f"no layer {unknown[0]!r} to record; there are {', '.join(calibration)}")
    chosen = {name: calibration[name] for name in config.layers or calibration}
    scales = {name: float(np.sqrt(np.mean(np.square(state, dtype=np.float64)))) for name, state in chosen.items()}
    state = scaled(chosen, scales)
    weights, drifted = (placed(config, state.shape[1], part) for part in (0, 1))
    heard = filtered(np.asarray(state @ weights), config.low_pass)
    return Electrodes(
        config=config,
        scales=scales,
        weights_DK=weights,
        drifted_DK=drifted,
        mean_K=heard.mean(axis=0),
        std_K=np.maximum(heard.std(axis=0), 1e-12),
        participation=participation_ratio(state),
    )


def snr_of_channels(config: ElectrodeConfig) -> Doubles:
    """Signal over noise of each channel, dB, (K,)."""
    drawn = np.random.default_rng([config.subject_seed, 6]).standard_normal(config.n_channels)
    return np.asarray(config.snr_db + config.snr_spread_db * drawn)


def region(config: ElectrodeConfig, d: int) -> Doubles:
    """1 for units that lie where electrodes reach, 0 for the others, (D,); where the region lies is the subject's."""
    first = int(np.random.default_rng([config.subject_seed, 7]).integers(d))
    covered = np.zeros(d)
    covered[(first + np.arange(max(1, round(config.coverage * d)))) % d] = 1
    return covered


def _decibels(ratio: float) -> float:
    return float(10 * np.log10(ratio))


def scaled(states: Mapping[str, Floats], scales: Mapping[str, float]) -> Floats:
    """The recorded layers side by side, (T, D), each divided by its scale."""
    parts = [np.asarray(states[name] / scale, dtype=np.float32) for name, scale in scales.items()]
    return np.concatenate(parts, axis=1)


def placed(config: ElectrodeConfig, d: int, part: int) -> Floats:
    """Weights (D, K) of a subject's electrodes. part: 0 where they are, 1 where they drift to; the dead hear nothing"""
    rng = np.random.default_rng([config.subject_seed, 2, part])
    k = config.n_channels
    weights = _scalp(rng, d, k, config) if config.kind == "eeg" else rng.standard_normal((d, k)) * d**-0.5
    if config.kind == "local":
        apart = np.abs(np.arange(d)[:, None] - rng.uniform(0, d, k))
        near = np.exp(-np.minimum(apart, d - apart) / ((config.reach or 0.05) * d))
        weights *= near / np.sqrt(np.square(near).mean(axis=0))
    if config.kind == "sparse":
        n_heard = max(1, round((config.reach or 0.05) * d))
        heard = rng.random((d, k)).argsort(axis=0) < n_heard
        weights *= heard * (d / n_heard) ** 0.5
    weights *= region(config, d)[:, None]
    dead = np.random.default_rng([config.subject_seed, 3]).permutation(k)[: round(config.dead * k)]
    weights[:, dead] = 0
    return np.asarray(weights, dtype=np.float32)


def _scalp(rng: np.random.Generator, d: int, k: int, config: ElectrodeConfig) -> Doubles:
    """Sources of random sign inside a unit sphere, electrodes on its upper half; at most `rank` spatial dimensions."""
    sources, electrodes = rng.standard_normal((d, 3)), rng.standard_normal((k, 3))
    sources *= 0.8 * rng.uniform(0, 1, (d, 1)) ** (1 / 3) / np.linalg.norm(sources, axis=1, keepdims=True)
    electrodes /= np.linalg.norm(electrodes, axis=1, keepdims=True)
    electrodes[:, 2] = np.abs(electrodes[:, 2])
    apart = np.linalg.norm(sources[:, None] - electrodes, axis=-1)
    mixing = np.exp(-apart / (config.reach or 0.5)) * rng.choice([-1.0, 1.0], (d, 1))
    left, strength, right = np.linalg.svd(mixing, full_matrices=False)
    strength[config.rank :] = 0
    mixing = (left * strength) @ right
    return np.asarray(mixing / np.linalg.norm(mixing, axis=0, keepdims=True).clip(1e-12))


def filtered(values_TK: Floats, low_pass: float) -> Floats:
    """One-pole low-pass over time, from the first sample's steady state."""
    if low_pass == 0:
        return values_TK
    from scipy.signal import lfilter

    start = low_pass * values_TK[:1].astype(np.float64)
    found, _ = lfilter([1 - low_pass], [1, -low_pass], values_TK.astype(np.float64), axis=0, zi=start)
    return np.asarray(found, dtype=np.float32)


def spoiled(values_TK: Floats, std_K: Floats, config: ElectrodeConfig, rng: np.random.Generator) -> Floats:
    """The recording with its artefacts: bursts on all channels, channels that go flat for a while."""
    n_steps, k = values_TK.shape
    is_count = config.kind == "spikes"
    for start in np.flatnonzero(rng.random(n_steps) < config.bursts):
        stop = start + int(rng.integers(1, LONGEST_BURST + 1))
        size = np.abs(rng.standard_normal(k)) if is_count else rng.standard_normal(k) * std_K
        values_TK[start:stop] += (np.round(LOUD * size) if is_count else LOUD * size).astype(np.float32)
    for channel in range(k if config.dropouts else 0):
        for start in np.flatnonzero(rng.random(n_steps) < config.dropouts):
            values_TK[start : start + int(rng.integers(1, 8 * LONGEST_BURST)), channel] = 0
    return values_TK


def participation_ratio(state_TD: Floats) -> float:
    """About how many dimensions a state fills: (trace C)^2 / trace C^2 of its covariance."""
    covariance = np.cov(state_TD.astype(np.float64), rowvar=False).reshape(state_TD.shape[1], -1)
    return float(np.trace(covariance) ** 2 / np.square(covariance).sum())


def capacity_bits(clean_TK: Doubles, snr_K: Doubles) -> float:
    """Bits per sample of a Gaussian channel: 1/2 log2 det(I + S^1/2 Corr S^1/2), S the channels' signal to noise."""
    if clean_TK.shape[1] == 0:
        return 0.0
    if not np.isfinite(snr_K).all():
        return math.inf
    correlation = np.corrcoef(clean_TK, rowvar=False).reshape(len(snr_K), -1)
    root = np.sqrt(snr_K)
    return float(np.linalg.slogdet(np.eye(len(snr_K)) + root[:, None] * correlation * root)[1] / (2 * math.log(2)))


def shuffled(values_TK: Floats, seed: int) -> Floats:
    """The control with the same values at the wrong times."""
    return np.asarray(values_TK[np.random.default_rng([seed, 4]).permutation(len(values_TK))])


def surrogate(values_TK: Floats, seed: int) -> Floats:
    """The control with the same covariance and spectra: phases turned by the same random angles on every channel.

    Prichard and Theiler 1994. It keeps every linear relation between channels and over time, and knows nothing of what
    was going on.
    """
    n_steps = len(values_TK)
    spectrum = np.fft.rfft(values_TK.astype(np.float64), axis=0)
    angle = np.random.default_rng([seed, 5]).uniform(0, 2 * np.pi, len(spectrum))
    angle[0] = 0
    if n_steps % 2 == 0:
        angle[-1] = 0
    return np.asarray(np.fft.irfft(spectrum * np.exp(1j * angle)[:, None], n=n_steps, axis=0), dtype=np.float32)
