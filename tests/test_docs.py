"""The docs that are made by code are what the code makes."""

from pathlib import Path

from neuroloom.ingest.formats.__main__ import table

DOCS = Path(__file__).parents[1] / "docs"


def test_the_table_of_formats_is_that_of_the_readers():
    """`python -m neuroloom.ingest.formats > docs/formats.md` writes it anew."""
    assert (DOCS / "formats.md").read_text(encoding="utf-8") == table()
