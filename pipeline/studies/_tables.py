"""Settings that several studies have: whole tables that stay as they were written, checked where they are read.

Design rationale: a table that is kept as it was written, not filled up with defaults, decides the name of a cell; a
setting that is added later with a default leaves cells that were made before it where they are.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from neuroloom.pipeline.config import as_written
from neuroloom.pipeline.studies._lessons import teacher_settings

Table = dict[str, Any]
Number = Annotated[int, Field(ge=1)]
Strengths = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]
Numbers = Annotated[tuple[Number, ...], Field(min_length=1)]


def one_of(kind: type[Any]) -> AfterValidator:
    """Checks that a table makes one of that kind."""
    return AfterValidator(partial(as_written, kind=kind))


def _checked(given: Table, *, kind: str = "", real: bool = False) -> Table:
    teacher_settings({**given, **({"kind": kind} if kind else {})}, real=real)
    return given


def for_teacher(kind: str) -> AfterValidator:
    """Checks that a table has settings of that teacher."""
    return AfterValidator(partial(_checked, kind=kind))


ModelTeacher = Annotated[Table, AfterValidator(_checked)]  # a kind with its settings
AnyTeacher = Annotated[Table, AfterValidator(partial(_checked, real=True))]  # that, or a session of real recordings
