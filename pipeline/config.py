"""TOML files checked once at the border: what is wrong is one line, with the setting and the one that was meant."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, ValidationInfo, field_validator

C = TypeVar("C", bound=BaseModel)
T = TypeVar("T")
LIST = "a list is wanted"
TABLE = "a table is wanted"
NUMBERS = (int, float, int | None, float | None)
IN_TOML = {
    "tuple_type": LIST, "list_type": LIST, "dict_type": TABLE, "model_type": TABLE, "dataclass_type": TABLE,
    "too_short": "a list that is not empty is wanted",
}  # fmt: skip


class ConfigError(ValueError):
    """A configuration file is not as wanted: the message names the file, the field, what was found and wanted."""


class Config(BaseModel):
    """Frozen; a key that is not known is an error instead of a silent typo, and so is a number that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_number(cls, given: Any, info: ValidationInfo) -> Any:
        """True is 1 otherwise, and `quarantine_days = true` would delete after a day."""
        if isinstance(given, bool) and cls.model_fields[str(info.field_name)].annotation in NUMBERS:
            raise ValueError("a number is wanted")
        return given


def read_config(path: Path, model: type[C], over: C | None = None) -> C:
    """A TOML file as `model`. over: what counts where the file says nothing, in place of the defaults.

    Raises ConfigError: one line with the file, the field, and what is wrong with it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or 'cannot be read'}; a TOML file is wanted") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not TOML ({error})") from error
    return parsed_config(text, model, str(path), over)


def parsed_config(text: str, model: type[C], where: str, over: C | None = None) -> C:
    """TOML as `model`. where: what a fault is said to be in. Raises ConfigError as `read_config` does."""
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(f"{where}: is not TOML ({error})") from error
    try:
        return model.model_validate({**(over.model_dump() if over is not None else {}), **found})
    except ValidationError as error:
        raise ConfigError(f"{where}: {fault(model, error)}") from error


def fitted(given: Mapping[str, Any], kind: type[T]) -> T:
    """A table as one of that kind, a dataclass or a model. Raises ValueError naming the key, what it is and why not."""
    if is_dataclass(kind):
        known = [field.name for field in fields(kind)]
        for key in given:
            if key not in known:
                raise ValueError(f"{key}: {no_such_setting(key, known)}")
    try:
        return TypeAdapter(kind).validate_python(dict(given))
    except ValidationError as error:
        raise ValueError(fault(kind, error)) from error


def as_written(given: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """The table itself, where it makes one of that kind. Raises ValueError as `fitted` does."""
    fitted(given, kind)
    return given


def fault(model: type[Any], error: ValidationError) -> str:
    """The first fault that was found: which setting, what is wrong with it, what it is; or what is known there."""
    errors = error.errors()
    # A key that is not known comes first: it may be what is missing, written wrongly.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    found = first["input"]
    said = IN_TOML.get(first["type"], str(first["msg"]).removeprefix("Value error, "))
    if not first["loc"]:  # of settings that do not fit together; all of them would be found
        return said
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where}: {_unknown(model, first['loc'])}"
    if first["type"] == "missing":
        return f"{where}: is missing"
    if said == LIST and isinstance(found, Mapping):
        return f"{where}: a list of tables is wanted, each under [[{where}]]"
    if isinstance(found, Mapping) or (isinstance(found, list) and any(isinstance(one, Mapping) for one in found)):
        return f"{where}: {said}"  # of whole tables the message says what is wrong
    return f"{where}: {said}, found {found!r}"


def _unknown(model: type[Any], where: Sequence[int | str]) -> str:
    """What is known at the place of a key that is not, and which of it was meant, where one looks like it."""
    table: Any = model
    for part in where[:-1]:
        if _is_model(table):
            table = table.model_fields[part].annotation if part in table.model_fields else None
        else:  # a list of tables, or tables by name
            table = next(filter(_is_model, get_args(table)), None)
    if not _is_model(table):
        return "no such setting"
    return no_such_setting(str(where[-1]), [field.alias or name for name, field in table.model_fields.items()])


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def no_such_setting(name: str, known: Sequence[str]) -> str:
    """`no such setting (rate?); known here: rate, steps`."""
    alike = difflib.get_close_matches(name, known, n=1)
    return f"no such setting{f' ({alike[0]}?)' if alike else ''}; known here: {', '.join(known)}"
