"""What Neuralynx notes besides samples: events and digital lines, sorted spikes, where an animal was seen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats._digital import rising
from neuroloom.ingest.formats._row_runs import runs, segments
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.streams import Events, Signal, Stream, Units

_PORT = re.compile(r"board (\d+) port (\d+)", re.I)
_TTL = re.compile(r"\bTTL\b", re.I)


def events_of(path: Path, rows: NDArray[Any], zero_us: int) -> list[Stream]:
    """The texts, and per input port the lines that went up.

    Records may lie out of order by some µs (the real folder's do): both come in order of time. A port is noted when it
    changes, so what its first record holds has just gone up.
    """
    rows = rows[np.argsort(rows["time_us"], kind="stable")]
    times_s = _seconds(rows["time_us"], zero_us)
    texts = [raw.partition(b"\x00")[0].decode("latin-1").strip() for raw in rows["text"].tolist()]
    streams: list[Stream] = [
        Events(
            name="events" if path.stem.lower() == "events" else path.stem,
            times_s=times_s,
            labels=tuple(texts),
            table={"id": tuple(rows["id"].tolist()), "word": tuple(rows["word"].tolist())},
        )
    ]
    ports = [_port(text) for text in texts]
    for port in dict.fromkeys(port for port in ports if port is not None):
        here = np.array([p == port for p in ports])
        ttl = rising(times_s[here], rows["word"][here], name=f"ttl {port}".strip(), before=0)
        streams += [ttl] if ttl.labels else []
    return streams


def _port(text: str) -> str | None:
    """Which input port an event is of, "" where the device has but one, None for an event of another kind."""
    if (match := _PORT.search(text)) is not None:
        return f"board {match[1]} port {match[2]}"
    return "" if _TTL.search(text) else None


def units_of(entity: str, rows: NDArray[Any], zero_us: int) -> Units:
    """One unit per cell; cell 0 is what was sorted to none."""
    times_s = _seconds(rows["time_us"], zero_us)
    cells = np.unique(rows["cell"]).tolist()
    return Units(
        name=f"{entity} spikes",
        unit_names=tuple(f"{entity}#{cell}" for cell in cells),
        spike_times_s=tuple(np.sort(times_s[rows["cell"] == cell]) for cell in cells),
        table={
            "channel": (entity,) * len(cells),
            "kind": tuple("sorted" if cell else "unsorted" for cell in cells),
        },
    )


def position_of(path: Path, rows: NDArray[Any], zero_us: int, repairs: list[str]) -> list[Stream]:
    """Where the tracker saw its target, in camera pixels; it writes 0, 0 where it saw none."""
    times_s = _seconds(rows["time_us"], zero_us)
    if (np.diff(times_s) <= 0).any():
        repairs.append(Defect(f"{path.name}: frames go back in time or repeat: left out"))
        return []
    fields = ("x", "y", "angle")
    samples = np.stack([rows[name] for name in fields], axis=1)
    return [
        Signal(
            name=f"{path.stem} position",
            modality="position",
            segments=segments(samples[:, :2], runs(times_s)),
            channel_names=("x", "y"),
            unit="px",
            gain=np.ones(2),
            offset=np.zeros(2),
        ),
        Signal(
            name=f"{path.stem} angle",
            modality="behaviour",
            segments=segments(samples[:, 2:], runs(times_s)),
            channel_names=("angle",),
            unit="deg",
            gain=np.ones(1),
            offset=np.zeros(1),
        ),
    ]


def _seconds(time_us: NDArray[Any], zero_us: int) -> NDArray[np.float64]:
    return (time_us.astype(np.int64) - zero_us) / 1e6
