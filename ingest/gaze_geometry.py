"""Gaze on a screen in degrees of visual angle, where the lab says how large the screen is and how far away.

    degrees(gaze, Screen(width_px=1920, height_px=1080, width_cm=53, height_cm=30, distance_cm=60)) -> Signal "gaze deg"

0 is the middle of the screen; x grows to the right, y downwards as on the screen. Both are angles of their own seen
from an eye straight before the middle: `atan(place / distance)`. Nothing is computed before a slice is asked for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.eyes import eyes, unseen
from neuroloom.ingest.streams import Samples, Signal
from neuroloom.ingest.timebase import FloatArray

ON_SCREEN = ("screen", "DACS")  # Tobii calls the screen's its display area
TO_CM = {"cm": 1.0, "mm": 0.1, "m": 100.0}  # gaze on a screen measured from its upper left corner, as in pixels


@dataclass(frozen=True, kw_only=True)
class Screen:
    """A flat screen, upright before the subject. Raises ValueError for a side that is not above 0."""

    width_px: float
    height_px: float
    width_cm: float
    height_cm: float
    distance_cm: float

    def __post_init__(self) -> None:
        wrong = [name for name, value in asdict(self).items() if not (np.isfinite(value) and value > 0)]
        if wrong:
            raise ValueError(f"screen: {wrong[0]} is {getattr(self, wrong[0])}; a size above 0 is wanted")


def is_fit(gaze: Signal) -> bool:
    """Whether it is gaze on a screen: in pixels or in lengths, with the columns of an eye.

    Readers say in the provenance's "coordinates" where gaze is placed on something else: the image of a scene camera,
    or the medium that was shown (Tobii's MCS).
    """
    is_place = gaze.unit == "px" or gaze.unit in TO_CM
    return gaze.modality == "gaze" and is_place and bool(eyes(gaze)) and _is_on_screen(gaze)


def _is_on_screen(gaze: Signal) -> bool:
    return gaze.provenance.get("coordinates", "screen") in ON_SCREEN


def degrees(gaze: Signal, screen: Screen) -> Signal:
    """The same gaze in degrees, float32, NaN where no eye was seen; channels that are no place are left out.

    Raises ValueError where `is_fit` is False.
    """
    if not _is_on_screen(gaze):
        raise ValueError(f"{gaze.name}: lies in {gaze.provenance['coordinates']}; gaze on a screen is wanted")
    if not is_fit(gaze):
        raise ValueError(f"{gaze.name}: is in {gaze.unit}; gaze in px, cm, mm or m, with channels x and y, is wanted")
    columns = [column for eye in eyes(gaze).values() for column in eye]
    across = [column in [eye.x for eye in eyes(gaze).values()] for column in columns]
    places = gaze.channels(tuple(gaze.channel_names[column] for column in columns))
    per_cm = np.where(across, screen.width_cm / screen.width_px, screen.height_cm / screen.height_px)
    to_cm = per_cm if gaze.unit == "px" else np.full(len(columns), TO_CM[gaze.unit])
    middle_cm = np.where(across, screen.width_cm, screen.height_cm) / 2
    return replace(
        places,
        name=f"{gaze.name} deg",
        unit="deg",
        gain=np.ones(len(columns)),
        offset=np.zeros(len(columns)),
        segments=tuple(
            replace(s, samples=_Degrees(s.samples, places, to_cm, middle_cm, screen.distance_cm))
            for s in places.segments
        ),
        provenance={"made_by": "gaze_geometry", "source": gaze.name, "replaces": gaze.name, **asdict(screen)},
    )


@dataclass(frozen=True, eq=False)
class _Degrees:
    """Lazy angles (T, C) of lazy places in the unit of `gaze`."""

    samples: Samples
    gaze: Signal
    to_cm: FloatArray  # (C,)
    middle_cm: FloatArray  # (C,)
    distance_cm: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.samples.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    def __getitem__(self, samples: slice, /) -> NDArray[Any]:
        values = self.gaze.in_unit(self.samples[samples])
        values[unseen(self.gaze, values)] = np.nan
        angles = np.degrees(np.arctan((values * self.to_cm - self.middle_cm) / self.distance_cm))
        return np.asarray(angles, dtype=np.float32)
