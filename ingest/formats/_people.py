"""What files state of whom they recorded: a code may be published, a name never is."""

from __future__ import annotations

import re

_CODE = re.compile(r"(sub|subj|subject|[A-Za-z]{1,2})?[-_ ]?\d{1,6}[A-Za-z]?", re.IGNORECASE)
_NOBODY = {"", "n/a", "na", "none", "anonymous", "unknown", "default", "test"}


def stated_subject(text: str) -> dict[str, str]:
    """{"subject_id": ...} of what reads as a code ("P105", "sub-07", "12"), {"name": ...} of anything else.

    Design rationale: people type what they like into a field called "participant". What could be a name is treated as
    one, so that it is replaced by a code; what is plainly a code must not be, since "001" is in many other words.
    """
    said = " ".join(text.split())
    if said.lower() in _NOBODY:
        return {}
    if _CODE.fullmatch(said):
        return {"subject_id": re.sub(r"^(sub|subj|subject)[-_ ]?|[^A-Za-z0-9]", "", said, flags=re.IGNORECASE)}
    return {"name": said}
