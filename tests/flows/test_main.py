"""The entry point: how it ends."""

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
