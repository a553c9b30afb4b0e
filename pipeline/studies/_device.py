"""Where the students of a study learn: one setting, `device`, which every study has and which decides no cell."""

from __future__ import annotations

import torch

from neuroloom.pipeline.config import Config

AUTO = "auto"


class Placed(Config):
    """device: where students learn; "auto" is an accelerator where torch has one (CUDA or ROCm), the CPU elsewhere."""

    device: str = AUTO

    @property
    def place(self) -> torch.device:
        """The device; that of `[schooling]` counts first. Raises ValueError for one that torch does not have here."""
        return place_of(getattr(self, "schooling", {}).get("device", self.device))


def place_of(device: str) -> torch.device:
    """What is meant by it on this machine. Raises ValueError naming what was asked for."""
    has_one = torch.cuda.is_available()
    if device == AUTO:
        return torch.device("cuda" if has_one else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device = {device!r} is none that torch knows; auto, cpu or cuda are wanted") from error
    if found.type == "cuda" and (not has_one or (found.index or 0) >= torch.cuda.device_count()):
        raise ValueError(f"device = {device!r}, but torch sees {torch.cuda.device_count()} accelerators here")
    return found


def told(place: torch.device) -> str:
    """As a report names it."""
    return f"{place} ({torch.cuda.get_device_name(place)})" if place.type == "cuda" else str(place)
