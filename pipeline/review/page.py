"""A template and what it shows, written as one file that needs no network, no script and no other file."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable
from neuroloom.pipeline.review import text

HERE = Path(__file__).parent


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
        span=text.span,
        number=text.number,
        score=text.score,
        count=text.count,
        moment=text.moment,
        digest=text.short_digest,
        href=text.relative_href,
    )
    made.globals.update(style=Markup(_read("style.css")), script=Markup(_read("sort.js")), policy=_policy())
    return made


def write_page(template: str, path: Path, **shown: Any) -> Path:
    """Renders a template to `path`, whole or not at all."""
    html: str = environment().get_template(template).render(**shown)
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write_bytes(path, html.encode("utf-8", errors="replace"))
    return path


def _policy() -> str:
    """What the browser may do with the page: show it, run the one sorting script, load nothing."""
    digest = base64.b64encode(hashlib.sha256(_read("sort.js").encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
