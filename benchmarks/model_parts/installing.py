"""Packages that a benchmark compares with, or reads, in a folder of their own beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def install(packages: Sequence[str], folder: Path) -> None:
    """Once; without their requirements, which are neuroloom's."""
    if not (folder / "ready").is_file():
        print(f"installing {', '.join(packages)} into {folder} (once)", file=sys.stderr)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *packages]
        subprocess.run(pip, check=True)
        (folder / "ready").touch()
