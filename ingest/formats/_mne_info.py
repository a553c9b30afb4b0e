"""What MNE makes of a header, as Signals: kinds, units, gains, positions, bad channels. Samples are not MNE's.

signals_of_info     one Signal per kind and unit, in the order of their first channels
codes_of            whole numbers of trigger channels
subject_of_info     the person, in the words of `Recording.subject`
info_of             the header as one of MNE's readers gives it, or a FormatError
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channel_list import KINDS
from neuroloom.ingest.formats._channels import grouped
from neuroloom.ingest.formats._messages import one_line
from neuroloom.ingest.formats._subjects import subject_of
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.streams import Segment, Signal

Columns = NDArray[np.int64]

_UNITS = {
    -1: "", 0: "", 1: "m", 3: "s", 4: "A", 6: "K", 7: "rad", 16: "mol/m^3", 101: "Hz", 107: "V", 109: "ohm", 110: "S",
    112: "T", 114: "degC", 116: "lx", 117: "V/m^2", 201: "T/m", 202: "Am", 210: "px",
}  # fmt: skip
_FRAMES = {1: "device", 4: "head"}


def info_of(path: Path, wanted: str, reader: Callable[[], Any]) -> Any:
    """What `reader` gives, its warnings unheard. Raises FormatError for whatever it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return reader()
    except Exception as error:  # MNE raises bare Exceptions, too
        raise FormatError(f"{path}: its header cannot be read ({one_line(error)}); {wanted} is wanted") from error


def signals_of_info(
    info: Any, segments_of: Callable[[Columns], tuple[Segment, ...]], repairs: list[str]
) -> list[Signal]:
    """One Signal per kind and unit, in the order of their first channels. segments_of: the samples of some channels."""
    units = [_unit(channel, repairs) for channel in info["chs"]]
    kinds = [_kind(info, i) for i in range(len(info["chs"]))]
    signals = []
    for kind, unit, suffix, columns in grouped(kinds, [unit for unit, _ in units]):
        name, modality = KINDS.get(kind, (kind, "aux"))
        frame, positions = _positions([info["chs"][i] for i in columns])
        signals.append(
            Signal(
                name=f"{name}{suffix}",
                modality=modality,
                segments=segments_of(columns),
                channel_names=tuple(info["ch_names"][i] for i in columns),
                unit=unit,
                gain=np.array([float(info["chs"][i]["cal"] * info["chs"][i]["range"]) * units[i][1] for i in columns]),
                offset=np.zeros(len(columns)),
                table={
                    "kind": (kind,) * len(columns),
                    "bad_in_file": tuple(info["ch_names"][i] in info["bads"] for i in columns),
                    **positions,
                },
                provenance=_provenance(info, modality, frame),
            )
        )
    return signals


def _kind(info: Any, index: int) -> str:
    import mne

    try:
        return str(mne.channel_type(info, index))
    except (KeyError, ValueError):
        return "misc"


def _unit(channel: Any, repairs: list[str]) -> tuple[str, float]:
    """The unit that is kept, and what the gain is multiplied by; a trigger channel stays in volts, as its codes are."""
    code, power = int(channel["unit"]), int(channel["unit_mul"])
    if abs(power) > 24 or not np.isfinite(channel["cal"] * channel["range"]):
        raise ValueError(f"{channel['ch_name']!r} has no finite gain; one from yocto to yotta is wanted")
    if power:
        repairs.append(f"{channel['ch_name']}: multiplier 10^{power} of its unit taken into the gain")
    spelled = _UNITS.get(code, f"FIFF unit {code}")
    unit, factor = ("V", 1.0) if int(channel["kind"]) == 3 and spelled == "V" else kept_unit(spelled)
    return unit, factor * 10.0**power


def _positions(channels: Sequence[Any]) -> tuple[str, dict[str, tuple[float, ...]]]:
    """Coordinate frame and columns x_mm, y_mm, z_mm, NaN where unknown; nothing where no channel has a place."""
    frames = {int(channel["coord_frame"]) for channel in channels}
    frame = _FRAMES.get(frames.pop(), "") if len(frames) == 1 else ""
    places = np.array([channel["loc"][:3] for channel in channels], dtype=np.float64) * 1e3
    places[~np.isfinite(places).all(axis=1) | (places == 0).all(axis=1)] = np.nan
    if not frame or np.isnan(places).all():
        return "", {}
    return frame, {f"{axis}_mm": tuple(places[:, k].tolist()) for k, axis in enumerate("xyz")}


def _provenance(info: Any, modality: str, frame: str) -> dict[str, Any]:
    """What the file states about a Signal as a whole; projections are listed, they are not applied."""
    stated: dict[str, Any] = {"high_pass_hz": info["highpass"], "low_pass_hz": info["lowpass"]}
    if frame:
        stated["positions"] = f"{frame} coordinates"
    if modality in ("meg", "eeg") and info["projs"]:
        stated["projections_in_file"] = [
            f"{p['desc']}{' (already applied)' if p['active'] else ''}" for p in info["projs"]
        ]
    grades = {int(c["coil_type"]) >> 16 for c in info["chs"] if int(c["kind"]) == 1} if modality == "meg" else set()
    if grades - {0}:
        stated["ctf_compensation_grade"] = max(grades)
    return stated


def codes_of(signal: Signal, samples: NDArray[Any]) -> NDArray[np.int64]:
    """Whole numbers; one below 0 is an unsigned 16-bit code that was stored as signed."""
    codes = np.rint(np.clip(np.nan_to_num(samples * signal.gain), -(2.0**31), 2.0**31)).astype(np.int64)
    codes[codes < 0] &= 0xFFFF
    return np.asarray(codes)


def subject_of_info(info: Any) -> dict[str, str]:
    """What the header says of the person."""
    said = info["subject_info"] or {}
    return subject_of(
        name=" ".join(str(said.get(f"{which}_name") or "") for which in ("first", "middle", "last")),
        born=said.get("birthday"),
        sex=str(said.get("sex") or ""),
        code=str(said.get("his_id") or ""),
    )
