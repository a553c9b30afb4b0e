"""EEG without eyes and muscles: components found once, labelled by a trained network, taken out when samples are read.

    cleaned(eeg, bad_channels) -> Signal "eeg clean"      needs `pip install neuroloom[ica]`

Independent components (extended infomax: Lee, Girolami and Sejnowski 1999, Neural Comput 11:417) of stretches spread
over the recording, 1 to 100 Hz, against the average reference, as ICLabel was trained on (Pion-Tonachini,
Kreutz-Delgado and Makeig 2019, NeuroImage 198:181). Components that ICLabel calls an eye or a muscle with a
probability of 0.8 or more are left out. What is left is one matrix (C, C), which every slice is multiplied with:
nothing is held, and the signal as recorded stays beside it. The provenance says each component's label and probability.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.eeg_positions import positions_mm
from neuroloom.ingest.lfp import extract_lfp
from neuroloom.ingest.quality._stretches import STRETCH_S, stretches
from neuroloom.ingest.streams import TO_MICROVOLTS, Samples, Signal
from neuroloom.ingest.timebase import FloatArray

LEFT_OUT, MIN_PROBABILITY = ("eye blink", "muscle artifact"), 0.8
FIT_HZ, FIT_RATE_HZ, MIN_FIT_S = (1.0, 100.0), 256.0, 300.0
MIN_RATE_HZ, MIN_CHANNELS = 201.0, 8
WANTED_PER_WEIGHT, FEWEST_PER_WEIGHT = 30, 10  # samples over C * C; 20 to 30 is the usual advice, below 10 is luck
SEED = 0


class CleaningError(ValueError):
    """The signal cannot be cleaned; the message says why."""


def cleaned(eeg: Signal, bad_channels: Collection[str] = ()) -> Signal:
    """The same signal, average-referenced, without the components of eyes and muscles, lazy, float32.

    Bad channels have no part in it and stay as recorded. Raises CleaningError where the recording is too slow, too
    short for its channels, or the place of a channel on the head is not known.
    """
    good = [i for i, name in enumerate(eeg.channel_names) if name not in bad_channels]
    found = _components(eeg, good)
    matrix = np.eye(len(eeg.channel_names))
    matrix[np.ix_(good, good)] = found.matrix
    return replace(
        eeg,
        name=f"{eeg.name} clean",
        gain=np.ones(len(matrix)),
        offset=np.zeros(len(matrix)),
        segments=tuple(replace(s, samples=_Mixed(s.samples, eeg.gain, eeg.offset, matrix)) for s in eeg.segments),
        provenance={
            **{key: value for key, value in eeg.provenance.items() if key != "reference"},
            "made_by": "eeg_cleaning",
            "source": eeg.name,
            "replaces": eeg.name,
            "reference": "average",
            "components": found.labels,
            "left_out": [i for i, (label, p) in enumerate(found.labels) if label in LEFT_OUT and p >= MIN_PROBABILITY],
        },
    )


@dataclass(frozen=True, eq=False)
class _Components:
    """matrix: (G, G), what good channels are multiplied with. labels: ICLabel's word and its probability, each."""

    matrix: FloatArray
    labels: list[tuple[str, float]]


def _components(eeg: Signal, good: list[int]) -> _Components:
    from mne.preprocessing import ICA
    from mne_icalabel import label_components

    raw = _excerpt(eeg, good)
    ica = ICA(n_components=len(good) - 1, method="infomax", fit_params={"extended": True}, rng=SEED)
    ica.fit(raw, verbose="error")
    said = label_components(raw, ica, method="iclabel")
    labels = [(str(a), round(float(p), 3)) for a, p in zip(said["labels"], said["y_pred_proba"], strict=True)]
    ica.exclude = [i for i, (label, p) in enumerate(labels) if label in LEFT_OUT and p >= MIN_PROBABILITY]
    return _Components(_as_matrix(ica, raw.info), labels)


def _as_matrix(ica: Any, info: Any) -> FloatArray:
    """What applying the ICA does to average-referenced values, as a matrix: its answer to each channel alone."""
    import mne

    n = len(info["ch_names"])
    to_average = np.eye(n) - 1 / n
    probes = mne.io.RawArray(np.concatenate([np.zeros((n, 1)), to_average], axis=1), info, verbose="error")
    answer = ica.apply(probes, verbose="error").get_data()
    return np.asarray(answer[:, 1:] - answer[:, :1])


def _excerpt(eeg: Signal, good: list[int]) -> Any:
    """Stretches of the good channels as one MNE Raw in V, average-referenced, 1 to 100 Hz, with places on the head."""
    import mne

    names = [eeg.channel_names[i] for i in good]
    places = positions_mm(eeg)[good]
    _check(eeg, names, places)
    part = eeg.channels(tuple(names))
    slow = extract_lfp(part, FIT_RATE_HZ, FIT_HZ[1]) if eeg.rate_hz > 1.5 * FIT_RATE_HZ else part
    wanted_s = max(MIN_FIT_S, WANTED_PER_WEIGHT * len(names) ** 2 / slow.rate_hz)
    found = np.concatenate([values for _, values in stretches(slow, math.ceil(wanted_s / STRETCH_S))])
    fewest = FEWEST_PER_WEIGHT * len(names) ** 2
    if len(found) < fewest:
        raise CleaningError(f"{eeg.name}: {len(found)} samples; {len(names)} channels want {fewest} to be taken apart")
    info = mne.create_info(names, slow.rate_hz, "eeg", verbose="error")
    raw = mne.io.RawArray(np.nan_to_num(found.T) * TO_MICROVOLTS[eeg.unit] * 1e-6, info, verbose="error")
    raw.set_montage(mne.channels.make_dig_montage(dict(zip(names, places / 1000, strict=True)), coord_frame="head"))
    return raw.filter(*FIT_HZ, verbose="error").set_eeg_reference("average", verbose="error")


def _check(eeg: Signal, names: list[str], places_mm: FloatArray) -> None:
    if eeg.modality != "eeg" or not eeg.is_regular or eeg.rate_hz < MIN_RATE_HZ or len(names) < MIN_CHANNELS:
        raise CleaningError(
            f"{eeg.name}: {len(names)} good channels at {eeg.rate_hz:g} Hz; EEG of {MIN_CHANNELS} or more "
            f"above {MIN_RATE_HZ - 1:g} Hz is wanted"
        )
    if eeg.unit not in TO_MICROVOLTS:
        raise CleaningError(f"{eeg.name}: is in {eeg.unit}; a voltage is wanted")
    unplaced = [name for name, place in zip(names, places_mm, strict=True) if not np.isfinite(place).all()]
    if unplaced:
        raise CleaningError(
            f"{eeg.name}: the place of {unplaced[0]!r} on the head is not known; state a montage in session.toml"
        )


@dataclass(frozen=True, eq=False)
class _Mixed:
    """Lazy samples (T, C), float32, in the signal's unit: each row of values times `matrix`."""

    samples: Samples
    gain: FloatArray
    offset: FloatArray
    matrix: FloatArray  # (C, C): from channels as recorded (columns) to cleaned ones (rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.samples.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    def __getitem__(self, samples: slice, /) -> NDArray[Any]:
        values = np.asarray(self.samples[samples], dtype=np.float64) * self.gain + self.offset
        return np.asarray(values @ self.matrix.T, dtype=np.float32)
