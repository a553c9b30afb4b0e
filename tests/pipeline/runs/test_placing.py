"""Channels find their areas by their coordinates, and say how far away these are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from neuroloom.models import Area, Topology, TopologyError
from neuroloom.pipeline.runs.placing import place_channels, summary
from neuroloom.pipeline.runs.windowing import Windows, windows

TOPOLOGY = Topology(
    name="line",
    areas=tuple(Area(name=n, position_mm=(x, 0.0, 0.0)) for n, x in (("V1", 0.0), ("PPC", 40.0), ("M1", 80.0))),
)


def data_with(simulated: Callable[..., Any], table: dict[str, tuple[Any, ...]], folder: Path | None = None) -> Windows:
    session = simulated(duration_s=40, n_units=4).session
    units = replace(session["units"], table=table)
    return windows([replace(session, streams=(units, *session.streams[1:]))], folder=folder)


PLACES = {"x_mm": (1.0, 35.0, 75.0, float("nan")), "y_mm": (0.0, 0.0, 12.0, 0.0), "z_mm": (0.0,) * 4}


def test_each_channel_goes_to_the_nearest_area_at_its_distance(simulated: Callable[..., Any]) -> None:
    data, placed = place_channels(data_with(simulated, PLACES), TOPOLOGY)
    units = [channel for channel in placed if channel.port == "units"]
    assert [(c.area, c.how, c.distance_mm) for c in units] == [
        ("V1", "nearest", 1.0),
        ("PPC", "nearest", 5.0),
        ("M1", "nearest", 13.0),
        ("", "learned", None),
    ]
    (one,) = data.sessions.values()
    assert one.ports()[1][0].areas == ("V1", "PPC", "M1", "")
    assert summary(units) == (
        "0 channels in the area that is stated, 3 in the nearest (1 to 13 mm from the centre), 1 to be learned"
    )


def test_a_stated_area_stands_and_an_unknown_one_does_not(simulated: Callable[..., Any]) -> None:
    stated = data_with(simulated, {**PLACES, "area": ("M1", "V9", "", "V9")})
    units = [c for c in place_channels(stated, TOPOLOGY)[1] if c.port == "units"]
    assert [(c.area, c.how) for c in units] == [
        ("M1", "stated"),
        ("PPC", "nearest"),
        ("M1", "nearest"),
        ("", "learned"),
    ]


def test_a_channel_far_from_every_area_is_refused_by_name_and_distance(simulated: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"units, channel 'u2' at \[75, 12, 0\] mm lies 13 mm from M1"):
        place_channels(data_with(simulated, PLACES), TOPOLOGY, within_mm=10)


def test_a_topology_without_positions_is_told(simulated: Callable[..., Any]) -> None:
    with pytest.raises(TopologyError, match="no area has a position"):
        place_channels(data_with(simulated, PLACES), Topology(name="t", areas=(Area(name="V1"),)))


def test_sensors_and_behaviour_are_left_alone(simulated: Callable[..., Any]) -> None:
    assert {c.port for c in place_channels(data_with(simulated, PLACES), TOPOLOGY)[1]} == {"units"}


def test_coordinates_lie_in_the_cache_of_features(simulated: Callable[..., Any], tmp_path: Path) -> None:
    from neuroloom.pipeline.runs.feature_cache import build_features

    session = simulated(duration_s=40, n_units=4).session
    session = replace(session, streams=(replace(session["units"], table=PLACES), *session.streams[1:]))
    for _ in range(2):
        made = build_features(session, folder=tmp_path, digest="d")
        assert made["units"].positions_mm[:3] == ((1.0, 0.0, 0.0), (35.0, 0.0, 0.0), (75.0, 12.0, 0.0))
        assert made["eeg"].positions_mm == ()
