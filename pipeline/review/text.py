"""Text from outside made harmless and readable: names, times and numbers as a page shows them.

HTML escaping is Jinja's (autoescape); this file deals with what escaping leaves alone: control characters, terminal
escapes, marks that turn the reading direction, lone surrogates, piles of combining marks.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

LONGEST = 300  # characters of one text; the rest is cut and said to be
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKS_IN_A_ROW = 3


def visible(text: str, longest: int = LONGEST) -> str:
    """The text with every character that would act instead of being read shown as a sign, and cut to `longest`.

    Design rationale: shown, not dropped. A reviewer has to see that a channel name holds an escape sequence; dropping
    it would also make two different names look the same.
    """
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    shown: list[str] = []
    marks = 0
    for character in cut:
        category = unicodedata.category(character)
        marks = marks + 1 if category == "Mn" else 0
        if marks <= _MARKS_IN_A_ROW:
            shown.append(_sign(character) if category in _HIDDEN else character)
    return "".join(shown)


def _sign(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


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


def listed(names: Sequence[str], most: int = 40) -> str:
    """Names as a list in words, the first `most` of them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return visible(", ".join(names[:most]) + more, 2 * LONGEST)


def unit_sign(unit: str) -> str:
    """A unit as it is written: µV for "uV"."""
    return "µV" if unit == "uV" else visible(unit, 20)


def count(n: int, thing: str) -> str:
    """How many there are: `1 gap`, `2 gaps`."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def clock(when: datetime | None) -> str:
    """The time of day to the minute, or a dash."""
    return "–" if when is None else when.strftime("%H:%M")


def moment(when: datetime | None) -> str:
    """A date and time to the minute with its zone, or a dash."""
    if when is None:
        return "–"
    zone = when.strftime("%Z")
    return when.strftime("%Y-%m-%d %H:%M") + (f" {zone}" if zone else "")
