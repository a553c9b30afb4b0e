"""`python -m neuroloom.pipeline.review SESSION_FOLDER [PAGES_FOLDER]` writes the page of one session or run.

A folder with a `config.json` is taken for a run, any other for a published session. The page lies in PAGES_FOLDER,
by default in the present folder; its path is printed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from neuroloom.pipeline.runs.run_files import CONFIG


def main(arguments: list[str]) -> int:
    """Writes the page; 0 where it lies there, 1 where the folder could not be read, 2 for wrong use."""
    if len(arguments) not in (1, 2) or arguments[0].startswith("-"):
        print(__doc__.splitlines()[0], file=sys.stderr)
        return 2
    source, pages = Path(arguments[0]), Path(arguments[1]) if len(arguments) == 2 else Path()
    try:
        print(_write(source, pages))
    except (OSError, ValueError) as error:
        print(f"no page written: {error}", file=sys.stderr)
        return 1
    return 0


def _write(source: Path, pages: Path) -> Path:
    if (source / CONFIG).is_file():
        from neuroloom.pipeline.review.run_page import write_run

        return write_run(source, pages)
    from neuroloom.ingest.session import Session
    from neuroloom.pipeline.review.session_page import write_session

    return write_session(Session.open(source), pages)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
