"""What settings of a teacher must be: said before it trains for minutes."""

from __future__ import annotations

from typing import Any


def at_least(settings: Any, **least: float) -> None:
    """Raises ValueError for a setting that is less than what is given here for it, or no number."""
    for name, lowest in least.items():
        found = getattr(settings, name)
        if not found >= lowest:
            raise ValueError(f"{name} = {found}; {lowest:g} or more is wanted")


def between(settings: Any, **bounds: tuple[float, float]) -> None:
    """Raises ValueError for a setting that is outside its bounds."""
    for name, (low, high) in bounds.items():
        found = getattr(settings, name)
        if not low <= found <= high:
            raise ValueError(f"{name} = {found}; {low:g} to {high:g} is wanted")


def divides(settings: Any) -> None:
    """Raises ValueError where a transformer's width cannot be shared out among its heads."""
    if settings.width % settings.heads:
        raise ValueError(f"width = {settings.width}; a multiple of heads = {settings.heads} is wanted")
