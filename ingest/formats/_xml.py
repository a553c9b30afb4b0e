"""XML that others wrote: looked at as text before any parser sees it, then parsed within limits.

A document type is refused whatever it holds: entities that unfold to gigabytes and those that read other files are
declared there. Encodings are those that cannot hide one: UTF-8, ASCII, Latin-1.

    root_of(path)                the root element
    name_of(element)             its name without a namespace
    child, text_of, all_of       what lies in it, by name
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._messages import one_line

MAX_BYTES = 1 << 26
MAX_DEPTH = 64
MAX_ELEMENTS = 5_000_000
_STEP_LETTERS = 1 << 20
_ENCODINGS = {"utf-8": "utf-8-sig", "us-ascii": "ascii", "iso-8859-1": "latin-1", "latin-1": "latin-1"}


def root_of(path: Path) -> ElementTree.Element:
    """Raises FormatError for what is no XML, declares a document type, or is too large or too deep."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise FormatError(f"{path}: {size} bytes of XML; at most {MAX_BYTES} are wanted")
    text = _text(path, path.read_bytes())
    # Nothing but comments and verbatim text may begin with "<!": a document type and entities do, too.
    if re.search(r"<!(?!--|\[CDATA\[)", text):
        raise FormatError(f"{path}: declares a document type or entities; plain XML is wanted")
    return _parsed(path, text)


def _text(path: Path, raw: bytes) -> str:
    said = re.match(rb"""(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""", raw[:200])
    encoding = said[1].decode("ascii").lower() if said else "utf-8"
    try:
        if encoding not in _ENCODINGS:
            raise LookupError(f"encoded as {encoding}")
        text = raw.decode(_ENCODINGS[encoding])
    except (UnicodeDecodeError, LookupError) as error:
        wanted = ", ".join(_ENCODINGS)
        raise FormatError(f"{path}: {one_line(error)}; XML in one of {wanted} is wanted") from error
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", text)  # the parser gets letters: what encoded them is no matter


def _parsed(path: Path, text: str) -> ElementTree.Element:
    parser: ElementTree.XMLPullParser[ElementTree.Element] = ElementTree.XMLPullParser(events=("start", "end"))
    depth = n_elements = 0
    root: ElementTree.Element | None = None
    try:
        for at in range(0, len(text), _STEP_LETTERS):
            parser.feed(text[at : at + _STEP_LETTERS])
            for event, element in cast(Iterator[tuple[str, ElementTree.Element]], parser.read_events()):
                root = element if root is None else root
                depth += 1 if event == "start" else -1
                n_elements += event == "start"
                if depth > MAX_DEPTH or n_elements > MAX_ELEMENTS:
                    raise FormatError(f"{path}: XML nested too deep or of too many elements; fewer are wanted")
        parser.close()
    except ElementTree.ParseError as error:
        raise FormatError(f"{path}: {one_line(error)}; XML is wanted") from error
    if root is None:
        raise FormatError(f"{path}: holds no element; XML is wanted")
    return root


def name_of(element: ElementTree.Element) -> str:
    """Without the namespace."""
    return element.tag.rpartition("}")[2]


def all_of(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Every element of that name in it, at any depth."""
    return (inner for inner in element.iter() if name_of(inner) == name)


def child(element: ElementTree.Element, name: str) -> ElementTree.Element | None:
    """The first that lies right in it."""
    return next((inner for inner in element if name_of(inner) == name), None)


def text_of(element: ElementTree.Element, name: str) -> str:
    """The text of the first that lies right in it, "" where there is none."""
    found = child(element, name)
    return (found.text or "").strip() if found is not None else ""
