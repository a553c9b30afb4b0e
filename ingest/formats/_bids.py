"""Names and sidecars of BIDS: `sub-01_ses-02_task-rest_run-1_eeg.edf`, and which files beside or above say more of it.

bids_name      the parts of a name
levels         the folders whose files may be about a file: from the dataset's down to its own
applicable     those files of a kind (BIDS calls it inheritance: a file above holds for all below that fit its name)
stated         what the JSON among them say together; the nearest one has the last word

Only names are trusted, and only within the dataset: the search goes up as far as the subject's folder, and one further
where a dataset begins there (`dataset_description.json`, or `participants.tsv`). Links are not followed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._json import read_object
from neuroloom.ingest.formats._sidecars import small_bytes
from neuroloom.ingest.ledger import not_utf8, note

DATA = frozenset({"eeg", "ieeg", "meg", "emg", "nirs", "motion", "physio", "stim"})  # suffixes of recordings
_ENDINGS = frozenset({
    ".edf", ".bdf", ".vhdr", ".set", ".nwb", ".fif", ".snirf", ".con", ".sqd", ".kdf", ".raw", ".mefd", ".ds", ".gdf",
    ".cnt", ".tsv", ".tsv.gz",
})  # fmt: skip
_TABLES = frozenset({"motion", "physio", "stim"})  # recordings that are tables themselves


@dataclass(frozen=True)
class BidsName:
    """entities: {"sub": "01", "task": "rest"}. suffix: "eeg". ending: ".edf", with both parts of ".tsv.gz"."""

    entities: Mapping[str, str]
    suffix: str
    ending: str


def bids_name(path: Path) -> BidsName | None:
    """The parts of a name, None where it is not built as BIDS names are."""
    stem, dot, ending = path.name.partition(".")
    *pairs, suffix = stem.split("_")
    entities: dict[str, str] = {}
    for pair in pairs:
        said = re.fullmatch(r"([A-Za-z]+)-([A-Za-z0-9+]+)", pair)
        if said is None:
            return None
        entities[said[1]] = said[2]
    return BidsName(entities, suffix, dot + ending.lower()) if re.fullmatch(r"[A-Za-z0-9]+", suffix) else None


def is_recording(path: Path) -> bool:
    """True for a name that says it is a recording of a subject; its companions and sidecars are none."""
    name = bids_name(path)
    if name is None or "sub" not in name.entities or name.suffix not in DATA or name.ending not in _ENDINGS:
        return False
    return name.suffix in _TABLES or not name.ending.startswith(".tsv")


def is_root(folder: Path) -> bool:
    """True for the folder of a dataset."""
    return is_there(folder / "dataset_description.json")


def levels(path: Path) -> list[Path]:
    """The folders whose files may be about a file, from the outermost to its own."""
    own = path.parent
    above = [own]
    within = own if own.name.startswith(("sub-", "ses-")) else own.parent
    if not within.name.startswith(("sub-", "ses-")):
        return above
    while within.name.startswith(("sub-", "ses-")):
        above += [within] if within not in above else []
        if within.name.startswith("sub-"):
            top = within.parent
            above += [top] if is_root(top) or is_there(top / "participants.tsv") else []
            break
        within = within.parent
    return above[::-1]


def applicable(path: Path, suffix: str, ending: str) -> list[Path]:
    """The files of a kind that are about `path`, from the most general to the nearest."""
    name = bids_name(path)
    if name is None:
        return []
    found = []
    for folder in levels(path):
        here = []
        for file in folder.glob(f"*{suffix}{ending}"):
            other = bids_name(file)
            is_kind = other is not None and (other.suffix, other.ending) == (suffix, ending) and is_there(file)
            if other is not None and is_kind and other.entities.items() <= name.entities.items():
                here.append((len(other.entities), file.name, file))
        found += [file for _, _, file in sorted(here)]
    return found


def stated(path: Path, suffix: str | None = None) -> dict[str, Any]:
    """What the JSON about a file say together. Raises FormatError for what is no JSON."""
    name = bids_name(path)
    said: dict[str, Any] = {}
    for file in applicable(path, suffix or (name.suffix if name else ""), ".json"):
        said |= read_object(file)
    return said


def read_rows(path: Path) -> list[dict[str, str]]:
    """A small table of text with a header, a dictionary per row. Raises FormatError, naming the line, for damage."""
    raw = small_bytes(path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        note(not_utf8(error, path.name))
        text = raw.decode("latin-1")
    lines = [(k, line.split("\t")) for k, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        return []
    names = [name.strip() for name in lines[0][1]]
    rows = []
    for k, cells in lines[1:]:
        if len(cells) != len(names):
            raise FormatError(f"{path}: line {k} has {len(cells)} cells; {len(names)} are wanted, as in its header")
        rows.append({name: cell.strip() for name, cell in zip(names, cells, strict=True)})
    return rows


def is_said(text: str | None) -> bool:
    """False for a cell that holds nothing: BIDS writes n/a."""
    return text is not None and text.strip().lower() not in ("", "n/a", "nan", "na")
