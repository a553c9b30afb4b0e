"""Where electrodes lie: probes as probeinterface knows them, as columns of a signal's channel table and back.

    x_um, y_um      place of each contact on the probe, y growing away from its tip
    group           shank it lies on
    contact         what the probe's maker calls it
    sample_shift    how late its converter samples it, in samples: Neuropixels' converters take their channels in turn

    contact_columns(probe, n_channels) -> Table          None for channels that no contact is wired to
    with_probe(signal, probe) -> Signal                  the same signal with these columns
    probe_of(signal) -> Probe | None                     as a probe again
    read_probe(path), known_probe(manufacturer, model)   a file in probeinterface's format, or a model known offline

Design rationale: probeinterface's library of models lies on the net; looking a model up there would make a recording
read otherwise with and without a network. So only models that it can build by itself (Neuropixels) or has in its cache
are known; any other is given as a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.streams import Signal, Table

COLUMNS = ("x_um", "y_um", "group", "contact", "sample_shift")
MAX_PROBE_BYTES = 64 << 20
_TO_UM = {"um": 1.0, "mm": 1e3, "m": 1e6}


class ProbeError(ValueError):
    """A probe cannot be read or does not fit: the message names it, what was found and what was wanted."""


def contact_columns(probe: Any, n_channels: int, *, with_shifts: bool = True) -> Table:
    """The columns of a probeinterface Probe or ProbeGroup for a signal of so many channels.

    Contacts lie at the channel their wiring states (`device_channel_indices`), in order where they state none.
    with_shifts: for the wide band; the slow one is filtered and sampled otherwise.
    Raises ProbeError where wiring leads to channels that are not there, or twice to one.
    """
    rows = _rows(probe)
    wiring = [row["channel"] for row in rows]
    used = [channel for channel in wiring if channel >= 0]
    if len(set(used)) < len(used) or any(channel >= n_channels for channel in used) or not used:
        raise ProbeError(
            f"a probe of {len(rows)} contacts wired to channels {min(used, default=-1)} to {max(used, default=-1)} for "
            f"{n_channels} channels; each at a channel of its own is wanted"
        )
    by_channel = {row["channel"]: row for row in rows}
    names = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
    if not with_shifts:
        names = [name for name in names if name != "sample_shift"]
    empty: Mapping[str, Any] = {}
    return {name: tuple(by_channel.get(i, empty).get(name) for i in range(n_channels)) for name in names}


def with_probe(signal: Signal, probe: Any) -> Signal:
    """The signal with the columns of a probe in its table. Raises ProbeError where it does not fit."""
    try:
        columns = contact_columns(probe, len(signal.channel_names), with_shifts=signal.modality == "wideband")
    except ProbeError as error:
        raise ProbeError(f"{signal.name}: {error}") from error
    kept = {key: column for key, column in signal.table.items() if key not in COLUMNS}
    return replace(signal, table={**kept, **columns})


def probe_of(signal: Signal) -> Any | None:
    """A probeinterface Probe of the channels whose place is known; None where none is."""
    from probeinterface import Probe

    places = [
        (i, x, y)
        for i, (x, y) in enumerate(zip(signal.table.get("x_um", ()), signal.table.get("y_um", ()), strict=True))
        if x is not None and y is not None and np.isfinite([x, y]).all()
    ]
    if not places:
        return None
    probe = Probe(ndim=2, si_units="um")
    chosen = [i for i, _, _ in places]
    groups, contacts = signal.table.get("group"), signal.table.get("contact")
    probe.set_contacts(
        positions=np.array([(x, y) for _, x, y in places], dtype=np.float64),
        shapes="circle",
        shape_params={"radius": 5.0},
        shank_ids=None if groups is None else [str(groups[i]) for i in chosen],
        contact_ids=None if contacts is None else [str(contacts[i]) for i in chosen],
    )
    probe.set_device_channel_indices(chosen)
    return probe


def read_probe(path: Path) -> Any:
    """The ProbeGroup of a JSON file in probeinterface's format. Raises ProbeError naming the file."""
    import probeinterface

    if path.stat().st_size > MAX_PROBE_BYTES:
        raise ProbeError(f"{path}: {path.stat().st_size} bytes; a probe of at most {MAX_PROBE_BYTES} is wanted")
    try:
        group = probeinterface.ProbeGroup.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AssertionError, AttributeError, RecursionError) as error:
        raise ProbeError(
            f"{path}: no probe in probeinterface's format ({' '.join(str(error).split())[:200]})"
        ) from error
    if not group.probes:
        raise ProbeError(f"{path}: holds no probe; one is wanted")
    return group


def known_probe(manufacturer: str, model: str) -> Any:
    """A model that probeinterface knows without a network: Neuropixels by part number ("imec", "NP1000"), or cached.

    Raises ProbeError where it knows none of that name.
    """
    from probeinterface.library import get_from_cache
    from probeinterface.neuropixels_tools import build_neuropixels_probe

    if manufacturer.lower() in ("imec", "neuropixels"):
        try:
            return build_neuropixels_probe(model)
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise ProbeError(f"no Neuropixels {model!r} is known ({' '.join(str(error).split())[:100]})") from error
    if Path(manufacturer).name == manufacturer and Path(model).name == model:
        found = get_from_cache(manufacturer, model)
        if found is not None:
            return found
    raise ProbeError(
        f"no probe {model!r} of {manufacturer!r} is known without a network; Neuropixels by part number are "
        '(manufacturer = "imec", model = "NP1000"), any other as a file probe.json'
    )


def _rows(probe: Any) -> list[dict[str, Any]]:
    """One row per contact, over all probes of a group, which are told apart by their group."""
    probes = list(probe.probes) if hasattr(probe, "probes") else [probe]
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(probes):
        rows += _rows_of_one(one, prefix=f"{number}:" if len(probes) > 1 else "", first=len(rows))
    return rows


def _rows_of_one(probe: Any, *, prefix: str, first: int) -> list[dict[str, Any]]:
    n = int(probe.get_contact_count())
    factor = _TO_UM.get(str(probe.si_units), 1.0)
    places = np.asarray(probe.contact_positions, dtype=np.float64)[:, :2] * factor
    wiring = probe.device_channel_indices
    shanks = probe.shank_ids if probe.shank_ids is not None else [""] * n
    contacts = probe.contact_ids if probe.contact_ids is not None else [None] * n
    shifts = sample_shifts(probe)
    return [
        {
            "channel": first + i if wiring is None else int(wiring[i]),
            "x_um": float(places[i, 0]),
            "y_um": float(places[i, 1]),
            "group": _group(f"{prefix}{shanks[i]}"),
            "contact": None if contacts[i] is None else str(contacts[i]),
            "sample_shift": None if shifts is None else float(shifts[i]),
        }
        for i in range(n)
    ]


def _group(text: str) -> int | str:
    return int(text) if text.isdigit() else text or 0


def sample_shifts(probe: Any) -> Sequence[float] | None:
    """How late each contact is sampled, in samples of the wide band; None where the probe does not say.

    A converter takes its channels in turn, and in Neuropixels 1.0 also one of the slow band: 12 of 30 kHz and one
    share of 2.5 kHz make 13 turns (github.com/billkarsh/ProbeTable, issue 3).
    """
    said, order = probe.annotations, probe.contact_annotations.get("adc_sample_order")
    n_per_adc, fast_hz = said.get("num_channels_per_adc"), said.get("ap_sample_frequency_hz")
    if order is None or not n_per_adc or not fast_hz:
        return None
    turns = int(n_per_adc * (1 + (said.get("lf_sample_frequency_hz") or 0.0) / fast_hz))
    return [float(k) / turns for k in order]
