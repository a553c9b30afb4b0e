"""SpikeGLX's `.meta`: what it states of the samples beside it.

Gains follow the vendor's metadata guides: imec `imAiRangeMax / imMaxInt / gain`, the gains of Neuropixels 1.0 and its
kin (columns 4 and 5 of `~imroTbl`, in phase 3A too, whose rows are one column shorter), of 2.0 one for all
(`imChan0apGain`, else 80); NI-DAQ `niAiRangeMax / 32768 / gain`; OneBox `obAiRangeMax / obMaxInt`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._messages import one_line
from neuroloom.ingest.streams import Table

MAX_META_BYTES = 10_000_000
KINDS = {"imec": "im", "nidq": "ni", "obx": "ob"}
_FIXED_GAIN = 80.0  # of Neuropixels 2.0 before SpikeGLX stated it
_MAX_CHANNELS = 1 << 16
_NAME = re.compile(r"(?P<run>.+)_g(?P<gate>\d+)_t(?P<trigger>\d+|cat)(?:\.\w+)?\.(?P<device>imec\d*|nidq|obx\d*)\b")


@dataclass(frozen=True, kw_only=True)
class Meta:
    """One `.meta`. band: "ap", "lf", "nidq" or "obx"."""

    path: Path
    entries: Mapping[str, str]
    kind: str
    band: str
    n_saved: int
    counts: tuple[int, ...]
    rate_hz: float
    first_sample: int

    @property
    def n_analog(self) -> int:
        """Channels before the digital words."""
        return sum(self.counts[:-1])

    @property
    def n_words(self) -> int:
        """Digital words, which are saved last."""
        return self.counts[-1]


def run_of(path: Path) -> tuple[str, str, str]:
    """(run and gate, trigger, device) as the file's name states them: files of one run and gate belong together."""
    match = _NAME.match(path.name)
    if match is None:
        return path.stem.removesuffix(".ap").removesuffix(".lf"), "", ""
    return f"{match['run']}_g{match['gate']}", match["trigger"], match["device"]


def meta_of(path: Path) -> Meta:
    """Raises FormatError where an entry is missing or is no number."""
    if path.stat().st_size > MAX_META_BYTES:
        raise FormatError(f"{path}: {path.stat().st_size} bytes; a text of at most {MAX_META_BYTES} is wanted")
    text = path.read_text(encoding="utf-8", errors="replace")
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    entries = {key.strip().lstrip("~"): value.strip() for key, _, value in pairs}
    kind = entries.get("typeThis", "")
    if kind not in KINDS:
        raise FormatError(f"{path}: typeThis is {kind!r}; one of {', '.join(KINDS)} is wanted")
    key = {"imec": "snsApLfSy", "nidq": "snsMnMaXaDw", "obx": "snsXaDwSy"}[kind]
    counts, n_saved = _counts(path, entries, key), int(number(path, entries, "nSavedChans"))
    if kind == "imec" and counts[0] and counts[1]:
        raise FormatError(f"{path}: {key} is {entries[key]}; channels of one band in a file are wanted")
    if kind == "obx":  # its last column is a sync word like the probes', and its digital word comes before
        counts = (counts[0], counts[1] + counts[2])
    if sum(counts) != n_saved or n_saved > _MAX_CHANNELS:
        raise FormatError(f"{path}: {key} states {sum(counts)} channels, nSavedChans {n_saved}; they must match")
    return Meta(
        path=path,
        entries=entries,
        kind=kind,
        band=("ap" if counts[0] or not counts[1] else "lf") if kind == "imec" else kind,
        n_saved=n_saved,
        counts=counts,
        rate_hz=number(path, entries, f"{KINDS[kind]}SampRate"),
        first_sample=max(_whole(entries.get("firstSample", "")), 0),
    )


def number(path: Path, entries: Mapping[str, str], key: str) -> float:
    """An entry that is a number above 0."""
    try:
        value = float(entries[key])
    except (KeyError, ValueError) as error:
        raise FormatError(f"{path}: {key} is {entries.get(key)!r}; a number is wanted") from error
    if not (np.isfinite(value) and 0 < value < 2**53):
        raise FormatError(f"{path}: {key} is {value}; a number above 0 is wanted")
    return value


def _whole(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,18}", text) else 0


def _counts(path: Path, entries: Mapping[str, str], key: str) -> tuple[int, ...]:
    parts = entries.get(key, "").split(",")
    if not all(re.fullmatch(r"\d{1,6}", part.strip()) for part in parts) or len(parts) != (4 if "Mn" in key else 3):
        raise FormatError(f"{path}: {key} is {entries.get(key)!r}; counts of channels are wanted")
    return tuple(int(part) for part in parts)


def saved_channels(meta: Meta) -> list[int]:
    """Acquired channel of each saved one: "0:15,768" is 0 to 15 and 768."""
    found: list[int] = []
    for part in re.findall(r"\d{1,6}(?::\d{1,6})?", meta.entries.get("snsSaveChanSubset", "")):
        first, _, last = part.partition(":")
        found += range(int(first), min(int(last or first), int(first) + meta.n_saved) + 1)
    return found if len(found) == meta.n_saved else list(range(meta.n_saved))


def channel_names(meta: Meta) -> tuple[str, ...]:
    """As the vendor names them: AP0, LF0; XA0 of the NI-DAQ and OneBox, M0 of its multiplexed inputs."""
    if meta.kind == "imec":
        offset = int(meta.entries.get("acqApLfSy", "0").split(",")[0] or 0) if meta.band == "lf" else 0
        acquired = saved_channels(meta)[: meta.n_analog]
        return tuple(f"{meta.band.upper()}{i - offset if i >= offset else i}" for i in acquired)
    n_multiplexed = sum(meta.counts[:2]) if meta.kind == "nidq" else 0
    return tuple(f"XA{i}" if i >= n_multiplexed else f"M{i}" for i in range(meta.n_analog))


def gains(meta: Meta) -> NDArray[np.float64]:
    """Per channel, in µV of a probe, in V of other devices."""
    path, entries = meta.path, meta.entries
    if meta.kind == "obx":
        return np.full(meta.n_analog, number(path, entries, "obAiRangeMax") / number(path, entries, "obMaxInt"))
    if meta.kind == "nidq":
        n_mn, n_ma, n_xa, _ = meta.counts
        through = [_gain(entries, "niMNGain")] * n_mn + [_gain(entries, "niMAGain")] * n_ma + [1.0] * n_xa
        return number(path, entries, "niAiRangeMax") / 32768 / np.array(through)
    rows = _imro_rows(meta)
    most = 512 if rows else 8192
    volts = number(path, entries, "imAiRangeMax") / (
        number(path, entries, "imMaxInt") if "imMaxInt" in entries else most
    )
    return volts * 1e6 / np.array(_probe_gains(meta, rows))


def _gain(entries: Mapping[str, str], key: str) -> float:
    text = entries.get(key, "")
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) and float(text) > 0 else 1.0


def _probe_gains(meta: Meta, rows: Mapping[int, list[float]]) -> list[float]:
    offset = int(meta.entries.get("acqApLfSy", "0").split(",")[0] or 0) if meta.band == "lf" else 0
    acquired = [i - offset if i >= offset else i for i in saved_channels(meta)[: meta.n_analog]]
    column = 3 if meta.band == "ap" else 4
    if rows:
        found = [rows[i][column] if i in rows else 0.0 for i in acquired]
        if min(found, default=1.0) <= 0:
            raise FormatError(f"{meta.path}: imroTbl states no gain for some channel; one above 0 each is wanted")
        return found
    stated = _gain(meta.entries, f"imChan0{meta.band}Gain") if f"imChan0{meta.band}Gain" in meta.entries else 0.0
    return [stated or _catalogued_gain(meta) or _FIXED_GAIN] * meta.n_analog


def _imro_rows(meta: Meta) -> dict[int, list[float]]:
    """Rows `(channel bank reference apgain lfgain filter)` by channel, none of probes with one gain for all."""
    table = re.findall(r"\(([^()]*)\)", meta.entries.get("imroTbl", ""))
    rows = [[float(v) for v in row.split()] for row in table[1:] if re.fullmatch(r"\d+(\s\d+)+", row)]
    width = 5 if "imProbeOpt" in meta.entries else 6  # phase 3A has no filter column; 2.0 with four shanks has five too
    return {int(row[0]): row for row in rows if len(row) == width}


def _catalogued_gain(meta: Meta) -> float | None:
    """That of the probe's model, as its maker's table has it."""
    probe = _probe(meta)[0]
    gain = None if probe is None else probe.annotations.get(f"{meta.band}_gain")
    return float(gain) if gain else None


def sites(meta: Meta, repairs: list[str]) -> Table:
    """Where the channels of a probe lie: by its model and `~imroTbl`, else by `~snsGeomMap`, else unknown."""
    from neuroloom.ingest.probes import ProbeError, contact_columns

    probe, reason = _probe(meta)
    if probe is not None and probe.get_contact_count() == meta.n_analog:
        try:
            return contact_columns(probe, meta.n_analog, with_shifts=meta.band == "ap")
        except ProbeError as error:
            reason = str(error)
    table = _geometry(meta)
    if not table:
        repairs.append(f"{meta.path.name}: positions of its electrodes are not known ({reason or 'of another number'})")
    return table


def _probe(meta: Meta) -> tuple[Any, str]:
    """The probe as probeinterface reads it, and why it does not. A slow band has the sites of the wide one."""
    import tempfile
    import warnings

    import probeinterface

    if "imroTbl" not in meta.entries:
        return None, "no imroTbl"
    entries = dict(meta.entries)
    if meta.band == "lf":
        offset = int(entries.get("acqApLfSy", "0").split(",")[0] or 0)
        entries["snsSaveChanSubset"] = ",".join(str(i - offset) for i in saved_channels(meta)[: meta.n_analog])
    try:
        with tempfile.TemporaryDirectory(prefix="neuroloom-") as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            copy = Path(folder) / "probe.ap.meta"
            copy.write_text("".join(f"{k}={v}\n" for k, v in entries.items()), encoding="utf-8")
            return probeinterface.read_spikeglx(copy), ""
    except (ValueError, KeyError, IndexError, TypeError, AssertionError, AttributeError) as error:
        return None, one_line(error)[:100]


def _geometry(meta: Meta) -> Table:
    """`~snsGeomMap`: `(shank:x:z:used)` after a head that states the pitch of shanks."""
    text = meta.entries.get("snsGeomMap", "")
    head = re.match(r"\([^,()]*,\d+,(\d+(?:\.\d+)?),[\d.]+\)", text)
    rows = re.findall(r"\((\d+):(-?\d+(?:\.\d+)?):(-?\d+(?:\.\d+)?):\d\)", text)
    if head is None or len(rows) < meta.n_analog:
        return {}
    pitch_um = float(head[1])
    places = [(int(shank), float(x), float(z)) for shank, x, z in rows[: meta.n_analog]]
    return {
        "x_um": tuple(x + shank * pitch_um for shank, x, _ in places),
        "y_um": tuple(z for _, _, z in places),
        "group": tuple(shank for shank, _, _ in places),
    }
