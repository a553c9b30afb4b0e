"""Settings as rows of a table: nested names joined, lists and ports in short."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LONGEST_LIST = 20


def settings_rows(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Every setting with its whole name: `training.steps`, "2000"."""
    for key, value in config.items():
        name = f"{before}{key}"
        if key in ("inputs", "outputs") and isinstance(value, list):
            yield name, ", ".join(_port(port) for port in value if isinstance(port, Mapping)) or "none"
        elif isinstance(value, Mapping) and value:
            yield from settings_rows(value, f"{name}.")
        else:
            yield name, _setting(value)


def _port(port: Mapping[str, Any]) -> str:
    channels = port.get("channel_names")
    return f"{port.get('name')} ({len(channels) if isinstance(channels, list) else 0})"


def _setting(value: object) -> str:
    if isinstance(value, list):
        more = f", … ({len(value)} in all)" if len(value) > LONGEST_LIST else ""
        return ", ".join(_setting(part) for part in value[:LONGEST_LIST]) + more if value else "none"
    if isinstance(value, Mapping):
        return "none" if not value else ", ".join(f"{key}: {_setting(part)}" for key, part in value.items())
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value) or "none"
