"""The fenced blocks of a page of the guide, and a reader who does what they say, one after the other, in an own folder.

    ```bash      is run                         ```console   lines after `$ ` are run, the others must be printed
    ```python    is run; where lines at its end are comments, those must be printed
    ```toml      or any block whose first line is `# NAME.ext` or `# some/folder/NAME.ext`: is written to that file
    <!-- slow: why -->       before a block: only in `make check-all`
    <!-- not run: why -->    before a block: never
    ```          (no language) is a picture or a message, and may not hold a command

`<!-- example: NAME -->` is a block of python: `docs/examples/NAME.py`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(ROOT)): path for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]}
SHELL = ("bash", "console")
SOURCES = ("ingest", "models", "pipeline", "flows")
_BLOCK = re.compile(r"(?:<!-- (slow|not run): (.+?) -->\n+)?^```([\w.]*)[^\n]*\n(.*?)^```$", re.M | re.S)
_EXAMPLE = re.compile(r"^<!-- example: (\w+) -->$", re.M)
_FILE = re.compile(r"# ((?:[\w.-]+/)*[\w-]+\.\w+)(?:\s|$)")


@dataclass(frozen=True)
class Block:
    """A fenced block. when: "", "slow" or "not run", and why. file: that it is written to, "" where it is run."""

    language: str
    text: str
    when: str = ""
    why: str = ""

    @property
    def file(self) -> str:
        named = _FILE.match(self.text)
        return named[1] if named and self.language not in SHELL else ""

    @property
    def commands(self) -> str:
        """What a shell is given."""
        if self.language == "console":
            return "\n".join(line[2:] for line in self.text.splitlines() if line.startswith("$ "))
        return self.text

    @property
    def printed(self) -> list[str]:
        """Lines that must be printed, in this order."""
        lines = self.text.splitlines()
        if self.language == "console":
            return [line for line in lines if line.strip() not in ("", "...") and not line.startswith("$ ")]
        comments = [line[2:] for line in lines if line.startswith("# ")]
        return comments if self.language == "python" and lines and lines[-1].startswith("# ") else []


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = _EXAMPLE.sub(_fenced, page.read_text(encoding="utf-8"))
    return [Block(language, body, when, why) for when, why, language, body in _BLOCK.findall(text)]


def _fenced(found: re.Match[str]) -> str:
    return f"```python\n{(DOCS / 'examples' / f'{found[1]}.py').read_text(encoding='utf-8')}```"


class Reader:
    """Follows a page in `folder`, where the sample data, the examples and, if parts are added, the sources lie."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "sample_data", folder / "sample_data")
        shutil.copytree(DOCS / "examples", folder / "docs" / "examples")
        shutil.copytree(store.parent / "my_recordings", folder / "my_recordings")
        shutil.copytree(store, folder / "store")
        self.env = os.environ | {
            "PATH": f"{self._launcher()}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / ".dev"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "160",
        }

    def _launcher(self) -> Path:
        """`neuroloom` of this checkout, whatever else is installed."""
        script = self.folder / ".bin" / "neuroloom"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m neuroloom.flows.main "$@"\n')
        script.chmod(0o755)
        return script.parent

    def own_sources(self) -> None:
        """From here on the sources are a copy of this reader's own, which parts may be added to."""
        links = self.folder / ".dev" / "neuroloom"
        links.mkdir(parents=True)
        for name in SOURCES:
            shutil.copytree(ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            (links / name).symlink_to(self.folder / name)
        shutil.copytree(ROOT / "tests", self.folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", self.folder)
        self.env["PYTHONPATH"] = str(links.parent)

    def follow(self, block: Block) -> str:
        """Write or run a block; returns what it printed. Raises AssertionError with its output where it fails."""
        if block.file:
            if block.file.startswith(SOURCES) and not (self.folder / ".dev").exists():
                self.own_sources()
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            return ""
        if block.language == "python":
            return self._run([sys.executable, "-c", block.text])
        return self._run(["bash", "-euo", "pipefail", "-c", block.commands]) if block.language in SHELL else ""

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=900,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr
