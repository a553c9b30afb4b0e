"""Which area a channel sits in, by where it lies: the nearest centre, with the distance said.

    stated      its area is named, and the topology has it: that stands
    nearest     it has coordinates (columns x_mm, y_mm, z_mm of its stream): the nearest area's, at a stated distance
    learned     neither: the network learns which area it sits in; `learned_areas` says what it came to

Coordinates mean something only in the frame of the topology's positions, and no file says that they are: so whoever
wants them used asks for it. Sensors outside the head (EEG, MEG) are left to their lead field, behaviour sits nowhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from neuroloom.models.encoders import EVERYWHERE
from neuroloom.models.network import ModularNetwork
from neuroloom.models.placement import Placement
from neuroloom.models.ports import SENSORS
from neuroloom.models.topology import Position, Topology, TopologyError
from neuroloom.pipeline.runs.features import PortFeatures
from neuroloom.pipeline.runs.windowing import Windows

STATED, NEAREST, LEARNED = "stated", "nearest", "learned"


@dataclass(frozen=True, kw_only=True)
class PlacedChannel:
    """A channel and its area. area: "" where it is still to be learned.

    distance_mm: to the area's centre, None if not measured. position_mm: where the channel says that it lies. share:
    how much of what the channel sees comes from that area, 1 unless it was learned.
    """

    session: str
    port: str
    channel: str
    area: str
    how: str
    distance_mm: float | None = None
    position_mm: Position | None = None
    share: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def place_channels(
    data: Windows, topology: Topology, *, within_mm: float = 20.0
) -> tuple[Windows, tuple[PlacedChannel, ...]]:
    """The same windows with every electrode and unit that has coordinates in the nearest area, and what was decided.

    Raises ValueError naming a channel farther than `within_mm` from every centre, or where the topology has no
    positions: then the channels' frame is likely another one.
    """
    sessions, placed = {}, []
    for session, one in data.sessions.items():
        ports = dict(one.features.ports)
        for name, made in one.features.ports.items():
            if made.port.kind in (*EVERYWHERE, *SENSORS):
                continue
            found = _placed(session, made, topology, within_mm)
            ports[name] = replace(made, port=replace(made.port, areas=tuple(channel.area for channel in found)))
            placed += found
        sessions[session] = replace(one, features=replace(one.features, ports=ports))
    return replace(data, sessions=sessions), tuple(placed)


def learned_areas(network: ModularNetwork, data: Windows) -> tuple[PlacedChannel, ...]:
    """Where every electrode and unit among the targets sits in a network: as stated, or as training has found it."""
    found = []
    for session, one in data.sessions.items():
        for port in network.ports(session)[1]:
            parts = network.readout(session, port.name).modules()
            placement = next((part for part in parts if isinstance(part, Placement)), None)
            if placement is None or port.kind in (*EVERYWHERE, *SENSORS):
                continue
            weights_CA = placement().detach().cpu().numpy()
            places = one.features[port.name].positions_mm or (None,) * port.n_channels
            for c, channel in enumerate(port.channel_names):
                best, is_learned = int(weights_CA[c].argmax()), c in placement.learned
                at: Any = {"session": session, "port": port.name, "channel": channel, "position_mm": places[c]}
                how, share = LEARNED if is_learned else STATED, round(float(weights_CA[c, best]), 4)
                found.append(PlacedChannel(**at, area=network.areas[best], how=how, share=share))
    return tuple(found)


def distances(placed: Sequence[PlacedChannel], topology: Topology) -> tuple[PlacedChannel, ...]:
    """The same channels; those that lie nearest to the area they sit in are said to be placed so, with the distance."""
    found = []
    for channel in placed:
        if channel.how == STATED and channel.position_mm is not None:
            name, away_mm = nearest_area(topology, channel.position_mm)
            channel = replace(channel, how=NEAREST, distance_mm=away_mm) if name == channel.area else channel
        found.append(channel)
    return tuple(found)


def summary(placed: Sequence[PlacedChannel]) -> str:
    """One line: how many channels were placed in which way, and how far from their areas."""
    counts = Counter(channel.how for channel in placed)
    away = sorted(channel.distance_mm for channel in placed if channel.distance_mm is not None)
    span = f" ({away[0]:.0f} to {away[-1]:.0f} mm from the centre)" if away else ""
    return (
        f"{counts[STATED]} channels in the area that is stated, {counts[NEAREST]} in the nearest{span}, "
        f"{counts[LEARNED]} to be learned"
    )


def _placed(session: str, made: PortFeatures, topology: Topology, within_mm: float) -> list[PlacedChannel]:
    port, found = made.port, []
    areas = port.areas or ("",) * port.n_channels
    positions = made.positions_mm or (None,) * port.n_channels
    for channel, area, position_mm in zip(port.channel_names, areas, positions, strict=True):
        at: Any = {"session": session, "port": port.name, "channel": channel, "position_mm": position_mm}
        if area in topology.area_names:
            found.append(PlacedChannel(**at, area=area, how=STATED))
        elif position_mm is not None:
            name, away_mm = nearest_area(topology, position_mm)
            if away_mm > within_mm:
                raise ValueError(
                    f"{session}: {port.name}, channel {channel!r} at {[round(x) for x in position_mm]} mm lies "
                    f"{away_mm:.0f} mm from {name}, the nearest area of {topology.name!r}; at most {within_mm:g} mm "
                    "is wanted. Channels and areas must be in one frame"
                )
            found.append(PlacedChannel(**at, area=name, how=NEAREST, distance_mm=away_mm))
        else:
            found.append(PlacedChannel(**at, area="", how=LEARNED))
    return found


def nearest_area(topology: Topology, position_mm: Sequence[float]) -> tuple[str, float]:
    """The area whose centre is nearest, and how far away it is, mm. Raises TopologyError where none has a position."""
    centres = [(area.name, area.position_mm) for area in topology.areas if area.position_mm is not None]
    if not centres:
        raise TopologyError(f"{topology.name}: no area has a position; channels cannot be placed by their coordinates")
    away = [(float(np.linalg.norm(np.subtract(centre, position_mm))), name) for name, centre in centres]
    distance_mm, name = min(away)
    return name, distance_mm
