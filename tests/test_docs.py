"""The docs that are made by code are what the code makes."""

import re
from pathlib import Path

import pytest

from neuroloom.ingest.formats.__main__ import table

DOCS = Path(__file__).parents[1] / "docs"
RECORDINGS = "".join(
    (DOCS / name).read_text(encoding="utf-8") for name in ("operations.md", "recordings.md", "spikes.md", "time.md")
)
NETWORKS = (DOCS / "networks.md").read_text(encoding="utf-8")
STUDIES = (DOCS / "studies.md").read_text(encoding="utf-8")


def test_the_table_of_formats_is_that_of_the_readers():
    """`python -m neuroloom.ingest.formats > docs/formats.md` writes it anew."""
    assert (DOCS / "formats.md").read_text(encoding="utf-8") == table()


def _read(name: str, path: Path) -> object:
    from neuroloom.ingest.task import Task
    from neuroloom.pipeline.config import read_config
    from neuroloom.pipeline.drops.sidecar import SessionNotes
    from neuroloom.pipeline.runs.features import FeatureConfig
    from neuroloom.pipeline.runs.run_config import read_run_config
    from neuroloom.pipeline.settings import Settings
    from neuroloom.pipeline.studies.distill import Settings as Distill
    from neuroloom.pipeline.studies.tradeoff import Settings as Tradeoff
    from neuroloom.pipeline.subjects import Subjects
    from neuroloom.pipeline.synthetic.teacher_recording import read_recording_config

    match name:
        case "session.toml":
            return SessionNotes.beside(path.parent)
        case "task.toml":
            return Task.read(path)
        case "subject.toml":
            return read_config(path, Subjects)
        case "neuroloom.toml":
            return read_config(path, Settings)
        case "listener.toml":
            return read_recording_config(path)
        case "from-session.toml":
            return read_config(path, Distill)
        case "prices.toml" | "teams.toml":
            return read_config(path, Tradeoff)
        case _:
            config = read_run_config(path)
            return FeatureConfig(**config.features) if config.features else config


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", RECORDINGS + STUDIES, re.DOTALL))
def test_every_toml_in_the_docs_is_accepted(text, tmp_path):
    name = text.splitlines()[0].removeprefix("# ")
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert _read(name, tmp_path / name)


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", NETWORKS, re.DOTALL))
def test_every_toml_about_networks_is_accepted(text, tmp_path):
    from neuroloom.models import ModularNetwork, Topology
    from neuroloom.pipeline.runs.reinforcing import read_reinforce_config
    from neuroloom.pipeline.runs.run_config import read_run_config
    from neuroloom.pipeline.runs.search_config import read_search_config

    path = tmp_path / text.splitlines()[0].removeprefix("# ")
    path.write_text(text, encoding="utf-8")
    if matrix := re.search(r'^connectome = "(.*)"', text, re.MULTILINE):
        (tmp_path / matrix[1]).write_text(",V1_L,V2_L\nV1_L,0,1\nV2_L,1,0\n", encoding="utf-8")
    if "[[areas]]" in text:
        assert len(Topology.read(path).areas) == 2
        return
    if "[reward." in text:
        assert read_reinforce_config(path).reward
        return
    if "[search]" in text:
        assert read_search_config(path).search.space
        return
    config = read_run_config(path)
    ModularNetwork(Topology.read(config.topology), area_size=4, **config.network)


@pytest.mark.parametrize("line", re.findall(r"^neuroloom .*$", RECORDINGS + NETWORKS + STUDIES, re.MULTILINE))
def test_every_command_in_the_docs_is_known_with_its_options(line):
    import shlex

    import typer

    from neuroloom.flows.cli import app

    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app).commands[words[0]]
    command.make_context(words[0], words[1:])


def test_no_text_keeps_the_marks_of_a_merge():
    texts = [*DOCS.parent.glob("*.md"), *DOCS.rglob("*.md")]
    mark = re.compile(r"^(<{7} .*|={7}|>{7} .*)$", re.MULTILINE)
    marked = [path.name for path in texts if mark.search(path.read_text(encoding="utf-8"))]
    assert len(texts) > 10
    assert marked == []
