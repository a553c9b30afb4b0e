"""`python -m neuroloom.ingest.formats` prints `docs/formats.md`: per format what is kept, and whose files tested it."""

from __future__ import annotations

from neuroloom.ingest.formats import formats

HEAD = """# Formats

What a file is, is found from its content; its name does not matter. "Files written by this project" means that no real
file was at hand: the reader follows the format's description, and the stock reader agrees with it on our own files.

| format | what it is | holds mostly | what is kept | tested on |
|---|---|---|---|---|
"""


def table() -> str:
    """The page, as Markdown."""
    rows = [
        f"| `{name}` | {form.TITLE} | {form.MODALITY} | {form.KEEPS} | {form.TESTED_ON} |"
        for name, form in formats().items()
    ]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
