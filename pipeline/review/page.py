"""A template and what it shows, written as one file that needs no network and no other file.

What a page is for can be read without its scripts. A part of it between `<!--part:NAME-->` and `<!--/part-->` can be
written anew without drawing the rest; no text can pretend to be such a mark, since `<` is always escaped.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable
from neuroloom.pipeline.review import text

HERE = Path(__file__).parent
STYLE = "style.css"
HEAD = 4096  # bytes of a page, with its policy
MOST_PROSE = 4000  # characters of one line
FOLDED = 12  # rows of a long table that are shown at first; style.css counts them


@cache
def environment() -> Any:
    """Jinja with autoescape always on, undefined names an error, and every text made `visible` before it is escaped.

    Design rationale: `finalize` does it for each expression of each template, so that no template can forget it;
    a filter would have to be remembered. Markup (only ever made by this folder) passes as it is.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

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
        told=told,
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
    made.globals.update(
        folded=FOLDED,
        style=Markup(_read(STYLE)),
        source=lambda name: Markup(_read(name)),
        policy=lambda scripts: Markup(escape(policy(scripts))),  # whole, however long
    )
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


def told(words: str) -> Any:
    """What we say, with what is to be typed (between backticks) as code; escaped."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text.visible(words, MOST_PROSE)))))


def data(value: object) -> Any:
    """JSON for a `<script type="application/json">`: whatever a text holds, it cannot end that element."""
    from markupsafe import Markup

    written = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def write_page(template: str, path: Path, *, scripts: Sequence[str] = ("tables.js",), **shown: Any) -> Path:
    """Renders a template to `path`, whole or not at all. scripts: files of this folder that the page runs, in order."""
    whole: str = environment().get_template(template).render(scripts=scripts, **shown)
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write_bytes(path, whole.encode("utf-8", errors="replace"))
    return path


def write_part(path: Path, name: str, template: str, macro: str, *shown: Any) -> None:
    """Writes one part of a page anew, whole or not at all; nothing where the page or the part is not there."""
    if not path.is_file():
        return
    before, mark, rest = path.read_text(encoding="utf-8").partition(f"<!--part:{name}-->")
    _, end, after = rest.partition("<!--/part-->")
    if mark and end:
        part = str(getattr(environment().get_template(template).module, macro)(*shown))
        durable.write_bytes(path, (before + mark + part + end + after).encode("utf-8", errors="replace"))


def policy(scripts: Sequence[str] = ()) -> str:
    """What the browser may do with a page: show it, run these scripts of ours, and ask whoever served it.

    Style and scripts are named by their digests, so that nothing else in the page is either; all of ours where none
    is named.
    """
    allowed = " ".join(map(_source, scripts or sorted(path.name for path in HERE.glob("*.js"))))
    return (
        f"default-src 'none'; img-src data:; style-src {_source(STYLE)}; script-src {allowed}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'"
    )


def is_current(path: Path) -> bool:
    """Whether style and scripts of a page are those of this neuroloom; those of another would not be let run."""
    with path.open("rb") as file:
        head = html.unescape(file.read(HEAD).decode("utf-8", errors="replace"))
    named = set(re.findall(r"'sha256-[A-Za-z0-9+/=]+'", head.partition("<style>")[0]))
    return bool(named) and named <= set(re.split(r"[ ;]+", policy()))


def _source(name: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(_read(name).encode()).digest()).decode()}'"


@cache
def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
