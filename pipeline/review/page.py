"""A template and what it shows, written as one file that needs no network and no other file.

What a page is for can be read without its scripts. A part of it between `<!--part:NAME-->` and `<!--/part-->` can be
written anew without drawing the rest; no text can pretend to be such a mark, since `<` is always escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable
from neuroloom.pipeline.review import text

HERE = Path(__file__).parent
MOST_PROSE = 4000  # characters of one line


@cache
def environment() -> Any:
    """Jinja with autoescape always on, undefined names an error, and every text made `visible` before it is escaped.

    Design rationale: `finalize` does it for each expression of each template, so that no template can forget it;
    a filter would have to be remembered. Markup (only ever made by this folder) passes as it is.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: object) -> object:
        if isinstance(value, Markup):
            return value
        return text.visible(value) if isinstance(value, str) else value

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        prose=prose,
        data=data,
        listed=text.listed,
        span=text.span,
        number=text.number,
        score=text.score,
        count=text.count,
        moment=text.moment,
        digest=text.short_digest,
        href=relative_href,
        clock=text.clock,
    )
    made.globals.update(style=Markup(_read("style.css")), source=lambda name: Markup(_read(name)), policy=_policy)
    return made


def relative_href(path: str) -> str:
    """A link below the page's own folder; what stands behind `#` stays."""
    page, mark, part = path.partition("#")
    return text.relative_href(page) + (mark + text.relative_href(part) if mark else "")


def prose(said: str) -> Any:
    """Words of a person, whole and with their lines; escaped."""
    from markupsafe import Markup, escape

    lines = said.splitlines()
    return Markup("<br>").join(Markup(escape(text.visible(line, MOST_PROSE))) for line in lines)


def data(value: object) -> Any:
    """JSON for a `<script type="application/json">`: whatever a text holds, it cannot end that element."""
    from markupsafe import Markup

    written = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def write_page(template: str, path: Path, *, scripts: Sequence[str] = ("sort.js",), **shown: Any) -> Path:
    """Renders a template to `path`, whole or not at all. scripts: files of this folder that the page runs, in order."""
    html: str = environment().get_template(template).render(scripts=scripts, **shown)
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write_bytes(path, html.encode("utf-8", errors="replace"))
    return path


def write_part(path: Path, name: str, template: str, macro: str, *shown: Any) -> None:
    """Writes one part of a page anew, whole or not at all; nothing where the page or the part is not there."""
    if not path.is_file():
        return
    html = path.read_text(encoding="utf-8")
    before, mark, rest = html.partition(f"<!--part:{name}-->")
    _, end, after = rest.partition("<!--/part-->")
    if mark and end:
        part = str(getattr(environment().get_template(template).module, macro)(*shown))
        durable.write_bytes(path, (before + mark + part + end + after).encode("utf-8", errors="replace"))


def _policy(scripts: Sequence[str]) -> str:
    """What the browser may do with the page: show it, run these scripts of ours, and ask whoever served it."""
    digests = (base64.b64encode(hashlib.sha256(_read(name).encode()).digest()).decode() for name in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
