"""What phy and Kilosort leave: `params.py`, spike times in samples, clusters, and what was said of each cluster.

    params.py                         sample_rate, dat_path: read as text, **never run**
    spike_times.npy                   the sample of each spike
    spike_clusters.npy                its cluster (spike_templates.npy where nobody has curated yet)
    cluster_group.tsv, ...            good, mua, noise; templates and positions of channels

Units, every cluster one, on a clock of samples: beside the recording that was sorted (whose name `dat_path` gives) they
get that recording's times; see `ingest/sortings.py`.

Design rationale: phy and neo.rawio.PhyRawIO run `params.py` or evaluate lines of it, so a folder from anywhere is a
program. Here only lines `name = literal` of known names are looked at, and arrays are never unpickled.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._npy import array_of, same_length
from neuroloom.ingest.formats._phy_clusters import labels_of, places_of
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.sortings import COUNTED
from neuroloom.ingest.streams import Units

TITLE = "phy and Kilosort"
MODALITY = "units"
TESTED_ON = (
    "the template data set of phy (simulated, its raw file absent); Kilosort's labels on files written by this project "
    "only"
)
KEEPS = (
    "spike times and clusters of every cluster, labels of people and sorter, channel and place of the largest "
    "template; not features, amplitudes and templates themselves"
)

_MAX_PARAMS_BYTES = 1 << 16
_NAMES = ("dat_path", "n_channels_dat", "dtype", "offset", "sample_rate", "hp_filtered")
_LINE = re.compile(r"^[ \t]*(\w+)[ \t]*=[ \t]*(\S[^\n]*?)[ \t]*$", re.M)
_KEPT = (".npy", ".tsv", ".csv", ".py")


def sniff(path: Path, head: bytes) -> bool:
    """True for a `params.py` that states a sample rate, beside spike times."""
    if not re.search(rb"(?m)^[ \t]*sample_rate[ \t]*=", head):
        return False
    return is_there(path.with_name("spike_times.npy")) and _clusters(path) is not None


def _clusters(path: Path) -> Path | None:
    names = ("spike_clusters.npy", "spike_templates.npy")
    return next((path.with_name(name) for name in names if is_there(path.with_name(name))), None)


def files(path: Path) -> tuple[Path, ...]:
    """`params.py`, and the arrays and tables beside it."""
    beside = (f for f in sorted(path.parent.iterdir()) if f != path and f.suffix in _KEPT and is_there(f))
    return (path, *beside)


def read(path: Path) -> list[Recording]:
    """One Recording of the Units, in samples of what was sorted."""
    params = params_of(path)
    rate_hz = params.get("sample_rate")
    if not isinstance(rate_hz, int | float) or isinstance(rate_hz, bool) or not 0 < rate_hz < 1e9:
        raise FormatError(f"{path}: sample_rate is {rate_hz!r}; a number above 0 is wanted")
    samples, clusters, templates = _spikes(path)
    found = np.unique(clusters).tolist()
    order = np.lexsort((samples, clusters))
    trains = np.split(samples[order] / rate_hz, np.flatnonzero(np.diff(clusters[order])) + 1) if found else []
    table: dict[str, Any] = {"cluster_id": tuple(found), **labels_of(path.parent, found)}
    if templates is not None:
        table |= {k: v for k, v in places_of(path.parent, clusters, templates, found).items() if k not in table}
    units = Units(
        name="units",
        unit_names=tuple(str(cluster) for cluster in found),
        spike_times_s=tuple(trains),
        table=table,
        provenance={"made_by": "phy", COUNTED: float(rate_hz), "source": list(_sources(params))},
    )
    return [Recording(clock=path.parent.name, format="phy", files=files(path), streams=(units,))]


def _spikes(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64] | None]:
    """Per spike its sample, its cluster, and its template where that is known."""
    clusters_path = _clusters(path)
    if clusters_path is None:
        raise FormatError(f"{path}: neither spike_clusters.npy nor spike_templates.npy is beside it; one is wanted")
    times = array_of(path.with_name("spike_times.npy"), kinds="iuf")
    clusters = array_of(clusters_path, kinds="iuf")
    templates_path = path.with_name("spike_templates.npy")
    templates = array_of(templates_path, kinds="iuf") if is_there(templates_path) else None
    same_length(path.parent, times, clusters, *([templates] if templates is not None else []))
    for name, values in (
        ("spike_times.npy", times),
        ("spike_clusters.npy", clusters),
        ("spike_templates.npy", templates),
    ):
        if values is not None and len(values) and not 0 <= float(values.min()) <= float(values.max()) < 2**53:
            raise FormatError(
                f"{path.with_name(name)}: {values.min()} to {values.max()}; whole numbers from 0 are wanted"
            )
    if templates is not None and len(templates) and int(templates.max()) > 1 << 24:
        raise FormatError(f"{templates_path}: template {int(templates.max())}; fewer than {1 << 24} are wanted")
    samples = np.asarray(times[:]).astype(np.int64)
    wide = None if templates is None else np.asarray(templates[:]).astype(np.int64)
    return samples, np.asarray(clusters[:]).astype(np.int64), wide


def params_of(path: Path) -> Mapping[str, Any]:
    """The known names that the file gives a literal to, the last one counting; nothing in it is run."""
    if path.stat().st_size > _MAX_PARAMS_BYTES:
        raise FormatError(f"{path}: {path.stat().st_size} bytes; a short text is wanted")
    found: dict[str, Any] = {}
    for name, text in _LINE.findall(path.read_text(encoding="utf-8", errors="replace")):
        if name not in _NAMES:
            continue
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue  # an expression: it stays unknown rather than being worked out
    return found


def _sources(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the files that were sorted, whatever folders they lay in."""
    stated = params.get("dat_path")
    paths = stated if isinstance(stated, list | tuple) else [stated]
    return tuple(
        PureWindowsPath(p.decode() if isinstance(p, bytes) else p).name for p in paths if isinstance(p, str | bytes)
    )
