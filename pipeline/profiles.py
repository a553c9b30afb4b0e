"""Profiles of studies that come along: `studies/profiles/STUDY/NAME.toml` *is* the profile NAME of STUDY.

Beside them every study has `quick` (its defaults) and `full`, which stand in its own file.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "studies" / "profiles"
QUICK, FULL = "quick", "full"


def profiles_of(study: str) -> tuple[str, ...]:
    """Names, by a study's own name."""
    return (QUICK, FULL, *sorted(path.stem for path in (FOLDER / study).glob("*.toml")))


def profile_file(study: str, name: str) -> Path | None:
    """The file of a profile, None for those without one. Raises ValueError listing the study's profiles."""
    known = profiles_of(study)
    if name not in known:
        raise ValueError(f"{study} has no profile {name!r}; there are: {', '.join(known)}")
    return None if name in (QUICK, FULL) else FOLDER / study / f"{name}.toml"


def study_words() -> str:
    """The studies that come along, for the help."""
    names = sorted(path.stem for path in FOLDER.parent.glob("*.py") if not path.stem.startswith("_"))
    return f"{', '.join(names[:-1])} or {names[-1]}"


def profile_words() -> str:
    """All there are, for the help."""
    own = sorted((path.parent.name, path.stem) for path in FOLDER.glob("*/*.toml"))
    return f"{QUICK} or {FULL}; " + ", ".join(f"{name} of {study}" for study, name in own)
