"""report.tsv of a validation of head-worn trackers (GlassesTestCodeData and the programs that came from it).

    frame_idx  timestamp  confidence  errorDeg  dxCm  dyCm  gaze_ts  gaze_x  gaze_y

The file has two clocks: `gaze_ts` is the tracker's, in milliseconds, one value per sample; `timestamp` is that of the
scene video, in seconds, and repeats for all samples of a frame. Samples are on the tracker's; the video's is kept as
the signal "video time", which is the relation between the two.

    gaze, pixels of the scene video     confidence     target error: angle (deg) and distance (cm) to the fixated target
"""

from __future__ import annotations

from pathlib import Path

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._column_names import SECONDS
from neuroloom.ingest.formats._fixed_names import named_by
from neuroloom.ingest.formats._sampled import Group, SampleRows, signals
from neuroloom.ingest.formats._tables import is_text, numbers, whole
from neuroloom.ingest.formats._vendor_tables import is_of, vendor_table
from neuroloom.ingest.recording import Recording

TITLE = "report of head-worn trackers (report.tsv)"
MODALITY = "gaze"
KEEPS = "gaze, confidence, video time and frame per sample, error to the target"
TESTED_ON = "real files of GlassesTestCodeData (Tobii and Pupil Labs)"

MAX_BYTES = 1 << 29  # of text: its samples are held in memory
# name of the signal: modality, unit, channels, columns
_SIGNALS = {
    "gaze": ("gaze", "px", ("x", "y"), ("gaze_x", "gaze_y")),
    "confidence": ("aux", "a.u.", ("confidence",), ("confidence",)),
    "target error": ("aux", "deg", ("angle",), ("errorDeg",)),
    "target distance": ("aux", "cm", ("x", "y"), ("dxCm", "dyCm")),
    "video frame": ("aux", "a.u.", ("frame",), ("frame_idx",)),
}
_VIDEO = "timestamp"


def sniff(path: Path, head: bytes) -> bool:
    """True for a table with these columns."""
    return is_text(head) and is_of(path, "glasses_report")


def files(path: Path) -> tuple[Path, ...]:
    """The table itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording. Raises FormatError, naming the line, where a row is damaged."""
    found = vendor_table(path)
    if found is None:
        raise FormatError(f"{path}: no line names the columns of the report above rows of as many cells; one is wanted")
    table = whole(found[1], max_bytes=MAX_BYTES)[0]
    there = {name: spec for name, spec in _SIGNALS.items() if set(spec[3]) <= set(table.names)}
    asked = [table.column(name) for spec in there.values() for name in spec[3]]
    samples, video = SampleRows(len(asked)), SampleRows(1, exact=True)
    for values, _, _ in numbers(table, [table.column("gaze_ts"), table.column(_VIDEO), *asked]):
        times_s = values[:, 0] * SECONDS["ms"]
        samples.extend(times_s, values[:, 2:])
        video.extend(times_s, values[:, 1:2])
    repairs: list[str] = []
    groups, first = [], 0
    for name, (modality, unit, channels, _) in there.items():
        columns = tuple(range(first, first + len(channels)))
        where = {"coordinates": "image of the scene camera"} if modality == "gaze" else {}
        groups.append(
            Group(name=name, modality=modality, unit=unit, channels=channels, columns=columns, provenance=where)
        )
        first += len(channels)
    clock = Group(name="video time", modality="aux", unit="s", channels=("video_time",), columns=(0,))
    streams = [
        *signals(groups, *samples.in_order(path, "samples", repairs)),
        *signals([clock], *video.in_order(path, "video times", [])),
    ]
    return [
        Recording(
            clock=named_by(path),
            format="glasses_report",
            files=(path,),
            streams=tuple(streams),
            repairs=tuple(repairs),
        )
    ]
