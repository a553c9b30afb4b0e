"""A BIDS dataset that gets all files of a session, or none of them.

    added(root, session_id)     a folder whose files are added to the dataset at the end of the block

Files are written into a folder of the dataset that BIDS does not look at, and renamed when all are there. What was
about to be renamed is noted first: an export that was killed in the middle is undone by the next one. One export at a
time adds to a dataset, since sessions share tables in it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from neuroloom.ingest import durable
from neuroloom.pipeline.care import _bids_tables as tables
from neuroloom.pipeline.care._bids_text import json_text

BIDS_VERSION = "1.11.0"
STAGING, FILES, NAMES = ".neuroloom-export-", "files", "names.json"  # in the dataset, and in that folder
PEOPLE, ABOUT_PEOPLE, DESCRIPTION, README = (
    "participants.tsv", "participants.json", "dataset_description.json", "README",
)  # fmt: skip


@contextmanager
def added(root: Path, session_id: str) -> Iterator[Path]:
    """A folder whose files are added to the dataset at the end; where anything fails, the dataset is as it was.

    Raises FileExistsError where one of them is there already.
    """
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(f"{root}: is a file; the folder of a dataset, or of a new one, is wanted")
    was_there = root.is_dir()
    durable.make_folder(root)
    with durable.locked(root):
        for left in root.glob(f"{STAGING}*"):
            _undo_killed(left, root)
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=root))
        try:
            (staging / FILES).mkdir()
            yield staging / FILES
            _add(staging, root, session_id)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            if not was_there and not any(root.iterdir()):
                root.rmdir()
            raise
        shutil.rmtree(staging)


def _add(staging: Path, root: Path, session_id: str) -> None:
    files = staging / FILES
    texts = _shared_texts(files, root)
    names = [path.relative_to(files) for path in sorted(files.rglob("*")) if path.is_file()]
    names = [name for name in names if name not in texts]
    if there := [name for name in names if os.path.lexists(root / name)]:
        raise FileExistsError(f"{root}: {session_id} is in that dataset already ({there[0]}); another is wanted")
    before = {name: (root / name).read_bytes() if (root / name).is_file() else None for name in texts}
    durable.write_json(staging / NAMES, {"names": [name.as_posix() for name in names]})
    try:
        for name in names:
            durable.make_folder((root / name).parent)
            durable.sync_file(files / name)
            (files / name).rename(root / name)
        for name, text in texts.items():
            durable.write_text(root / name, text)
        for folder in {(root / name).parent for name in names}:
            durable.sync_folder(folder)
    except BaseException:
        _undo(root, [name for name in names if not (files / name).exists()], before)
        raise


def _undo(root: Path, names: Sequence[Path], before: Mapping[Path, bytes | None]) -> None:
    """Take away the files that were added, folders that are empty then, and give shared texts back."""
    for name in names:
        (root / name).unlink(missing_ok=True)
    for name, content in before.items():
        if content is None:
            (root / name).unlink(missing_ok=True)
        else:
            durable.write_bytes(root / name, content)
    for folder in sorted(
        {parent for name in (*names, *before) for parent in name.parents if parent.name}, reverse=True
    ):
        if (root / folder).is_dir() and not any((root / folder).iterdir()):
            (root / folder).rmdir()


def _undo_killed(staging: Path, root: Path) -> None:
    """What an export that was killed had added: its files that are not in its folder any more."""
    if (staging / NAMES).is_file():
        named = [Path(name) for name in json.loads((staging / NAMES).read_bytes())["names"]]
        within = [name for name in named if name.parts[:1] != ("/",) and ".." not in name.parts]
        _undo(root, [name for name in within if not (staging / FILES / name).exists()], {})
    shutil.rmtree(staging)


def _shared_texts(staging: Path, root: Path) -> dict[Path, str]:
    """What a dataset has one of for all its sessions, as it reads with this one in it."""
    found: dict[Path, str] = {}
    for path in (staging / PEOPLE, *staging.rglob("*_scans.tsv")):
        names, *rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
        name = path.relative_to(staging)
        text = (root / name).read_text(encoding="utf-8") if (root / name).is_file() else ""
        for row in rows:
            text = tables.merged(text, dict(zip(names, row, strict=True)), names[0])
        found[name] = text
    for shared, text in _of_a_dataset().items():
        if not (root / shared).exists() and not (shared == README and any(root.glob(f"{README}*"))):
            found[Path(shared)] = text
    return found


def _of_a_dataset() -> dict[str, str]:
    said = {
        "Name": "handed on by neuroloom",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "neuroloom", "Version": version("neuroloom")}],
    }
    return {
        DESCRIPTION: json_text(said),
        ABOUT_PEOPLE: json_text(tables.participants_json()),
        README: "Sessions that `neuroloom export` handed on. sourcedata/ has each as NWB, with all that it holds.\n",
    }
