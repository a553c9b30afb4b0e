"""Units as files spell them, and the one spelling kept."""

from __future__ import annotations

# spelled in the file (lower case): (kept unit, factor on the gain). MICRO SIGN and GREEK MU both occur.
_VOLTS = {
    "v": 1e6, "mv": 1e3, "uv": 1.0, "µv": 1.0, "μv": 1.0, "nv": 1e-3, "microvolt": 1.0, "microvolts": 1.0,
}  # fmt: skip


def kept_unit(text: str) -> tuple[str, float]:
    """The unit that is kept and what gains in `text` are multiplied by; volts become "uV", others stay as spelled.

    An absent unit is "a.u.": the file states none, so none is claimed.
    """
    spelled = text.strip()
    factor = _VOLTS.get(spelled.lower())
    return ("uV", factor) if factor is not None else (spelled or "a.u.", 1.0)
