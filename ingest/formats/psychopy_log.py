"""PsychoPy's .log: lines of `<seconds> <TAB>LEVEL <TAB>message`, on the clock that PsychoPy's logging runs on.

    5.3921 \tEXP \tNew trial (rep=0, index=0): OrderedDict([('word', 'red')])
    5.4012 \tEXP \ttext: autoDraw = True
    6.0210 \tDATA \tKeypress: left

    log           every message but key presses, labelled by its text; a message over several lines is one
    keypresses    key presses, labelled by the key: a scanner's pulses too, where they come as a key

In `task.toml` a code may end in "*", so `start = ["New trial*"]` begins a trial at each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._tables import is_text
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events

TITLE = "PsychoPy log"
MODALITY = "events"
KEEPS = "every message with its level, key presses apart"
TESTED_ON = "files written by this project to PsychoPy's logging"

MAX_BYTES = 1 << 28  # of text: its messages are held in memory
MAX_LABEL = 1000  # characters of a message that are kept
_LINE = re.compile(r"^\s*(-?\d+\.\d+)\s*\t\s*(DATA|EXP|INFO|WARNING|ERROR|CRITICAL|DEBUG)\s*\t(.*)$")
_KEY = re.compile(r"^Keypress: (.+)$")


@dataclass
class _Message:
    time_s: float
    level: str
    text: str


def sniff(path: Path, head: bytes) -> bool:
    """True where the first lines, as many as have a time, are PsychoPy's."""
    if not is_text(head):
        return False
    lines = head.decode("utf-8-sig", "replace").splitlines()[:20]
    return len(lines) > 0 and sum(bool(_LINE.match(line)) for line in lines) * 2 > len(lines)


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording. Raises FormatError for a file that is too large."""
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(f"{path}: {path.stat().st_size} bytes of text; at most {MAX_BYTES} are read, split it")
    messages = sorted(_messages(path), key=lambda message: message.time_s)
    keys = [(m.time_s, key[1].strip()) for m in messages if (key := _KEY.match(m.text)) and m.level == "DATA"]
    others = [m for m in messages if not (_KEY.match(m.text) and m.level == "DATA")]
    streams = []
    if others:
        streams.append(
            Events(
                name="log",
                times_s=np.array([m.time_s for m in others]),
                labels=tuple(m.text for m in others),
                table={"level": tuple(m.level for m in others)},
            )
        )
    if keys:
        times_s = np.array([time_s for time_s, _ in keys])
        streams.append(Events(name="keypresses", times_s=times_s, labels=tuple(key for _, key in keys)))
    if not streams:
        raise FormatError(f"{path}: no message with a time; some are wanted")
    return [Recording(clock=path.stem, format="psychopy_log", files=(path,), streams=tuple(streams))]


def _messages(path: Path) -> Iterator[_Message]:
    """Each with the lines that go on with it. A line before the first message is nobody's."""
    message: _Message | None = None
    with path.open("r", encoding="utf-8-sig", errors="replace", newline=None) as file:
        for line in file:
            said = _LINE.match(line.rstrip("\n"))
            if said:
                if message is not None:
                    yield message
                message = _Message(float(said[1]), said[2], said[3].strip()[:MAX_LABEL])
            elif message is not None and line.strip() and len(message.text) < MAX_LABEL:
                message.text = f"{message.text} {line.strip()}"[:MAX_LABEL]
    if message is not None:
        yield message
