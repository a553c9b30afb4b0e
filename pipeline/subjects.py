"""Who was recorded: entered once, checked, never retyped. Kept in the store, never published as it stands.

A file `subject.toml`, dropped into the inbox (or given to `neuroloom ingest`), one table per subject code:

    [07]
    names = ["Mueller", "muellerh"]     # how files may call the person: what is published says 07 instead
    species = "Homo sapiens"
    sex = "F"
    birth_date = 1990-05-01             # not published: the age at the session is
    [07.consent]
    given = 2024-02-01
    scope = ["research"]
    document = "consent-07.pdf"
    # until = 2034-02-01
    # withdrawn = 2025-03-01

What is said of a subject later replaces what was said before, table by table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, RootModel, ValidationError, field_validator

from neuroloom.ingest import durable
from neuroloom.ingest.formats import FormatError
from neuroloom.pipeline import removed
from neuroloom.pipeline.config import Config, ConfigError, read_config
from neuroloom.pipeline.store import Store

FILE_NAMES = ("subject.toml", "subjects.toml")
DAYS_PER_YEAR = 365.2425
YOUNG_DAYS = 731  # up to two years an age is told in days, then in years
UNKNOWN_SEX = "U"  # nothing that replaces what a file says
SEXES = ("F", "M", "O", UNKNOWN_SEX)


class Consent(Config):
    """What a person has agreed to, and until when. scope: what it may be used for, in the lab's own words."""

    given: date
    scope: tuple[str, ...] = ()
    document: str = ""
    until: date | None = None
    withdrawn: date | None = None

    def objection(self, today: date) -> str:
        """Why the recordings may not be used any more, or ""."""
        if self.withdrawn is not None and self.withdrawn <= today:
            return f"consent was withdrawn on {self.withdrawn}"
        if self.until is not None and self.until < today:
            return f"consent ended on {self.until}"
        return ""


class Subject(Config):
    """One person or animal. names: how files may call them; at least three letters each, so that no word is hit."""

    names: tuple[str, ...] = ()
    species: str = ""
    sex: str = UNKNOWN_SEX
    birth_date: date | None = None
    strain: str = ""
    genotype: str = ""
    consent: Consent | None = None

    @field_validator("names")
    @classmethod
    def _are_long_enough(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        short = [name for name in names if len(name.strip()) < 3]
        if short:
            raise ValueError(f"{short[0]!r} is too short to be told from other words; three letters are wanted")
        return names

    @field_validator("sex")
    @classmethod
    def _is_a_sex(cls, sex: str) -> str:
        if sex not in SEXES:
            raise ValueError(f"{sex!r}; one of {', '.join(SEXES)} is wanted")
        return sex

    def public(self, at: datetime | None) -> dict[str, str]:
        """What NWB may say of the subject: no name, no date; the age in days at a session's true start."""
        said = {key: getattr(self, key) for key in ("species", "sex", "strain", "genotype")}
        if self.birth_date is not None:
            said["age"] = age_at(self.birth_date, at)
        return {key: value for key, value in said.items() if value and value != UNKNOWN_SEX}


def age_at(born: date, at: datetime | None) -> str:
    """`P34Y`, or `P200D` up to two years; "" at no known time, or before birth."""
    days = (at.date() - born).days if at is not None else -1
    if days < 0:
        return ""
    return f"P{days}D" if days < YOUNG_DAYS else f"P{int(days / DAYS_PER_YEAR)}Y"


class Subjects(RootModel[dict[str, Subject]]):
    """Every subject by code."""

    root: dict[str, Subject] = Field(default_factory=dict)

    @field_validator("root")
    @classmethod
    def _are_codes(cls, subjects: dict[str, Subject]) -> dict[str, Subject]:
        wrong = [code for code in subjects if not re.fullmatch(r"[A-Za-z0-9]{1,40}", code)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no code; up to 40 letters and digits are wanted")
        return subjects

    @classmethod
    def of(cls, store: Store) -> Subjects:
        """Those a store knows. Raises ConfigError where its file is damaged."""
        path = store.subjects_file
        try:
            return cls.model_validate_json(path.read_bytes()) if path.is_file() else cls()
        except ValidationError as error:
            raise ConfigError(
                f"{path}: {error.errors()[0]['msg']}; the subjects as they were taken up are wanted"
            ) from error

    def code_of(self, told: str, texts: Iterable[str] = ()) -> str:
        """The code of whom `told` or one of the texts names; `told` itself where nobody is known by it.

        Raises FormatError where two subjects are named.
        """
        if told in self.root:
            return told
        found = self.named_in((told, *texts))
        if len(found) > 1:
            raise FormatError(f"{told}: names two subjects, {' and '.join(sorted(found))}; one is wanted")
        return found.pop() if found else told

    def named_in(self, texts: Iterable[str]) -> set[str]:
        """The codes of those whom one of the texts names."""
        folded = [text.casefold() for text in texts]
        return {
            code
            for code, subject in self.root.items()
            if any(name.casefold() in text for name in subject.names for text in folded)
        }

    def objection(self, session_id: str, today: date) -> str:
        """Why a session may not be used or handed on, or ""."""
        consent = self[session_id.partition("_")[0].removeprefix("sub-")].consent
        return consent.objection(today) if consent is not None else ""

    def __getitem__(self, code: str) -> Subject:
        """What is known of a subject: nothing, where nobody has said anything."""
        return self.root.get(code, Subject())


def published_consent(store: Store, code: str) -> dict[str, Any] | None:
    """What a session says of its subject's consent: what they agreed to; dates of it stay in the store."""
    consent = Subjects.of(store)[code].consent
    return None if consent is None else {"scope": list(consent.scope), "document": consent.document}


def take_up(store: Store, path: Path) -> list[str]:
    """Add what a `subject.toml` says to the store; gives the codes. Raises FormatError naming what is wrong in it.

    Of somebody who withdrew, and whose recordings were removed, only another consent is taken up: the file of before
    would undo that otherwise.
    """
    try:
        new, known = read_config(path, Subjects), Subjects.of(store)
    except ConfigError as error:
        raise FormatError(str(error)) from error
    for code, subject in new.root.items():
        on = removed.withdrew_on(store, code)
        if on is not None and (subject.consent is None or subject.consent.given < on):
            raise FormatError(
                f"{path}: {code} withdrew on {on}, and their recordings were removed; a consent given since then is "
                f"wanted, or no table [{code}]"
            )
    both = Subjects({**known.root, **new.root})
    durable.write_json(store.subjects_file, both.model_dump(mode="json", exclude_defaults=True))
    store.subjects_file.chmod(0o600)
    return list(new.root)
