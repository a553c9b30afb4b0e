"""Every command and every example in the README and the guide is what happens; the guide is built strictly."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .docs_blocks import DOCS, PAGES, ROOT, SHELL, Reader, blocks

COMMAND = re.compile(r"^\s*\$?\s*(neuroloom|python|pip|make|docker|pytest|export|mkdocs) ", re.M)
RUN = {name: blocks(path) for name, path in PAGES.items()}
QUICK = [name for name, found in RUN.items() if any(b.language in (*SHELL, "python") and not b.when for b in found)]
SLOW = [name for name, found in RUN.items() if any(b.when == "slow" for b in found)]
SESSION = 'subject = "07"\nsession = "2"\n'


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A store as pages speak of it: session sub-07_ses-2, of a folder `my_recordings` beside the store."""
    home = tmp_path_factory.mktemp("guide")
    recordings = home / "my_recordings"
    recordings.mkdir()
    for path in (ROOT / "sample_data" / "person").glob("sub-*"):
        short = path.name.rpartition("_")[2]
        content = path.read_bytes()
        if path.suffix in (".vhdr", ".vmrk"):
            content = content.replace(b"sub-sample_ses-01_task-choice_", b"")
        (recordings / short).write_bytes(content)
    (recordings / "session.toml").write_text(SESSION)
    ingest = [sys.executable, "-m", "neuroloom.flows.main", "ingest", recordings, "--no-pages"]
    subprocess.run([*ingest, "--store", home / "store"], check=True, capture_output=True)
    return home / "store"


def follow(page: str, store: Path, folder: Path, *, slow: bool) -> None:
    reader = Reader(folder, store)
    for block in RUN[page]:
        if block.when == "" or (slow and block.when == "slow"):
            printed = reader.follow(block)
            lines = iter(line.rstrip() for line in printed.splitlines())
            for wanted in block.printed:
                said = f"{wanted!r} was not printed (in this order) by\n{block.text}\nbut\n{printed}"
                assert wanted.rstrip() in lines, said


@pytest.mark.parametrize("page", [name for name in QUICK if name not in SLOW])
def test_a_page_does_what_it_says(page, store, tmp_path):
    follow(page, store, tmp_path, slow=False)


@pytest.mark.parametrize("page", [name for name in SLOW if name in QUICK])
def test_the_quick_part_of_a_page_does_what_it_says(page, store, tmp_path):
    follow(page, store, tmp_path, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW)
def test_a_whole_page_does_what_it_says(page, store, tmp_path):
    follow(page, store, tmp_path, slow=True)


@pytest.mark.parametrize("page", PAGES)
def test_no_command_hides_in_a_block_that_is_not_run(page):
    for block in RUN[page]:
        if block.language not in (*SHELL, "python", "toml"):
            assert not COMMAND.search(block.text), f"mark this block as bash:\n{block.text}"
        assert block.when == "" or len(block.why.split()) > 3, f"say why this is {block.when}:\n{block.text}"


def test_every_example_is_run_by_a_page():
    run = "\n".join(block.text for found in RUN.values() for block in found if block.when != "not run")
    examples = {path.name for path in (DOCS / "examples").glob("*.py")}
    assert {name for name in examples if f"python docs/examples/{name}" in run} == examples


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?://)([^)# ]+)", PAGES[page].read_text(encoding="utf-8")):
        assert (PAGES[page].parent / link).exists(), link


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", out]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_guide_is_built_without_a_warning_and_has_every_page(site):
    pages = {path.relative_to(site).with_suffix(".md").as_posix() for path in site.rglob("*.html")}
    assert {name.removeprefix("docs/") for name in PAGES if name.startswith("docs/")} <= pages


def test_the_guide_fetches_nothing_from_elsewhere(site):
    loaded = "script|img|iframe|source|link rel=.(?:stylesheet|preconnect|icon)."
    loads = re.compile(rf'<(?:{loaded})[^>]*(?:src|href)="?(?:https?:)?//[^>]*>')
    for page in site.rglob("*.html"):
        assert loads.findall(page.read_text(encoding="utf-8")) == [], page.name


def test_the_graph_of_packages_and_the_commands_are_those_of_the_code(site):
    packages = (site / "packages.html").read_text(encoding="utf-8")
    assert "flows imports pipeline" in packages
    assert "models imports" in packages
    assert "ingest imports models" not in packages
    assert "neuroloom ingest" in (site / "reference" / "commands.html").read_text(encoding="utf-8")


def test_pictures_are_small():
    assert sum(path.stat().st_size for path in (DOCS / "pictures").iterdir()) < 300_000
