"""hatch can build an empty wheel and call it a success, so what is in it is counted."""

import re
import runpy
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

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
    expected = expected - {"neuroloom/flows/__main__.py"} | {"neuroloom/__main__.py"}  # it moves up, see pyproject.toml
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
    alone = [python, "-E", "-c", "\n".join(lines)]  # whatever PYTHONPATH says here
    done = subprocess.run(alone, check=True, cwd=tmp_path, capture_output=True, text=True)
    assert str(tmp_path) in done.stdout
    lines = [lines[0], "import runpy; sys.argv[1:] = ['--version']; runpy.run_module('neuroloom', run_name='__main__')"]
    alone[-1] = "\n".join(lines)
    done = subprocess.run(alone, check=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("neuroloom ")


def locked() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_the_lock_pins_everything_that_is_needed_here():
    """`python .ci/lock > constraints.txt` writes it anew."""
    lock = runpy.run_path(str(ROOT / ".ci" / "lock"))
    assert lock["pins"]().keys() <= locked().keys()
    wanted = {canonicalize_name(one.name): one.specifier for one in lock["wanted"]()}
    assert [name for name, version in locked().items() if not wanted.get(name, SpecifierSet()).contains(version)] == []


def test_wheel_and_image_are_installed_from_the_same_lock():
    assert "PIP_CONSTRAINT=/opt/neuroloom/constraints.txt" in (ROOT / "Dockerfile").read_text()
    assert "--constraint constraints.txt" in (ROOT / "Makefile").read_text()


def test_the_image_is_given_all_that_the_wheel_is_built_from():
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    assert {*FOLDERS, "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= set(" ".join(copied).split())
