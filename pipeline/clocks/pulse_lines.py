"""Everything in a recording that another device may have seen too, as lines of moments.

    sync events, then other events   whole; one label each; one bit of a digital word each
    messages of an eye tracker       grouped by their text without its numbers, which become their codes
    analog channels                  their pulses, where they have two levels (`analog_pulses.py`)
    barcodes on any of these         their values as codes (`barcodes.py`)

A line that sees each pulse twice within milliseconds (a bouncing contact), or both its edges, is cleaned: one moment
per pulse, with its end where that is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import HIGH, Events, Signal
from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.clocks.analog_pulses import analog_pulses
from neuroloom.pipeline.clocks.barcodes import barcodes

FEWEST = 8  # moments: fewer prove nothing
MAX_LINES = 24  # per device, the most telling first
MAX_LABELS, MAX_GROUPS = 64, 16
BOUNCE_S = 0.010
BOUNCING_SHARE = 0.2
SAME_WIDTH_S, BOTH_EDGES_SHARE = 0.002, (0.35, 0.65)
WORD_BITS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class PulseLine:
    """Moments on one line: `times_s`, shape (P,), increasing, and per moment when the line fell, NaN where unknown.

    codes: what each moment said, where that differs from moment to moment. is_barcode: no two codes are alike.
    """

    name: str
    times_s: FloatArray
    stops_s: FloatArray
    codes: tuple[str, ...] = ()
    is_barcode: bool = False

    @property
    def has_stops(self) -> bool:
        """True where most pulses have an end."""
        return bool(self.times_s.size and np.isfinite(self.stops_s).mean() > 0.5)

    @property
    def width_spread_s(self) -> float:
        """How much pulses differ in width, robustly; 0 where widths are not known."""
        widths_s = (self.stops_s - self.times_s)[np.isfinite(self.stops_s)]
        return float(1.4826 * np.median(np.abs(widths_s - np.median(widths_s)))) if widths_s.size else 0.0

    def falling(self) -> PulseLine:
        """The ends of its pulses as moments, each lasting until the next pulse begins."""
        known = np.flatnonzero(np.isfinite(self.stops_s))
        following = np.append(self.times_s, np.nan)[known + 1]
        return replace(
            self,
            name=f"{self.name} falling",
            times_s=self.stops_s[known],
            stops_s=following,
            codes=tuple(self.codes[k] for k in known) if self.codes else (),
        )


def pulse_lines(recording: Recording) -> tuple[PulseLine, ...]:
    """The lines of a recording: barcodes, then those of sync streams, the fullest first. Reads analog channels."""
    events = [s for s in recording.streams if isinstance(s, Events) and s.times_s.size]
    sync = [line for stream in events if stream.modality == "sync" for line in _of_events(stream)]
    sync += [line for s in recording.streams if isinstance(s, Signal) for line in _of_signal(s)]
    other = [line for stream in events if stream.modality != "sync" for line in _of_events(stream)]
    coded = [line for plain in (*sync, *other) for line in _barcodes(plain)]
    ranked = sorted(sync, key=lambda line: -line.times_s.size) + sorted(other, key=lambda line: -line.times_s.size)
    full = [line for line in ranked if line.times_s.size >= FEWEST]
    return (*coded, *_distinct(full)[:MAX_LINES])


def code_of(label: str) -> str:
    """What two devices may agree on: the last number in a label ("S  1" and "TRIGGER 1" are 1), else its text."""
    numbers = re.findall(r"\d+", label)
    return str(int(numbers[-1])) if numbers else label.strip().casefold()


def _of_events(stream: Events) -> Iterator[PulseLine]:
    widths_s = np.array(stream.table.get(HIGH, (np.nan,) * stream.times_s.size), dtype=np.float64)
    labels = sorted(set(stream.labels))
    times_s, stops_s = stream.times_s, stream.times_s + widths_s
    several = len(labels) > 1
    yield cleaned_line(stream.name, times_s, stops_s, tuple(map(code_of, stream.labels)) if several else ())
    if several and len(labels) <= MAX_LABELS:
        for label in labels:
            mine = np.array([found == label for found in stream.labels])
            yield cleaned_line(f"{stream.name} {label}", times_s[mine], stops_s[mine])
    if several:
        yield from _bits(stream, stops_s)
        yield from _messages(stream)


def _bits(stream: Events, stops_s: FloatArray) -> Iterator[PulseLine]:
    """The bits of a digital word whose values are its labels: a pulse and a code may be raised together."""
    texts = {label: re.fullmatch(r"[A-Za-z]?\s*(\d+)", label) for label in set(stream.labels)}
    words = {label: int(found.group(1)) for label, found in texts.items() if found is not None}
    if len(words) < len(texts) or max(words.values()) >= 1 << WORD_BITS:
        return
    for bit in range(WORD_BITS):
        with_bit = [label for label, word in words.items() if word >> bit & 1]
        if len(with_bit) > 1:
            mine = np.array([label in with_bit for label in stream.labels])
            yield cleaned_line(f"{stream.name} bit {bit}", stream.times_s[mine], stops_s[mine])


def _messages(stream: Events) -> Iterator[PulseLine]:
    """Messages that are alike but for their numbers, which become their codes.

    A message that begins with a whole number is of that many ms earlier than it was sent (SR Research, "How can I take
    advantage of the timing offset in sending messages?", https://www.sr-research.com/support/thread-170.html).
    """
    texts = [re.fullmatch(r"(?:(-?\d+)\s+)?(\D.*)", label.strip(), re.DOTALL) for label in stream.labels]
    groups: dict[str, list[tuple[float, str]]] = {}
    for time_s, found in zip(stream.times_s.tolist(), texts, strict=True):
        if found is not None and (found.group(1) or re.search(r"\d", found.group(2))):
            text = re.sub(r"\d+(?:\.\d+)?", "#", found.group(2)).strip()
            groups.setdefault(text, []).append((time_s - int(found.group(1) or 0) / 1e3, code_of(found.group(2))))
    several = {text: sorted(rows) for text, rows in groups.items() if len(rows) >= FEWEST}
    for text in sorted(several, key=lambda text: -len(several[text]))[:MAX_GROUPS]:
        times_s = np.array([time_s for time_s, _ in several[text]])
        codes = tuple(code for _, code in several[text])
        name = f"{stream.name} {text[:40]}"
        yield cleaned_line(name, times_s, np.full(times_s.size, np.nan), codes if len(set(codes)) > 1 else ())


def _of_signal(signal: Signal) -> Iterator[PulseLine]:
    for pulses in analog_pulses(signal):
        flicker = f", flickering at {pulses.flicker_hz:.0f} Hz" if pulses.flicker_hz else ""
        yield cleaned_line(f"{signal.name} {pulses.channel}{flicker}", pulses.rises_s, pulses.falls_s)


def _barcodes(line: PulseLine) -> Iterator[PulseLine]:
    """The barcodes that a line carries, upright or inverted."""
    if not line.has_stops or line.is_barcode:
        return
    for edges in (line, line.falling()):
        found = barcodes(edges.times_s, edges.stops_s)
        if found is not None:
            yield PulseLine(
                name=f"{edges.name} barcodes",
                times_s=found.times_s,
                stops_s=np.full(found.times_s.size, np.nan),
                codes=tuple(map(str, found.values)),
                is_barcode=True,
            )
            return


def cleaned_line(name: str, times_s: FloatArray, stops_s: FloatArray, codes: Sequence[str] = ()) -> PulseLine:
    """A line in order of time, cleaned of bounces and of second edges."""
    order = np.argsort(times_s, kind="stable")
    line = PulseLine(
        name=name, times_s=times_s[order], stops_s=stops_s[order], codes=tuple(codes[k] for k in order) if codes else ()
    )
    second = _bounces(line)
    what = "bounces merged"
    if second is None and not line.codes and not line.has_stops:
        second, what = _second_edges(line.times_s), "both edges as one"
    if second is None or not second.any():
        return line
    firsts = np.flatnonzero(~second)
    lasts = np.append(firsts[1:] - 1, times_s.size - 1)
    ends_s = np.where(np.isfinite(line.stops_s[lasts]), line.stops_s[lasts], line.times_s[lasts])
    merged = np.where(lasts > firsts, ends_s, line.stops_s[firsts])
    return PulseLine(
        name=f"{name} ({what})",
        times_s=line.times_s[firsts],
        stops_s=merged,
        codes=tuple(line.codes[k] for k in firsts) if line.codes else (),
    )


def _bounces(line: PulseLine) -> NDArray[np.bool_] | None:
    """Which moments are echoes of the one before, within milliseconds; None where the line does not do that."""
    gaps_s = np.diff(line.times_s)
    short = gaps_s < BOUNCE_S
    if line.codes:
        short &= np.array([a == b for a, b in pairwise(line.codes)], dtype=np.bool_)
    if short.size < FEWEST or short.mean() < BOUNCING_SHARE or short.all() or np.median(gaps_s[~short]) < 3 * BOUNCE_S:
        return None
    return np.concatenate([[False], short])


def _second_edges(times_s: FloatArray) -> NDArray[np.bool_] | None:
    """Which moments end a pulse that the one before began: half of all intervals have one width, the others vary."""
    gaps_s = np.diff(times_s)
    if gaps_s.size < 2 * FEWEST:
        return None
    ordered = np.sort(gaps_s)
    counts = np.searchsorted(ordered, ordered + SAME_WIDTH_S, side="right") - np.arange(ordered.size)
    width_s = float(ordered[counts.argmax()]) + SAME_WIDTH_S / 2
    same = np.abs(gaps_s - width_s) <= SAME_WIDTH_S
    others = gaps_s[~same]
    low, high = BOTH_EDGES_SHARE
    if not low <= same.mean() <= high or np.std(others) < 10 * SAME_WIDTH_S:
        return None
    second = np.zeros(times_s.size, dtype=np.bool_)
    for k in np.flatnonzero(same):
        second[k + 1] = not second[k]
    return second


def _distinct(lines: Sequence[PulseLine]) -> list[PulseLine]:
    """Without lines that hold just the moments of an earlier one."""
    kept: list[PulseLine] = []
    for line in lines:
        if not any(line.times_s.size == k.times_s.size and np.array_equal(line.times_s, k.times_s) for k in kept):
            kept.append(line)
    return kept
