"""The entry point: how it ends, and what is said before libraries are loaded."""

import os
import subprocess
import sys

import pytest

CTRL_C = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {imported!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("imported", ["typer", "neuroloom.flows.demo"], ids=["at the start", "by a command"])
def test_ctrl_c_while_something_is_imported_ends_quietly(tmp_path, imported):
    (tmp_path / "sitecustomize.py").write_text(CTRL_C.format(imported=imported))
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "neuroloom.flows.main", "demo", "--store", str(tmp_path / "store")]
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("given", "found"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "-")],
    ids=["nothing said", "a count", "a policy"],
)
def test_threads_that_wait_do_not_spin_unless_told_to(given, found):
    words = "import os, neuroloom.flows; print(os.environ.get('GOMP_SPINCOUNT', '-'))"
    plain = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    said = subprocess.run([sys.executable, "-c", words], env=plain | given, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == found
