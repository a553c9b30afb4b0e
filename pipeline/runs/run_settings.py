"""Everything that decides the numbers of a run, as its folder has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable
from neuroloom.models import ModularNetwork
from neuroloom.pipeline.runs._described import described, sized
from neuroloom.pipeline.runs.run_files import CONFIG, TOPOLOGY
from neuroloom.pipeline.runs.train_config import TrainConfig
from neuroloom.pipeline.runs.windowing import Windows


def said_of(network: ModularNetwork, data: Windows, config: TrainConfig) -> dict[str, Any]:
    """Everything that decides the numbers, as JSON has it."""
    said: dict[str, Any] = {"training": asdict(config), "windows": asdict(data.config), "network": described(network)}
    del said["training"]["processes"]
    if not config.shrink_readouts:  # runs that were begun before there was such a thing go on
        del said["training"]["shrink_readouts"]
    said["features"] = asdict(data.feature_config)
    said["bins"] = {name: one.features.n_bins for name, one in data.sessions.items()}
    if data.control:
        said["control"] = data.control
    plain: dict[str, Any] = json.loads(json.dumps(said))
    return plain


def write_settings(folder: Path, network: ModularNetwork, said: Mapping[str, Any]) -> None:
    """The settings of a run, and its topology with the size of every area."""
    sizes = network.exists.sum(dim=(1, 2)).long().tolist()
    durable.write_text(folder / TOPOLOGY, sized(network.topology, sizes).to_toml())
    durable.write_json(folder / CONFIG, said)
