"""What messages of an EyeLink tell of the screen: its pixels. Its size and distance are not in the file.

    DISPLAY_COORDS 0 0 1919 1079            (or "DISPLAY_COORDS = ...") first and last pixel
    GAZE_COORDS 0.00 0.00 1919.00 1079.00   the same, of each block

Some programs give the number of pixels instead of the last one's place; an odd number is taken for a place.
"""

from __future__ import annotations

import re

_COORDS = re.compile(r"(?:DISPLAY|GAZE)_COORDS\s*=?\s*0(?:\.0+)?\s+0(?:\.0+)?\s+(\d+)(?:\.0+)?\s+(\d+)(?:\.0+)?\s*$")


def screen_told(message: str) -> dict[str, float]:
    """Keys width_px and height_px where this message states them, else none; nor where it begins at another place."""
    said = _COORDS.match(message)
    if said is None:
        return {}
    width, height = (int(text) for text in said.groups())
    return {"width_px": float(width + width % 2), "height_px": float(height + height % 2)} if width and height else {}
