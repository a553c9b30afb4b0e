"""Which column of a Tobii export is what: the names that Studio 1 and 2, Studio 3 and Pro Lab give them.

    Studio 1, 2    GazePointXLeft, PupilLeft, ValidityLeft, Timestamp (ms), MicroSecondTimestamp
    Studio 3       GazePointLeftX (ADCSpx), PupilLeft, ValidityLeft, RecordingTimestamp (ms)
    Pro Lab        Gaze point left X [DACS px], Pupil diameter left [mm], Recording timestamp [μs]; old ones no units

Units that names leave out are those of Tobii's manuals: pixels of the screen, millimetres for pupils and eyes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from neuroloom.ingest.formats._sampled import Group

_AXES = ("X", "Y", "Z")
_SYSTEM = r"(?: [\[(](?:(?P<system>A?DA?CS|MCS) ?)?(?P<unit>px|mm|norm)[\])])?"
_EYE = r"(?P<eye>left|right|Left|Right)"
# What a column measures, and how Tobii's programs have called it.
_PATTERNS = (
    ("gaze", re.compile(rf"Gaze point (?:{_EYE} )?(?P<axis>[XY]){_SYSTEM}")),
    ("gaze", re.compile(rf"GazePoint{_EYE}?(?P<axis>[XY]){_SYSTEM}")),
    ("gaze", re.compile(rf"GazePoint(?P<axis>[XY]){_EYE}?")),
    ("pupil", re.compile(rf"Pupil(?: diameter )?{_EYE}(?: \[mm\])?")),
    ("eye position", re.compile(rf"Eye position {_EYE} (?P<axis>[XYZ]){_SYSTEM}")),
    ("eye position", re.compile(rf"EyePos{_EYE}(?P<axis>[XYZ]){_SYSTEM}")),
    ("gaze direction", re.compile(rf"Gaze direction {_EYE} (?P<axis>[XYZ]){_SYSTEM}")),
    ("distance", re.compile(rf"Distance{_EYE}")),
    ("validity", re.compile(rf"Validity ?{_EYE}")),
)
_UNITS = {"gaze": "px", "pupil": "mm", "eye position": "mm", "distance": "mm"}


@dataclass(frozen=True)
class Column:
    """A column of samples. eye: "left", "right", "" for both. system: of coordinates, "" where not named."""

    what: str
    eye: str
    axis: str
    system: str
    unit: str
    at: int

    @property
    def channel(self) -> str:
        """What it is called in its signal."""
        stem = self.axis or self.what.rpartition(" ")[2]
        return f"{stem}_{self.eye}" if self.eye else stem


def columns_of(names: Sequence[str]) -> list[Column]:
    """The columns of samples."""
    found = []
    for at, name in enumerate(names):
        for what, pattern in _PATTERNS:
            said = pattern.fullmatch(name)
            if said is None:
                continue
            parts = said.groupdict()
            system = (parts.get("system") or "").replace("ADCS", "DACS")
            stated = "" if what == "gaze direction" else parts.get("unit") or ""
            unit = stated or _UNITS.get(what, "a.u.")
            eye, axis = ((parts.get(key) or "").lower() for key in ("eye", "axis"))
            found.append(Column(what, eye, axis, system, unit, at))
            break
    return found


def groups_of(columns: Sequence[Column]) -> Iterator[tuple[Group, list[Column]]]:
    """The signals that they make, each with its columns; `columns` of a group count from its first."""
    kinds = list(dict.fromkeys((c.what, c.system, c.unit) for c in columns))
    for what, system, unit in kinds:
        members = [c for c in columns if (c.what, c.system, c.unit) == (what, system, unit)]
        members.sort(key=lambda c: (c.eye == "", c.eye, c.axis))
        alone = sum(kind[0] == what for kind in kinds) == 1
        group = Group(
            name=what if alone else " ".join(part for part in (what, system, unit) if part),
            modality=what if what in ("gaze", "pupil") else "aux",
            unit=unit,
            channels=tuple(c.channel for c in members),
            columns=tuple(range(len(members))),
            provenance={"coordinates": system} if system else {},
        )
        yield group, members
