"""What a check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found about one stream.

    values: numbers by name, units in the names. bad_channels: name -> reason. notes: one line each, for people.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    bad_channels: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
