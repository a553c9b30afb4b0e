"""Runs SR Research's own library over one .edf file, in a process of its own, and hands on what it finds.

    python -m neuroloom.ingest.formats._eyelink_edf_child FILE      frames on stdout: a letter, a length, as many bytes

    J   JSON: {"block": ...} at each START, {"kind": "fixations", ...} and so on for events, {"error": ...};
        {"end": ...} at last, and whether a block is open still: the library ends without a word where a file is damaged
    S   samples of the block: float64 ms and float32 x, y, pupil per eye, row after row

Design rationale: that library is closed, prints to stdout, and may crash on a damaged file; neither may reach whoever
ingests a hundred recordings. It is reached through eyelinkio's bindings, item by item: eyelinkio's own `read_edf` gives
samples times of its own making (their number over the rate), which closes every gap between blocks.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

BATCH_SAMPLES = 20_000
SAMPLE, RECORDING = 200, 30
MESSAGE, BUTTON, INPUT = 24, 25, 28
EYE_EVENTS = {4: "blinks", 6: "saccades", 8: "fixations"}
GAZE_XY, HREF_XY, HALF_MS, HAS_RESOLUTION = 0x0400, 0x0800, 0x0002, 0x0200
MISSING = 1e8  # and beyond: what the library gives for what was lost
EYES = {1: ("LEFT",), 2: ("RIGHT",), 3: ("LEFT", "RIGHT")}


class Frames:
    """Writes frames."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def tell(self, what: dict[str, Any]) -> None:
        self._frame(b"J", json.dumps(what).encode())

    def samples(self, rows: np.ndarray[Any, Any]) -> None:
        self._frame(b"S", rows.tobytes())

    def _frame(self, letter: bytes, payload: bytes) -> None:
        self._out.write(letter + struct.pack("<I", len(payload)) + payload)


def row_dtype(n_eyes: int) -> np.dtype[Any]:
    """One sample."""
    return np.dtype([("ms", "<f8"), ("values", "<f4", (3 * n_eyes,))])


class Block:
    """The samples of one block, as they come."""

    def __init__(self, api: Any, recording: Any) -> None:
        self.eyes = EYES.get(int(recording.eye), ("LEFT",))
        flags = int(recording.sflags)
        self.fields, self.unit = (
            (("gx", "gy"), "px")
            if flags & GAZE_XY
            else (("hx", "hy"), "href")
            if flags & HREF_XY
            else (("px", "py"), "camera")
        )
        self.rate_hz = float(recording.sample_rate)
        self.pupil = ("area", "diameter")[int(recording.pupil_type) == 1]
        self._dtype = np.dtype(api.FSAMPLE)
        self._size = ctypes.sizeof(api.FSAMPLE)
        self._raw: list[bytes] = []

    def add(self, sample: Any) -> bool:
        """Keep a copy of the sample; True where there are enough to hand on."""
        self._raw.append(ctypes.string_at(ctypes.addressof(sample), self._size))
        return len(self._raw) >= BATCH_SAMPLES

    def taken(self) -> np.ndarray[Any, Any] | None:
        """The samples since the last time."""
        if not self._raw:
            return None
        found = np.frombuffer(b"".join(self._raw), dtype=self._dtype)
        self._raw = []
        rows = np.zeros(found.size, dtype=row_dtype(len(self.eyes)))
        rows["ms"] = found["time"] + np.where(found["flags"] & HALF_MS, 0.5, 0.0)
        for k, eye in enumerate(self.eyes):
            at = ("LEFT", "RIGHT").index(eye)
            for n, name in enumerate((*self.fields, "pa")):
                rows["values"][:, 3 * k + n] = found[name][:, at]
        rows["values"][rows["values"] >= MISSING - 1] = np.nan
        return rows


def run(api: Any, path: bytes, frames: Frames) -> None:
    """Everything in the file, in its order."""
    block: Block | None = None
    is_open = False
    for kind, data in items(api, path):
        if kind == SAMPLE and block is not None:
            if block.add(data.fs):
                hand_on(block, frames)
        elif kind == RECORDING and int(data.rec.state) != 1:
            is_open = False
        elif kind == RECORDING:
            is_open = True
            hand_on(block, frames)
            block = Block(api, data.rec)
            frames.tell({"block": list(block.eyes), "unit": block.unit, "rate_hz": block.rate_hz, "pupil": block.pupil})
        elif kind in EYE_EVENTS:
            frames.tell(eye_event(EYE_EVENTS[kind], data.fe, block))
        elif kind in (MESSAGE, BUTTON, INPUT):
            for said in moments(kind, data.fe):
                frames.tell(said)
    hand_on(block, frames)
    frames.tell({"end": True, "is_open": is_open})


def hand_on(block: Block | None, frames: Frames) -> None:
    rows = block.taken() if block is not None else None
    if rows is not None:
        frames.samples(rows)


def items(api: Any, path: bytes) -> Iterator[tuple[int, Any]]:
    """Kind and content of every item of the file."""
    code = ctypes.c_int(1)
    file = api.edf_open_file(path, 2, 1, 1, ctypes.byref(code))
    if not file or code.value != 0:
        raise ValueError(f"the library cannot open it (code {code.value})")
    try:
        while kind := int(api.edf_get_next_data(file)):
            yield kind, api.edf_get_float_data(file).contents
    finally:
        api.edf_close_file(file)


def eye_event(name: str, event: Any, block: Block | None) -> dict[str, Any]:
    """A blink, saccade or fixation; the amplitude from the resolution at both ends, as edf2asc computes it."""
    values: list[float] = []
    in_href = block is not None and block.unit == "href"
    if name == "fixations":
        xy = (event.havx, event.havy) if in_href else (event.gavx, event.gavy)
        values = [*xy, event.ava]
    elif name == "saccades":
        ends = (event.hstx, event.hsty, event.henx, event.heny) if in_href else (
            event.gstx, event.gsty, event.genx, event.geny
        )  # fmt: skip
        values = [*ends, amplitude_deg(event), event.pvel]
    known = [value if abs(value) < MISSING - 1 else None for value in values]
    return {"kind": name, "ms": [event.sttime, event.entime], "eye": int(event.eye), "values": known}


def amplitude_deg(event: Any) -> float:
    """Distance over pixels per degree; MISSING where the resolution was not recorded."""
    per_deg = ((event.supd_x + event.eupd_x) / 2, (event.supd_y + event.eupd_y) / 2)
    if not event.read & HAS_RESOLUTION or min(per_deg) <= 0 or max(event.genx, event.geny) >= MISSING - 1:
        return MISSING
    return float(np.hypot((event.gstx - event.genx) / per_deg[0], (event.gsty - event.geny) / per_deg[1]))


def moments(kind: int, event: Any) -> Iterator[dict[str, Any]]:
    """A message; what the input port shows; each button that changed."""
    ms = event.sttime
    if kind == MESSAGE and event.message:
        text = ctypes.string_at(ctypes.addressof(event.message.contents) + 2, max(int(event.message.contents.len), 0))
        yield {"kind": "messages", "ms": ms, "label": text.split(b"\0")[0].decode("utf-8", "replace").rstrip("\r\n")}
    elif kind == INPUT:
        yield {"kind": "input", "ms": ms, "label": str(int(event.input))}
    elif kind == BUTTON:
        changed, down = int(event.buttons) >> 8, int(event.buttons) & 255
        for k in range(8):
            if changed >> k & 1:
                yield {"kind": "input", "ms": ms, "label": f"button {k + 1} {down >> k & 1}"}


def main() -> int:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # where the library prints
    frames = Frames(out)
    try:
        from eyelinkio.edf import _edf2py as api

        run(api, os.fsencode(sys.argv[1]), frames)
    except ImportError:
        frames.tell({"error": "reading it needs eyelinkio (pip install eyelinkio)"})
    except (OSError, ValueError, AttributeError) as error:
        frames.tell({"error": " ".join(str(error).split()) or type(error).__name__})
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
