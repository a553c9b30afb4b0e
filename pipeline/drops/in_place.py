"""Files ingested where they lie, without inbox or server: `neuroloom ingest`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from neuroloom.pipeline.boxed.box import BoxError, Inside, Unboxed
from neuroloom.pipeline.boxed.sniffing import READ_ERRORS
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.drops import inbox
from neuroloom.pipeline.drops.identity import grouped
from neuroloom.pipeline.noting import note_all, note_new, note_published
from neuroloom.pipeline.store import Store

Progress = Callable[[str], None]


def ingest_paths(
    paths: Sequence[Path],
    store: Store,
    *,
    sorter: str | None,
    archive: bool = False,
    strict: bool = False,
    inside: Inside | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Ingest files where they lie, without inbox or server, and note the sessions; one that fails stops no other."""
    from neuroloom.pipeline.drops.ingesting import IngestResult, ingest_drop

    catalog = Catalog.of(store)
    note_all(store, catalog)
    note_new(store, catalog)  # what was copied into the store, or came back with an older catalog
    results: list[dict[str, Any]] = []
    for group in grouped(paths):
        try:
            made = ingest_drop(
                group,
                store,
                sorter=sorter,
                archive=archive,
                strict=strict,
                inside=inside or Unboxed(),
                progress=progress or (lambda _: None),
                in_place=True,
            )
        except BoxError as error:
            made = [IngestResult(path=str(path), state="quarantined", reason=f"{group[0]}: {error}") for path in group]
        except READ_ERRORS as error:
            reason = f"{group[0]}: the reader stopped ({type(error).__name__}: {inbox.one_line(error)})"
            made = [IngestResult(path=str(path), state="quarantined", reason=reason) for path in group]
        results += [result.to_dict() for result in made]
    note_published(store, catalog, [result["session"] for result in results if result["session"]])
    catalog.close()
    return results
