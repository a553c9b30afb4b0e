"""Every benchmark says how it is called; those that need nothing from elsewhere are run, as small as they go.

What they print are measurements, so only the shape of the numbers is looked at here. `ingest`, `loader`, `models`,
`pathways` and `bold` fetch their peers first, and sorters take a minute: of these the arguments alone are read.
"""

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
Call = Callable[..., str]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """A benchmark as it is called, in this process: its output."""
    n_threads = torch.get_num_threads()

    def run(name: str, *arguments: object) -> str:
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capsys.readouterr()
        try:
            runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
        finally:
            torch.set_num_threads(n_threads)
        return capsys.readouterr().out

    return run


def numbers(line: str) -> list[float]:
    return [float(found) for found in re.findall(r"(?<![\w.])-?\d+\.?\d*(?![\w])", line)]


@pytest.mark.parametrize("name", sorted(path.name for path in BENCHMARKS.glob("*.py")))
def test_a_benchmark_says_how_it_is_called(name: str, call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call(name, "--help")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {name} [-h]")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("session_file.py", "--seconds", 1), "--seconds 1: windows of a second are read from it; 2 or more is wanted"),
        (("ingest.py", "--bdf-gb", 0.0001), "--bdf-gb 0.0001: windows of a second are read from it; 0.0004"),
        (("linear_track.py", "nowhere"), "nowhere: holds no spikes.mat; the folder of the recording is wanted"),
        (("joint.py", "--dropped", 1.5), "--dropped 1.5: shares from 0 to below 1 are wanted"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_refused_before_anything_is_made(
    command: tuple[object, ...], message: str, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        call(*command)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_session_file_is_measured_beside_two_others(call: Call) -> None:
    head, *lines = call("session_file.py", "--seconds", 2, "--channels", 2, "--repeats", 1).splitlines()
    assert head == "0 MB, 2 channels, median of 1"
    assert [line.split("  ")[0] for line in lines] == ["h5py plain", "spikeinterface zarr", "neuroloom"]
    assert all(len(numbers(line)) == 5 and min(numbers(line)) >= 0 for line in lines)


def test_steps_of_a_network_are_measured_beside_a_naive_one_of_the_same_numbers(call: Call) -> None:
    small = ("--areas", 3, "--units", 4, "--bins", 4, "--batch", 2, "--density", 1, "--repeats", 1, "--json")
    said = call("network.py", *small)
    (found,) = [value for value in json.loads(said).values() if isinstance(value, list)]
    assert {row["areas"] for row in found} == {3}
    assert all(row["step_s"] > 0 and row["times_faster"] > 0 for row in found)
    assert all(row["gradient_error"] < 1e-4 for row in found)


def test_several_kinds_together_are_scored_beside_each_alone(call: Call) -> None:
    said = call("joint.py", "--dropped", 0, "--people", 1, "--seeds", 1, "--steps", 1)
    rows = {line[:30].strip(): numbers(line[30:]) for line in said.splitlines()[3:]}
    assert len(rows) == 16
    assert all(len(values) == 2 for values in rows.values())
    assert rows["joint, ridge"][0] > rows["gaze alone, ridge"][0]


def test_drops_and_rows_of_the_inbox_are_counted(call: Call) -> None:
    said = call("inbox.py", "--drops", 2, "--ingest", 2, "--rows", 50, "--sessions", 2, "--digest-mb", 1)
    assert "catalog of 50 drops" in said
    rates = [numbers(line.partition("/s")[0])[-1] for line in said.splitlines() if "/s" in line]
    assert len(rates) > 10
    assert min(rates) > 0


@pytest.mark.slow
def test_delays_of_a_linear_system_are_told_exactly_and_nothing_is_trained(call: Call) -> None:
    said = call("pathways.py", "--delays", "--systems", 1, "--trials", 40)
    rows = [line for line in said.splitlines() if line.startswith("linear, noise 0 ")]
    assert len(rows) == 2
    assert "9 of 9" in rows[0]
    assert all(numbers(row)[3] == 0 for row in rows)  # after the noise and how many were told: their error


@pytest.mark.slow
def test_pathways_of_a_linear_system_are_all_told_from_pairs_without_one_and_nothing_is_trained(call: Call) -> None:
    rows = call("pathways.py", "--existence", "--systems", 1, "--trials", 40).splitlines()[2:]
    assert len(rows) == 11
    (linear,) = [numbers(row) for row in rows if row.startswith("linear, noise 0 ")]
    assert linear[1] == 1.0  # after the noise: AUROC, of the weights' size, lead, kept of those that exist and do not
    assert linear[4:6] == [9, 9]
    assert linear[6] <= 1


@pytest.mark.slow
def test_the_linear_track_is_scored_beside_its_baselines(call: Call, recordings_dir: Path) -> None:
    """With one step the network knows nothing yet; the baselines are those of the README."""
    folder = recordings_dir / "electrode_behaviour/mat_nelpy/nelpy-example-data/linear-track"
    rows = json.loads(call("linear_track.py", folder, "--steps", 1, "--seeds", 1, "--json"))
    means = {(row["asked"], row["model"]): row["mean"] for row in rows}
    assert means["position from spikes", "ridge"] == pytest.approx(0.26, abs=0.005)
    assert means["spikes from spikes and position", "ridge"] == pytest.approx(0.50, abs=0.005)
    assert means["position from spikes", "network"] < 0.2
