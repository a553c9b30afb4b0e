"""`neuroloom.toml` as a new store gets it: every setting with its default, explained, and what was asked for set.

Defaults are written as comments, so that a store goes with what neuroloom takes for best unless somebody decides
otherwise. The explanations are the docstrings of `settings.py` and `schedules.py`, where settings are explained.
"""

from __future__ import annotations

import inspect
import json
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from neuroloom.ingest import durable
from neuroloom.pipeline.config import ConfigError, fault, read_config
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store, StoreError

HEAD = "Settings of this neuroloom store. What is commented out is the default; take the # away to decide otherwise."
WIDTH = 100
UNSET = "# not set: "

Chosen = Mapping[str, Any]


def write_settings(store: Store, chosen: Chosen, *, replace: bool = False) -> None:
    """Write the store's settings file. chosen: section -> key -> value, as in the file.

    The store is made where it is none yet. Raises StoreError where there is a file already and it is not to be
    replaced, ConfigError for a wrong value: nothing is made then.
    """
    path = store.settings_file
    if path.exists() and not replace:
        raise StoreError(f"{path}: is there already; edit it, or replace it with --force")
    try:
        Settings.model_validate(dict(chosen))
    except ValidationError as error:
        raise ConfigError(fault(Settings, error)) from error
    store.create()
    durable.write_text(path, settings_text(chosen))
    read_config(path, Settings)


def parsed(assignments: Sequence[str]) -> dict[str, Any]:
    """`inbox.settle_s=30` and the like as sections; values as TOML has them, else text. Raises ConfigError."""
    found: dict[str, Any] = {}
    for one in assignments:
        name, equals, text = one.partition("=")
        *sections, key = name.strip().split(".")
        if not (equals and sections and key):
            raise ConfigError(f"{one!r}: SECTION.KEY=VALUE is wanted, as inbox.settle_s=30")
        try:
            value = tomllib.loads(f"value = {text.strip()}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        place = found
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{one!r}: {section} has a value already; one of both is wanted")
        place[key] = value
    return found


def settings_text(chosen: Chosen) -> str:
    """The file: a section per part of the settings, what was chosen set, all else as a comment with its default."""
    lines = [*_comment(HEAD), ""]
    for name, field in Settings.model_fields.items():
        lines += _section(name, _model(field), chosen.get(name, {}))
    return "\n".join(lines).rstrip() + "\n"


def _section(name: str, model: type[BaseModel], chosen: Chosen) -> Iterator[str]:
    yield f"[{name}]"
    yield from _comment(inspect.getdoc(model) or "")
    inner = {key: field for key, field in model.model_fields.items() if _is_model(field)}
    default = model()
    for key in model.model_fields:
        if key in inner:
            continue
        value = getattr(default, key)
        if key in chosen:
            yield f"{key} = {written(chosen[key])}"
        elif value is None:
            yield f"{UNSET}{key}"
        else:
            yield f"# {key} = {written(value)}"
    yield ""
    for key, field in inner.items():
        yield from _inner(f"{name}.{key}", _model(field), getattr(default, key), chosen.get(key, {}))


def _inner(name: str, model: type[BaseModel], default: BaseModel, chosen: Chosen) -> Iterator[str]:
    yield f"[{name}]"
    yield from _comment(inspect.getdoc(model) or "")
    for key in model.model_fields:
        value = getattr(default, key)
        if key in chosen:
            yield f"{key} = {written(chosen[key])}"
        else:
            yield f"{UNSET}{key}" if value in (None, "") else f"# {key} = {written(value)}"
    yield ""


def _model(field: FieldInfo) -> type[BaseModel]:
    assert isinstance(field.annotation, type)
    return field.annotation


def _is_model(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _comment(text: str) -> list[str]:
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    return [f"#   {line}" for part in paragraphs for line in textwrap.wrap(part, WIDTH)]


def written(value: object) -> str:
    """A value as TOML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return json.dumps(value, ensure_ascii=False)
