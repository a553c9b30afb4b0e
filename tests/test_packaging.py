"""hatch can build an empty wheel and call it a success, so what is in it is counted."""

import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("ingest", "models", "pipeline", "flows")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """sdist, then the wheel from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT], check=True)
    (path,) = out.glob("*.whl")
    return path


def test_wheel_holds_every_module_under_neuroloom(wheel):
    expected = {
        f"neuroloom/{path.relative_to(ROOT).as_posix()}" for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")
    }
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if name.endswith(".py")} == expected


def test_wheel_imports_in_an_environment_without_the_checkout(wheel, tmp_path):
    """Only the wheel and what it depends on: the dependencies are lent by this environment, the checkout is not."""
    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True)
    lent = site.getsitepackages()[0]
    lines = [
        f"import sys, importlib; sys.path.append({lent!r})",
        f"[importlib.import_module('neuroloom.' + name) for name in {FOLDERS}]",
        "import neuroloom.ingest; print(neuroloom.ingest.__file__)",
    ]
    done = subprocess.run([python, "-c", "\n".join(lines)], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert str(tmp_path) in done.stdout
