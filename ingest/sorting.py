"""Spikes from a wideband signal: preprocess, sort, measure, judge. Nothing found is thrown away.

    sort(signal, sorter="spykingcircus2", curation=Curation()) -> Units
    measure(signal, units) -> Units      those of an existing sorting, measured on the signal

Columns of the table, one value per unit:

    channel                 name of the channel where the mean waveform is largest
    x_um, y_um, depth_um    centre of mass of the unit, depth being y; NaN where contact positions are not known
    snr, isi_violations_ratio, firing_rate_hz, presence_ratio, amplitude_cutoff     NaN where not measurable
    n_spikes
    accepted, reason        the verdict of the curation, and why
    area                    that of the channel, where the signal's table has one

The provenance holds the sorter, every decision of the preprocessing, the curation, and per unit the mean waveform at
its channel, `template_uV` (`template_start_ms` is its first sample relative to the spike). `over_time` tells whether
units drift: from `start_s` to `stop_s` in equal stretches, each unit's median `depth_um` and `amplitude_uV` (of its
spikes, at the unit's channel), None where it fired fewer than `FEWEST_SPIKES` times; no depths without positions.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.preprocessing import Chain, Preprocessed, preprocess
from neuroloom.ingest.sorters import SortingError, sorter_named
from neuroloom.ingest.sorters._spikeinterface import quiet, seeded
from neuroloom.ingest.spikeinterface_bridge import channel_ids, positions_um
from neuroloom.ingest.streams import Signal, Units
from neuroloom.ingest.timebase import FloatArray, Times

Progress = Callable[[str], None]
Trains = list[list[NDArray[np.int64]]]  # per unit, per segment: sample indices

MEASURES = ("snr", "isi_violations_ratio", "firing_rate_hz", "presence_ratio", "amplitude_cutoff")
PRESENCE_MIN_S = 300.0  # presence is counted in bins of a minute; fewer than five say nothing
SEED = 0
STRETCHES, SHORTEST_S, FEWEST_SPIKES = 60, 1.0, 3  # of `over_time`
COPIES = 2  # of the traces on disk at one time: preprocessed, and whitened by the sorter


@dataclass(frozen=True, kw_only=True)
class Curation:
    """Which units are accepted. A measure that cannot be taken (too few spikes, too short) rejects nobody.

    The limits on refractory violations, presence and amplitude cutoff are the defaults of the Allen Institute's
    Neuropixels survey (Siegle et al. 2021, Nature 592:86); violations after Hill, Mehta and Kleinfeld 2011,
    J Neurosci 31:8699, as the rate of a contaminating unit relative to the unit's own. The sorters detect at five
    noise levels, so a mean waveform below four is one whose peaks are largely cut off. Below 0.1 spikes per
    second neither violations nor amplitudes can be judged.
    """

    min_snr: float = 4.0
    max_isi_violations_ratio: float = 0.5
    min_firing_rate_hz: float = 0.1
    min_presence_ratio: float = 0.9
    max_amplitude_cutoff: float = 0.1

    def verdict(self, measures: Mapping[str, float]) -> tuple[bool, str]:
        """Accepted or not, and why; `measures` holds those of `MEASURES`, NaN where not measurable."""
        limits = {name: asdict(self)[f"min_{name}"] for name in ("snr", "firing_rate_hz", "presence_ratio")}
        failed = [f"{k} {measures[k]:.3g} below {low:g}" for k, low in limits.items() if measures[k] < low]
        for name in ("isi_violations_ratio", "amplitude_cutoff"):
            high = asdict(self)[f"max_{name}"]
            failed += [f"{name} {measures[name]:.3g} above {high:g}"] if measures[name] > high else []
        unmeasured = [name for name in MEASURES if not np.isfinite(measures[name])]
        said = failed or ["within all limits"]
        said += [f"not measurable: {', '.join(unmeasured)}"] if unmeasured else []
        return not failed, "; ".join(said)


def sort(
    signal: Signal,
    sorter: str = "spykingcircus2",
    curation: Curation | None = None,
    *,
    chain: Chain | None = None,
    n_jobs: int = 1,
    progress: Progress | None = None,
) -> Units:
    """Units of a wideband signal, each spike at the time its own segment's timebase gives it.

    sorter: a file of `ingest/sorters/`, or any sorter installed for SpikeInterface. curation: `Curation()` if None.
    chain: what is done to the traces before, `Chain()` if None.
    n_jobs: processes for the sorter. progress: is told each step.
    Sorting twice gives the same units. Raises UnsortedError where the sorter fails, SortingError for an unknown one,
    and ValueError for a signal in which spikes cannot be looked for (see `preprocess`).
    """
    say = progress or (lambda _: None)
    run_sorter = sorter_named(sorter)
    rule = curation or Curation()
    with tempfile.TemporaryDirectory(prefix="neuroloom-sorting-") as folder, _jobs(n_jobs), seeded(SEED):
        say(f"{signal.name}: preprocessing")
        with quiet():
            prepared = _saved(signal, chain, folder)
        say(f"{signal.name}: sorting with {sorter}")
        with quiet():
            found = run_sorter(prepared.signal(signal.name))
        say(f"{signal.name}: measuring {len(found.unit_names)} units")
        with quiet():
            trains = _trains(found, [s.timebase for s in prepared.signal(found.name).segments], signal.rate_hz)
            measured = _measured(signal, prepared, trains)
    return _units(signal, prepared, found, trains, measured, rule)


def measure(
    signal: Signal, units: Units, *, chain: Chain | None = None, n_jobs: int = 1, progress: Progress | None = None
) -> Units:
    """Units that came with the signal, with the measures that `sort` takes; what people said of them stays.

    Adds the columns that are missing and the mean waveforms. chain, n_jobs, progress: as in `sort`. Raises SortingError
    and ValueError as it does.
    """
    say = progress or (lambda _: None)
    if not units.unit_names:
        return units
    with tempfile.TemporaryDirectory(prefix="neuroloom-sorting-") as folder, _jobs(n_jobs), seeded(SEED), quiet():
        say(f"{signal.name}: measuring {len(units.unit_names)} units of an existing sorting")
        prepared = _saved(signal, chain, folder)
        trains = _trains(units, _bases(signal, prepared), signal.rate_hz)
        measured = _measured(signal, prepared, trains)
    return replace(
        units,
        table={**measured.columns, "n_spikes": _counts(trains), **units.table},
        provenance={
            **units.provenance,
            "preprocessing": dict(prepared.decisions),
            **_told(units, measured),
        },
    )


def _told(units: Units, measured: _Measured) -> dict[str, Any]:
    """What was measured and is no column, as the provenance has it."""
    return {
        "template_uV": _templates(units, measured),
        "template_start_ms": measured.template_start_ms,
        "over_time": {
            key: dict(zip(units.unit_names, value, strict=True)) if isinstance(value, list) else value
            for key, value in measured.over_time.items()
        },
    }


def _templates(units: Units, measured: _Measured) -> dict[str, list[float]]:
    return {n: np.round(t, 2).tolist() for n, t in zip(units.unit_names, measured.templates_uV, strict=True)}


def _counts(trains: Trains) -> tuple[int, ...]:
    return tuple(sum(len(part) for part in train) for train in trains)


def _saved(signal: Signal, chain: Chain | None, folder: str) -> Preprocessed:
    """The traces after the chain, on disk. Raises SortingError where there is no room for them."""
    prepared = preprocess(signal, chain, seed=SEED)
    _check_room(prepared.recording, signal, folder)
    return prepared.saved(Path(folder) / "traces")


def _check_room(recording: Any, signal: Signal, folder: str) -> None:
    """Raises SortingError where the traces, and the sorter's whitened ones, do not fit where they are put meanwhile."""
    needed = COPIES * int(recording.get_total_memory_size())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SortingError(
            f"{signal.name}: sorting needs {needed / 1e9:.3g} GB for traces in {tempfile.gettempdir()}, "
            f"{free / 1e9:.3g} GB are free; TMPDIR can name another folder"
        )


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """What was measured per unit: columns for the table, mean waveforms in µV, their start relative to the spike.

    over_time: where depths and amplitudes were over the recording, a list of each per unit.
    """

    columns: Mapping[str, tuple[Any, ...]]
    templates_uV: tuple[FloatArray, ...]
    template_start_ms: float
    over_time: Mapping[str, Any]


def _trains(units: Units, bases: Sequence[Times], rate_hz: float) -> Trains:
    """Sample indices again, per unit and segment, which is what the waveforms are cut with."""
    trains: Trains = []
    for times_s in units.spike_times_s:
        per_segment = []
        for base in bases:
            first, last = np.searchsorted(times_s, [base.start_s - 0.5 / rate_hz, base.stop_s - 0.5 / rate_hz])
            per_segment.append(base.nearest(times_s[first:last]))
        trains.append(per_segment)
    return trains


def _measured(signal: Signal, prepared: Preprocessed, trains: Trains) -> _Measured:
    from spikeinterface.core import NumpySorting, create_sorting_analyzer

    recording, known_positions = prepared.recording, positions_um(signal) is not None
    if not trains:
        return _Measured(columns={}, templates_uV=(), template_start_ms=0.0, over_time={})
    n_segments = recording.get_num_segments()
    per_segment = [{unit: trains[unit][segment] for unit in range(len(trains))} for segment in range(n_segments)]
    sorting = NumpySorting.from_unit_dict(per_segment, recording.get_sampling_frequency())
    analyzer = create_sorting_analyzer(
        sorting, recording, format="memory", sparse=False, return_in_uV=recording.has_scaleable_traces()
    )
    per_spike: dict[str, Any] = {"spike_amplitudes": {}}
    if known_positions:
        per_spike["spike_locations"] = {"method": "center_of_mass"}
    analyzer.compute({"random_spikes": {"seed": SEED}, "noise_levels": {}, "templates": {}, **per_spike})
    analyzer.compute("unit_locations", method="center_of_mass")
    metrics = ["firing_rate", "presence_ratio", "snr", "isi_violation", "amplitude_cutoff"]
    analyzer.compute("quality_metrics", metric_names=metrics, skip_pc_metrics=True)
    templates = analyzer.get_extension("templates")
    waveforms = np.asarray(templates.get_data(operator="average"), dtype=np.float64)
    peaks = np.abs(waveforms).max(axis=1).argmax(axis=1)
    positions = analyzer.get_extension("unit_locations").get_data()[:, :2] if known_positions else None
    table = analyzer.get_extension("quality_metrics").get_data()
    columns = _columns(table, recording.get_total_duration(), positions)
    columns["channel"] = tuple(str(recording.channel_ids[peak]) for peak in peaks)
    return _Measured(
        columns=columns,
        templates_uV=tuple(waveforms[unit, :, peak] for unit, peak in enumerate(peaks)),
        template_start_ms=-float(templates.nbefore) / recording.get_sampling_frequency() * 1000,
        over_time=_over_time(analyzer, _bases(signal, prepared)),
    )


def _over_time(analyzer: Any, bases: Sequence[Times]) -> dict[str, Any]:
    """Median depth and amplitude of each unit in equal stretches of the recording."""
    start_s, stop_s = bases[0].start_s, bases[-1].stop_s
    n_stretches = int(np.clip((stop_s - start_s) / SHORTEST_S, 1, STRETCHES))
    spikes = analyzer.sorting.to_spike_vector()
    times_s = np.concatenate(
        [base.seconds(spikes["sample_index"][spikes["segment_index"] == i]) for i, base in enumerate(bases)]
    )
    stretch = np.clip((times_s - start_s) / (stop_s - start_s) * n_stretches, 0, n_stretches - 1).astype(np.int64)
    place = spikes["unit_index"] * n_stretches + stretch
    shape = (len(analyzer.unit_ids), n_stretches)
    found: dict[str, Any] = {"start_s": start_s, "stop_s": stop_s}
    found["amplitude_uV"] = _medians(place, np.abs(analyzer.get_extension("spike_amplitudes").get_data()), shape)
    if analyzer.has_extension("spike_locations"):
        found["depth_um"] = _medians(place, analyzer.get_extension("spike_locations").get_data()["y"], shape)
    return found


def _medians(place: NDArray[np.int64], values: FloatArray, shape: tuple[int, int]) -> list[list[float | None]]:
    """The median of the values at each place of a table of that shape, None where there are too few."""
    order = np.argsort(place, kind="stable")
    edges = np.searchsorted(place[order], np.arange(shape[0] * shape[1] + 1))
    ordered = np.asarray(values, dtype=np.float64)[order]
    found = [round(float(np.median(ordered[a:b])), 2) if b - a >= FEWEST_SPIKES else None for a, b in pairwise(edges)]
    return [found[row * shape[1] : (row + 1) * shape[1]] for row in range(shape[0])]


def _columns(table: Any, duration_s: float, positions: FloatArray | None) -> dict[str, tuple[Any, ...]]:
    def column(name: str) -> tuple[float, ...]:
        return tuple(float(value) for value in table[name].to_numpy(dtype=np.float64, na_value=np.nan))

    unknown = (float("nan"),) * len(table)
    x_um, y_um = (unknown, unknown) if positions is None else (tuple(map(float, axis)) for axis in positions.T)
    return {
        "x_um": x_um,
        "y_um": y_um,
        "depth_um": y_um,
        "snr": column("snr"),
        "isi_violations_ratio": column("isi_violations_ratio"),
        "firing_rate_hz": column("firing_rate"),
        "presence_ratio": column("presence_ratio") if duration_s >= PRESENCE_MIN_S else unknown,
        "amplitude_cutoff": column("amplitude_cutoff"),
    }


def _units(
    signal: Signal, prepared: Preprocessed, found: Units, trains: Trains, measured: _Measured, rule: Curation
) -> Units:
    names = ("channel", "x_um", "y_um", "depth_um", *MEASURES)
    table = {name: measured.columns.get(name, ()) for name in names}
    verdicts = [rule.verdict({m: table[m][unit] for m in MEASURES}) for unit in range(len(trains))]
    table["n_spikes"] = _counts(trains)
    table["accepted"] = tuple(accepted for accepted, _ in verdicts)
    table["reason"] = tuple(reason for _, reason in verdicts)
    if "area" in signal.table:
        areas = dict(zip(channel_ids(signal), signal.table["area"], strict=True))
        table["area"] = tuple(areas[channel] for channel in table["channel"])
    return Units(
        name=f"{signal.name} units",
        unit_names=found.unit_names,
        spike_times_s=tuple(_times_s(signal, prepared, train) for train in trains),
        device=signal.device,
        table=table,
        provenance=dict(found.provenance)
        | {
            "source": signal.name,
            "preprocessing": dict(prepared.decisions),
            "curation": asdict(rule),
            **_told(found, measured),
        },
    )


def _times_s(signal: Signal, prepared: Preprocessed, train: list[NDArray[np.int64]]) -> FloatArray:
    bases = _bases(signal, prepared)
    return np.concatenate([base.seconds(samples) for base, samples in zip(bases, train, strict=True)])


def _bases(signal: Signal, prepared: Preprocessed) -> list[Times]:
    return [signal.segments[index].timebase for index in prepared.segments]


@contextlib.contextmanager
def _jobs(n_jobs: int) -> Iterator[None]:
    """SpikeInterface's own setting for how many processes it uses, put back afterwards."""
    from spikeinterface.core import globals as theirs

    before, was_set = theirs.get_global_job_kwargs(), theirs.is_set_global_job_kwargs_set()
    theirs.set_global_job_kwargs(n_jobs=n_jobs, progress_bar=False)
    try:
        yield
    finally:
        theirs.set_global_job_kwargs(**before)
        theirs.global_job_kwargs_set = was_set  # its reset leaves this, and filters then warn of a chunk nobody chose
