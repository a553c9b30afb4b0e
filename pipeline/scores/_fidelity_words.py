"""What a comparison found, in sentences: where a copy departs, by how much, and what could have been missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from neuroloom.pipeline.scores._fidelity_measures import FEWEST_ANSWERS, FEWEST_PIECES, LEAST, Measure, PortFidelity
from neuroloom.pipeline.scores.damage import Damage

_SAID: Mapping[str, tuple[str, str]] = {  # too large, too small
    "chance given to the answer": (
        "is right more often than its certainty says: it gave the person's answers a chance of {copy:.2f}, where an "
        "exact copy as certain would give {person:.2f}",
        "is right less often than its certainty says: it gave the person's answers a chance of {copy:.2f}, where an "
        "exact copy as certain would give {person:.2f}",
    ),
    "surprise": (
        "is surprised by the person: {copy:.2f} bits per answer, where it expects {person:.2f}",
        "is less surprised by the person than it expects: {copy:.2f} bits per answer instead of {person:.2f}",
    ),
    "certainty": (
        "is too certain: its log odds are {copy:.2f} times what they should be",
        "is not certain enough: its log odds are {copy:.2f} times what they should be",
    ),
    "calibration error": (
        "its chances are off by {copy:.3f} on average, where drawing alone would make {person:.3f}",
        "its chances are off by {copy:.3f} on average, less than drawing would make ({person:.3f})",
    ),
    "same answer": (
        "repeats itself too much: it answers an event as it did before in {copy:.0%} of cases, the person in "
        "{person:.0%}",
        "is less consistent: it answers an event as it did before in {copy:.0%} of cases, the person in "
        "{person:.0%}",
    ),
    "share": (
        "gives {what} too often: {copy:.0%} of answers, the person {person:.0%}",
        "gives {what} too rarely: {copy:.0%} of answers, the person {person:.0%}",
    ),
    "repeats its last": (
        "stays with its last answer too often: {copy:.0%}, the person {person:.0%}",
        "leaves its last answer too often: it stays with it in {copy:.0%} of cases, the person in {person:.0%}",
    ),
    "surprise gained": (
        "drifts away: {copy:.2f} bits per answer worse at the end than at the beginning",
        "comes closer: {gain:.2f} bits per answer better at the end than at the beginning",
    ),
    "error over the expected one, squared": (
        "is further off than it expects: squared errors are {copy:.2f} times as large",
        "is closer than it expects: squared errors are {copy:.2f} times as large",
    ),
    "falls into": (
        "is not certain enough: {copy:.0%} of what the person does {name}",
        "is too certain: {copy:.0%} of what the person does {name}",
    ),
    "what repeats": (
        "repeats itself too much: repeats of an event have {copy:.0%} in common, the person's {person:.0%}",
        "is less consistent: repeats of an event have {copy:.0%} in common, the person's {person:.0%}",
    ),
    "the person's move": (
        "is timid: the person moves {copy:.2f} where it expects 1",
        "exaggerates: the person moves {copy:.2f} where it expects 1",
    ),
    "bias": ("is {copy:.2f} SD too large in {what}", "is {gain:.2f} SD too small in {what}"),
    "error over the expected one, gained": (
        "drifts away: squared errors over the expected ones grow by {copy:.2f} from beginning to end",
        "comes closer: squared errors over the expected ones fall by {gain:.2f} from beginning to end",
    ),
}  # fmt: skip


def departure_words(measure: Measure) -> str:
    """A departure as a part of a sentence, with the interval of the difference."""
    both = max((key for key in _SAID if measure.name.startswith(key)), key=len)
    words = _SAID[both][0 if measure.departure > 0 else 1]
    said = words.format(
        copy=measure.copy, person=measure.person, what=measure.what, name=measure.name, gain=-measure.copy
    )
    return f"{said} (difference {measure.departure:+.3f}, {measure.low:+.3f} to {measure.high:+.3f})"


def port_words(port: PortFidelity) -> Iterator[str]:
    """The comparison of one port, one sentence, and one per departure, the surest first."""
    where = f"{port.port} of {port.session}"
    n_tested = sum(measure.tested for measure in port.measures)
    if not port.can_tell:
        yield (
            f"{where}: too few {_acts(port)} to tell: {port.n_acts} in {port.n_pieces} pieces of held-out time; at "
            f"least {FEWEST_ANSWERS} in {FEWEST_PIECES} are wanted."
        )
        return
    over = f"{n_tested} comparisons over {port.n_acts} {_acts(port)} in {port.n_pieces} pieces of held-out time"
    if not port.departures:
        yield f"{where}: no departure was found in {over}{_missed(port)}."
        return
    yield f"{where}: departs from its person in {len(port.departures)} of {over}."
    for measure in sorted(port.departures, key=lambda m: -abs(m.departure) / max(m.error, LEAST)):
        yield f"{where}: it {departure_words(measure)}."


def _acts(port: PortFidelity) -> str:
    return "answers" if port.kind in ("choice", "tokens") else "bins"


def _missed(port: PortFidelity) -> str:
    """What could have been there unseen, from the measure that says most."""
    for name, words in (("certainty", "a certainty off by less than {:.0%}"), ("bias", "a bias below {:.2f} SD")):
        found = [m.least for m in port.measures if m.name.startswith(name) and np.isfinite(m.least)]
        if found:
            return "; " + words.format(min(found)) + " would have gone unnoticed"
    return ""


def damage_words(rows: Sequence[Damage]) -> Iterator[str]:
    """What every port of behaviour misses most, and how much noise it stands."""
    for session, port in dict.fromkeys((row.session, row.port) for row in rows):
        own = [row for row in rows if (row.session, row.port) == (session, port)]
        lesions = [row for row in own if row.kind != "noise" and row.low > 0]
        if lesions:
            worst = max(lesions, key=lambda row: row.lost)
            bits = tuple(v / np.log(2) for v in (worst.lost, worst.low, worst.high))
            yield (
                f"{port} of {session}: of all areas and pathways it misses {worst.what} most: {bits[0]:.3f} "
                f"({bits[1]:.3f} to {bits[2]:.3f}) bits per act are lost without it."
            )
        else:
            yield f"{port} of {session}: no single area or pathway is missed."
        levels = {float(row.what): row.kept for row in own if row.kind == "noise" and np.isfinite(row.kept)}
        fatal = [level for level, kept in levels.items() if kept < 0.5]
        if levels:
            level, much = (min(fatal), "more") if fatal else (max(levels), "less")
            yield (
                f"{port} of {session}: noise of {level:g} times a unit's own spread takes {much} than half of what it "
                "knows."
            )
