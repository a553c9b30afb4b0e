"""Features of a session, made once and kept.

On disk, `FOLDER/KEY/`: `features.json`, and per port `NNN.values.npy` (T, C) float32, `NNN.valid.npy` (T, C) bool,
`NNN.extrapolated.npy` (T,) bool, `NNN.uncertainty_ms.npy` (T,) float32: uncompressed, opened as memory maps. KEY is a
digest of the session and the config.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest import durable
from neuroloom.ingest.digest import digest_of_file
from neuroloom.ingest.session import Session
from neuroloom.models.ports import Port
from neuroloom.pipeline.runs._feature_building import built
from neuroloom.pipeline.runs.features import FeatureConfig, Features, PortFeatures
from neuroloom.pipeline.verdicts import APPROVED, REVIEWED

FORMAT_VERSION = 3  # part of the key: raise it where the same config would give other numbers
SAID = ("session_id", "bin_s", "start_s", "n_bins", "subject", "recorded")


def build_features(
    session: Session,
    *,
    bin_s: float = 0.02,
    folder: Path | None = None,
    config: FeatureConfig | None = None,
    digest: str | None = None,
) -> Features:
    """Model-rate features of a session, from the cache in `folder` where they lie there.

    digest: of the session's content; by default that of its file. A session without a file and without a digest is
        computed in memory and not cached. `config` replaces `bin_s`.
    Raises ValueError where the session holds nothing that can be binned.
    """
    config = config or FeatureConfig(bin_s=bin_s)
    digest = digest or _file_digest(session)
    if folder is None or digest is None:
        return built(session, config, None)
    home = Path(folder) / _key(session, digest, config)
    if not (home / "features.json").is_file():
        _write(session, config, home)
    return open_features(home)


def open_features(home: Path) -> Features:
    """Features as they lie in one folder of the cache, as memory maps; nothing is read yet.

    Raises ValueError where the folder does not hold features of this version.
    """
    listing = home / "features.json"
    try:
        said = json.loads(listing.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{listing}: {error}; a list of features is wanted") from error
    if said.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{listing}: version {said.get('format_version')}; {FORMAT_VERSION} is wanted")
    ports = {}
    for number, row in enumerate(said["ports"]):
        values, valid, extrapolated, uncertainty_T_ms = (
            np.load(home / f"{number:03d}.{what}.npy", mmap_mode="r", allow_pickle=False)
            for what in ("values", "valid", "extrapolated", "uncertainty_ms")
        )
        ports[row["port"]["name"]] = PortFeatures(
            port=Port.from_table(row["port"]),
            values=values,
            valid=valid,
            extrapolated=extrapolated,
            uncertainty_ms=row["uncertainty_ms"],
            uncertainty_T_ms=uncertainty_T_ms,
            reach_bins=row["reach_bins"],
            class_names=tuple(row["class_names"]),
            positions_mm=tuple(None if place is None else tuple(place) for place in row["positions_mm"]),
        )
    return Features(ports=ports, skipped=said["skipped"], **{key: said[key] for key in SAID})


def _file_digest(session: Session) -> str | None:
    if session.path is None:
        return None
    path = session.path / "session.nwb" if session.path.is_dir() else session.path
    if not path.is_file():
        return None
    return digest_of_file(path)


def _key(session: Session, digest: str, config: FeatureConfig) -> str:
    reviewed = {name: found[REVIEWED] for name, found in session.quality.items() if found.get(REVIEWED)}
    approved = {name: found[APPROVED] for name, found in session.quality.items() if found.get(APPROVED)}
    judged = [reviewed, approved] if approved else [reviewed] if reviewed else []
    said = json.dumps([FORMAT_VERSION, digest, asdict(config), *judged], sort_keys=True)
    return f"{session.id}_{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _write(session: Session, config: FeatureConfig, home: Path) -> None:
    if home.is_dir() and not (home / "features.json").is_file():
        shutil.rmtree(home)  # a cache somebody emptied by half is built again
    try:
        with durable.new_folder(home) as staging:
            features = built(session, config, staging)
            durable.write_json(staging / "features.json", _listing(features))
    except OSError:
        # Another process may have put the same features there meanwhile: then there is nothing left to do.
        if not (home / "features.json").is_file():
            raise


def _listing(features: Features) -> dict[str, Any]:
    rows = []
    for made in features.ports.values():
        for array in (made.values, made.valid, made.extrapolated, made.uncertainty_T_ms):
            if isinstance(array, np.memmap):
                array.flush()
        row = {key: getattr(made, key) for key in ("uncertainty_ms", "reach_bins", "class_names", "positions_mm")}
        rows.append(row | {"port": asdict(made.port)})
    said = {key: getattr(features, key) for key in SAID}
    return said | {"format_version": FORMAT_VERSION, "skipped": dict(features.skipped), "ports": rows}
