"""What a viewer asks for while somebody looks: real samples of one stretch of time, and the very spikes in it.

A tile is one of the 2^zoom equal parts of a session's time, as `TILE` columns of least and greatest values.
Shapes: K columns, C channels, N units.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Units
from neuroloom.pipeline.review.pyramid import Display, displays
from neuroloom.pipeline.review.recording import MOST_CHANNELS
from neuroloom.pipeline.review.timeline import extent
from neuroloom.pipeline.store import Store, StoreError

TILE = 512
MOST_ZOOM = 40
MOST_SPIKES = 50_000
MOST_OPEN = 4  # sessions


class NotYetError(RuntimeError):
    """The display pyramid of a large session is still being built."""


@dataclass(eq=False)
class _Open:
    """One session that is looked at; `lock`: its file is read by one at a time."""

    session: Session
    of_s: tuple[float, float]
    shown: dict[str, Display] = field(default_factory=dict)
    building: threading.Thread | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Tiles:
    """The sessions of a store that are being looked at; those looked at last stay open."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._open: OrderedDict[Path, _Open] = OrderedDict()
        self._lock = threading.Lock()

    def tile(self, session_id: str, version: str, stream: str, zoom: int, index: int, rows: Sequence[int]) -> bytes:
        """(K, 2, C) as little-endian 32-bit floats, in the stream's unit; NaN where nothing was recorded.

        rows: columns of the signal. Raises StoreError where there is no such version, ValueError for a part that is
        not there, NotYetError while the pyramid is being built.
        """
        if not (0 <= zoom <= MOST_ZOOM and 0 <= index < 2**zoom):
            raise ValueError(f"tile {index} of zoom {zoom}: there is none")
        one = self._of(session_id, version)
        with one.lock:
            shown = self._shown(one)
            if stream not in shown:
                raise ValueError(f"{session_id} has no signal {stream!r}; it has {', '.join(shown) or 'none'}")
            n_channels = len(shown[stream].signal.channel_names)
            if not rows or len(rows) > MOST_CHANNELS or not all(0 <= row < n_channels for row in rows):
                raise ValueError(f"{stream}: up to {MOST_CHANNELS} of its {n_channels} channels are wanted")
            start_s, stop_s = one.of_s
            width_s = (stop_s - start_s) / 2**zoom
            from_s = start_s + index * width_s
            values = shown[stream].window(from_s, from_s + width_s, TILE, np.array(rows, dtype=np.int64))
        return values.astype("<f4").tobytes()

    def spikes(self, session_id: str, version: str, stream: str, start_s: float, stop_s: float) -> list[list[float]]:
        """Spike times of every unit, seconds, N lists. Raises ValueError where there are more than `MOST_SPIKES`."""
        one = self._of(session_id, version)
        with one.lock:
            units = next((s for s in one.session.streams if isinstance(s, Units) and s.name == stream), None)
            if units is None:
                raise ValueError(f"{session_id} has no units {stream!r}")
            part = units.between(start_s, stop_s)
        if sum(times_s.size for times_s in part.spike_times_s) > MOST_SPIKES:
            raise ValueError(f"more than {MOST_SPIKES} spikes; a shorter stretch is wanted")
        return [np.round(times_s, 5).tolist() for times_s in part.spike_times_s]

    def close(self) -> None:
        """Let go of every file."""
        with self._lock:
            for one in self._open.values():
                one.session.close()
            self._open.clear()

    def _of(self, session_id: str, version: str) -> _Open:
        folder = next((f for f in self.store.versions(session_id) if f.name == version), None)
        if folder is None:
            raise StoreError(f"{session_id}: has no version {version!r}")
        with self._lock:
            if folder not in self._open:
                opened = Session.open(folder)
                self._open[folder] = _Open(session=opened, of_s=extent(opened))
            self._open.move_to_end(folder)
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)[1].session.close()
            return self._open[folder]

    def _shown(self, one: _Open) -> dict[str, Display]:
        """The signals with their pyramids. A large session's are built aside, once."""
        if not one.shown:
            one.shown = displays(one.session, self.store.derived)
        if not one.shown:
            if one.building is None or not one.building.is_alive():
                whole = {"most_values": 1 << 62}
                arguments = (Session.open(one.session.path or Path()), self.store.derived)
                one.building = threading.Thread(target=displays, args=arguments, kwargs=whole, daemon=True)
                one.building.start()
            raise NotYetError(f"{one.session.id}: its display is being made; try again in a while")
        return one.shown
