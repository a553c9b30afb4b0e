"""A study, run cell by cell from where it stopped: `runs/NAME/{study.json, cells/, report.json, *.csv}` and its page.

prepare_study   writes down what is asked for
solve_cells     the cells that are missing; may be stopped at any instant
missing_batches, open_bench, solve_batch   the same in parts, for whoever solves batches side by side
conclude        report, tables and page from the cells there are
run_study       all of it
"""

from __future__ import annotations

import json
import logging
import platform
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable
from neuroloom.pipeline import verdicts
from neuroloom.pipeline.config import Config, ConfigError, parsed_config, read_config
from neuroloom.pipeline.documents import document_of
from neuroloom.pipeline.noting import noted_run
from neuroloom.pipeline.profiles import FULL, QUICK, profile_file
from neuroloom.pipeline.store import Store, StoreError, slug
from neuroloom.pipeline.studies import study_of
from neuroloom.pipeline.studies._cells import CELLS, FILES, NETWORKS, REQUEST, Cells, Key
from neuroloom.pipeline.studies._device import told
from neuroloom.pipeline.studies._report import Report

FACTS = "facts.json"
ARITHMETIC = 2  # part of every cell's name: raise it where the same settings would give other numbers
Progress = Callable[[int, int, str], None]
OF_USERS = (ValueError, OSError)  # those whose message alone says what is wrong


class CellsError(RuntimeError):
    """Cells without a result, told after the others were done. failed: what and why of each batch that has none."""

    def __init__(self, failed: Sequence[tuple[str, BaseException]], n_batches: int) -> None:
        super().__init__(failed, n_batches)  # both, so that it can be handed between processes
        self.failed = tuple(f"{what}: {_why(error)}" for what, error in failed)
        self.sentence = (
            f"{len(failed)} of {n_batches} failed, the others are done; there is no report until these are, too"
        )

    def __str__(self) -> str:
        return "; ".join([f"{self.sentence}: the same again tries these alone", *self.failed])


def prepare_study(
    study: str, store: Store, *, profile: str = "", config: Path | None = None, text: str = "", name: str = ""
) -> str:
    """Write down what is asked for; gives the run's name.

    profile: one of `profiles_of`, quick where it is left out. config, text: a TOML file, and then TOML, with other
    settings than that. name: of the run; else the file's, else study-profile.
    Raises ValueError for a study or profile that is not there, ConfigError for settings it does not have or a name that
    is taken by a study with other settings; those that only its report reads, and the device, may change. Under a new
    name it begins with the cells of a study of the store that differs in no more than these.
    """
    own, part = study_of(study)
    profile = profile or QUICK
    file = profile_file(own, profile)
    settings = part.FULL if profile == FULL else part.Settings()
    for path in (file, config):
        settings = settings if path is None else read_config(path, part.Settings, settings)
    settings = parsed_config(text, part.Settings, "settings", settings)
    name = slug(name or (config.stem if config is not None else f"{own}-{profile}"))
    folder = store.create().run_folder(name)
    asked = {"study": own, "settings": _plain(settings)}
    _refuse_taken(folder, asked)
    folder.mkdir(parents=True, exist_ok=True)
    durable.write_json(folder / REQUEST, asked)
    if not any((folder / CELLS).glob("*.json")):
        _take_over(folder, asked)
    return name


def _take_over(folder: Path, asked: Mapping[str, Any]) -> None:
    """What a study of the store has made whose settings decide the same: only its report asks something else."""
    for request in sorted(folder.parent.glob(f"*/{REQUEST}")):
        there = document_of(request)
        if request.parent == folder or there.get("study") != asked["study"] or _deciding(there) != _deciding(asked):
            continue
        for file in [*request.parent.glob(f"{CELLS}/*.json"), *request.parent.glob(f"{NETWORKS}/[!.]*")]:
            mine = folder / file.relative_to(request.parent)
            if not mine.exists():  # networks last: what a cell there names is written before it
                mine.parent.mkdir(exist_ok=True)
                durable.write_bytes(mine, file.read_bytes())
        durable.write_json(folder / FACTS, document_of(request.parent / FACTS))


def _refuse_taken(folder: Path, asked: Mapping[str, Any]) -> None:
    """Raises ConfigError where the folder holds something else; settings that have made no cell yet may change."""
    there = document_of(folder / REQUEST)
    if not there and folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: is no study; give this one another name")
    if not there or _deciding(there) == _deciding(asked) or not any((folder / CELLS).glob("*.json")):
        return
    if there["study"] != asked["study"]:
        raise ConfigError(f"{folder}: holds the study {there['study']!r}; give this one another name")
    was, now = _deciding(there)["settings"], _deciding(asked)["settings"]
    others = ", ".join(key for key in {**was, **now} if was.get(key) != now.get(key))
    raise ConfigError(f"{folder}: holds cells of this study with other settings ({others}); give this one another name")


def run_study(name: str, store: Store, progress: Progress | None = None) -> Report:
    """Solve what is missing and conclude; noted in the catalog."""
    with noted_run(store, name, "study") as summary:
        solve_cells(name, store, progress)
        found = conclude(name, store)
        summary["sentence"] = found.sentence
    return found


def solve_cells(name: str, store: Store, progress: Progress | None = None) -> None:
    """Solve the cells that have no result yet. progress: cells done, cells in all, what was done.

    Several processes may do so at once: each takes the batches that no other is at. Raises CellsError after the others,
    as an hour of them should not be lost by one.
    """
    batches = missing_batches(name, store)
    if not batches:
        return
    done, wanted = progress_of(name, store)
    bench = open_bench(name, store, progress)
    failed: list[tuple[str, Exception]] = []
    waiting = deque((batch, False) for batch in batches)
    while waiting:
        batch, wait = waiting.popleft()
        try:
            solve_batch(name, store, bench, batch, wait=wait)
        except Exception as error:
            if isinstance(error, BlockingIOError) and not wait:  # another process is at it: when nothing else is left
                waiting.append((batch, True))
                continue
            failed.append((batch_words(batch), error))
            said = f"FAILED: {batch_words(batch)}: {_why(error)}"
            logging.getLogger(__name__).warning(said, exc_info=None if isinstance(error, OF_USERS) else error)
            continue
        done += len(batch)
        if progress is not None:
            progress(done, wanted, batch_words(batch))
    if failed:
        raise CellsError(failed, len(batches)) from failed[0][1]


def _why(error: BaseException) -> str:
    """In one line; of what is no word to a user, the kind as well."""
    words = " ".join(str(error).split())
    plain = isinstance(error, OF_USERS)
    return words if plain and words else f"{type(error).__name__}: {words}".removesuffix(": ")


def missing_batches(name: str, store: Store) -> list[list[Key]]:
    """The cells that have no result yet, as batches that are solved at once."""
    part, settings = _asked(name, store)
    found: list[list[Key]] = part.together(_cells(name, store, settings).missing(part.keys(settings)))
    return found


def batch_words(batch: Sequence[Key]) -> str:
    """What a batch is called: what its first cell is, but for the seed."""
    return ", ".join(f"{name} {value}" for name, value in batch[0].items() if name != "seed")


def open_bench(name: str, store: Store, progress: Progress | None = None) -> Any:
    """What all cells share; where they are made, and what is known of the teacher, is noted in the run's folder."""
    part, settings = _asked(name, store)
    try:
        place = told(settings.place)  # said before a teacher is trained for minutes
        bench = part.opened(settings, store, _told(progress))
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error
    facts = bench.facts() | {"device": _devices(document_of(store.run_folder(name) / FACTS), place)}
    durable.write_json(store.run_folder(name) / FACTS, facts)
    return bench


def solve_batch(name: str, store: Store, bench: Any, batch: Sequence[Key], *, wait: bool = True) -> None:
    """Solve one batch and keep its results for good; nothing of it that another process has solved meanwhile.

    Raises BlockingIOError where another process is at it and nobody is to wait for that.
    """
    part, settings = _asked(name, store)
    cells, folder = _cells(name, store, settings), store.run_folder(name)
    lock = folder / f".{cells.path(batch[0]).stem}.lock"
    with durable.locked(lock, wait=wait):
        missing = cells.missing(batch)
        for key, result in zip(missing, part.solve(bench, settings, missing) if missing else (), strict=True):
            for file, data in result.pop(FILES, {}).items():
                path = folder / file
                path.parent.mkdir(parents=True, exist_ok=True)
                durable.write_bytes(path, data)
            cells.put(key, result)
        lock.unlink(missing_ok=True)  # what is left of one that was killed stands in nobody's way


def side_by_side(name: str, store: Store) -> bool:
    """Whether batches of this study may be solved at the same time in one process, on the CPU."""
    part, settings = _asked(name, store)
    return getattr(part, "SIDE_BY_SIDE", False) and settings.place.type == "cpu"


def conclude(name: str, store: Store) -> Report:
    """Report, tables and page from the cells there are. Raises StoreError where there is none."""
    from neuroloom.pipeline.review.study_page import write_study

    part, settings = _asked(name, store)
    cells, wanted = _cells(name, store, settings), part.keys(settings)
    found = [(key, result) for key in wanted if (result := cells.get(key)) is not None]
    if not found:
        raise StoreError(f"{name}: no cell has a result yet; `neuroloom study` makes them")
    report: Report = part.report(settings, found, _facts(name, store, len(found), len(wanted)))
    report.save(store.run_folder(name))
    write_study(name, report, _plain(settings), store.review, verdicts.of_run(store, name))
    return report


def progress_of(name: str, store: Store) -> tuple[int, int]:
    """Cells done, and cells in all."""
    part, settings = _asked(name, store)
    wanted = part.keys(settings)
    return len(wanted) - len(_cells(name, store, settings).missing(wanted)), len(wanted)


def _facts(name: str, store: Store, n_found: int, n_wanted: int) -> dict[str, Any]:
    facts = document_of(store.run_folder(name) / FACTS)
    return facts | {"cells": f"{n_found} of {n_wanted}", "torch": version("torch"), "python": platform.python_version()}


def _devices(before: Mapping[str, Any], now: str) -> str:
    """Where the cells of a study were made; those made before it was noted are said to be."""
    known = before.get("device", "not noted" if before else "")
    return known if now in known.split(", ") else ", ".join(filter(None, (known, now)))


def _cells(name: str, store: Store, settings: Config) -> Cells:
    asked = document_of(store.run_folder(name) / REQUEST)
    common = {**_deciding(asked), "arithmetic": ARITHMETIC}
    return Cells(folder=store.run_folder(name) / CELLS, common=common)


def _asked(name: str, store: Store) -> tuple[Any, Any]:
    found = document_of(store.run_folder(name) / REQUEST)
    if not found:
        raise StoreError(f"{name}: no such study in {store.root}; `neuroloom study NAME` begins one")
    _, part = study_of(found["study"])
    return part, part.Settings.model_validate(found["settings"])


def _deciding(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the cells: all but the settings that only the report reads, and where students learn."""
    only_read = {"device", *getattr(study_of(asked["study"])[1], "ONLY_READ", ())}
    settings = {name: value for name, value in asked["settings"].items() if name not in only_read}
    return {"study": asked["study"], "settings": settings}


def _told(progress: Progress | None) -> Callable[[int, int, float], None] | None:
    if progress is None:
        return None
    return lambda step, steps, loss: progress(step, steps, f"teacher, loss {loss:.3f}") if step % 100 == 0 else None


def _plain(settings: Config) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(settings.model_dump_json())
    return found


__all__ = [
    "REQUEST",
    "Key",
    "batch_words",
    "conclude",
    "missing_batches",
    "open_bench",
    "prepare_study",
    "progress_of",
    "run_study",
    "side_by_side",
    "solve_batch",
    "solve_cells",
]
