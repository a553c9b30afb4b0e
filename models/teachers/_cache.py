"""Trained weights kept under a digest of what decided them: tensors and numbers only, never code."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def digest_of(kind: str, settings: Mapping[str, Any]) -> str:
    """Of a teacher's kind and settings, 16 hexadecimal digits."""
    said = json.dumps([kind, settings], sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def kept(cache: Path | None, name: str, make: Callable[[], Weights]) -> Weights:
    """The weights under that name, made and kept where they are not there yet.

    Design rationale: models know no store, so a file is written beside its name and renamed; whoever comes second
    finds it whole. A damaged file is made again: it is a cache. One that holds code is refused by torch.
    """
    if cache is None:
        return make()
    path = cache / f"{name}.pt"
    if path.is_file() and zipfile.is_zipfile(path):
        try:
            found: Weights = torch.load(path, map_location="cpu", weights_only=True)
        except RuntimeError:
            path.unlink()
        else:
            return found
    made = make()
    cache.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(made, buffer)
    temporary = cache / f".{name}.{os.getpid()}.tmp"
    temporary.write_bytes(buffer.getvalue())
    temporary.replace(path)
    return made
