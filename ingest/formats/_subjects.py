"""What headers say of the person, in the words of `Recording.subject`; what of it may be published is decided later.

    name, birth_date, patient_id    who it is: not published unless the lab asks for it (`pipeline/drops/privacy.py`)
    sex                             "F", "M" or "O", as NWB has it
    species                         where a file says it

A header that says "X", "anonymous" or "n/a" names nobody.
"""

from __future__ import annotations

import re
from datetime import date, datetime

_NOBODY = {
    "", "x", "xx", "xxx", "na", "none", "null", "nn", "anon", "anonym", "anonymous", "anonymized", "anonymised",
    "unknown", "unspecified", "notspecified", "default", "mneanonymize", "noname", "patient", "subject", "name", "no",
    "mne", "anonymize", "0", "1",
}  # fmt: skip
_SEXES = {"f": "F", "female": "F", "2": "F", "m": "M", "male": "M", "1": "M", "o": "O", "other": "O"}
_EARLIEST = 1900  # 30-DEC-1899 is what programs write for none
_FORMS = ("%d-%b-%Y", "%Y-%m-%d", "%Y.%m.%d", "%Y/%m/%d", "%Y%m%d")


def subject_of(
    *, name: str = "", born: date | str | None = None, sex: str = "", code: str = "", species: str = ""
) -> dict[str, str]:
    """What is known of name, date of birth, sex, the number a clinic gave, species; keys only for what is said."""
    day = dated(born) if isinstance(born, str) else born.date() if isinstance(born, datetime) else born
    said = {
        "name": _somebody(name),
        "birth_date": day.isoformat() if day is not None else "",
        "sex": _SEXES.get(sex.strip().lower(), ""),
        "patient_id": _somebody(code),
        "species": species.strip(),
    }
    return {key: text for key, text in said.items() if text}


def dated(text: str) -> date | None:
    """`02-MAY-1951`, `1951-05-02` and the like; None for a date that could be read in two ways, and for none."""
    for form in _FORMS:
        try:
            day = datetime.strptime(re.split(r"[T\s]", text.strip())[0], form).date()
        except ValueError:
            continue
        return day if day.year >= _EARLIEST else None
    return None


def _somebody(text: str) -> str:
    """The words of a name or number; "" for what names nobody."""
    words = re.findall(r"[^\W_]+", text.lower())
    is_nobody = "".join(words) in _NOBODY or all(word in _NOBODY for word in words)
    return "" if is_nobody else " ".join(text.replace("\0", " ").split())
