"""Names and numbers from recordings as people read them: nothing in a text acts, nothing is longer than can be read."""

from __future__ import annotations

import unicodedata

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


def count(n: int, thing: str) -> str:
    """How many there are: `1 gap`, `2 gaps`."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def listed(names: tuple[str, ...] | list[str], most: int = 8) -> str:
    """Names one after the other, the first `most` of them; "none" where there are none."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(visible(name, 60) for name in names[:most]) + more if names else "none"


def short(value: object) -> str:
    """A value in few digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
