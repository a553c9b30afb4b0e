"""Text from outside made harmless and readable: names, times and numbers as a page shows them.

HTML escaping is Jinja's (autoescape); this file deals with what escaping leaves alone: control characters, terminal
escapes, marks that turn the reading direction, lone surrogates, piles of combining marks.
"""

from __future__ import annotations

import hashlib
import math
import re
from datetime import datetime
from urllib.parse import quote

from neuroloom.ingest.words import count as count
from neuroloom.ingest.words import listed as listed
from neuroloom.ingest.words import visible as visible


def file_stem(name: str) -> str:
    """A name for a file, of letters, digits, `.`, `_`, `-`; where it had to change, a digest is added."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".")[:120]
    if safe == name and safe:
        return safe
    return f"{safe or 'page'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def relative_href(path: str) -> str:
    """A link below the page's own folder: no scheme, no host, no way up; empty where nothing is left."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return quote("/".join(parts), errors="replace")


def short_digest(digest: str) -> str:
    """The first twelve signs of a digest, its algorithm's name kept: `blake3:1f2e3d4c5b6a`."""
    algorithm, colon, rest = digest.rpartition(":")
    return f"{algorithm}{colon}{rest[:12]}"


def span(seconds: float) -> str:
    """A length of time for people: `0.42 s`, `20.0 s`, `3 min 05 s`, `1 h 12 min`."""
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def number(value: object) -> str:
    """A number with as many digits as help; True and False as words; nothing as a dash; other things as text."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return visible(str(value))
    if not math.isfinite(value):
        return "–"
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}".replace("-", "−")
    digits = max(0, 3 - max(0, math.floor(math.log10(abs(value))))) if value else 0
    written = f"{value:,.{digits}f}"
    return (written.rstrip("0").rstrip(".") if "." in written else written).replace("-", "−")


def score(value: float | None) -> str:
    """A score with three decimals, so that a column of them can be compared; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}".replace("-", "−")


def unit_sign(unit: str) -> str:
    """A unit as it is written: µV for "uV"."""
    return "µV" if unit == "uV" else visible(unit, 20)


def clock(when: datetime | None) -> str:
    """The time of day to the minute, or a dash."""
    return "–" if when is None else when.strftime("%H:%M")


def moment(when: datetime | None) -> str:
    """A date and time to the minute with its zone, or a dash."""
    if when is None:
        return "–"
    zone = when.strftime("%Z")
    return when.strftime("%Y-%m-%d %H:%M") + (f" {zone}" if zone else "")
