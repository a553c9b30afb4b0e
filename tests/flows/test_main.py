"""The entry point: how it ends."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("imported", ["typer", "neuroloom.flows.demo"], ids=["at the start", "by a command"])
def test_ctrl_c_while_something_is_imported_ends_quietly(tmp_path, imported):
    """Instead of what is imported comes a Ctrl-C."""
    hook = tmp_path / "sitecustomize.py"
    hook.write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {imported!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "neuroloom.flows.main", "demo", "--store", str(tmp_path / "store")]
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
