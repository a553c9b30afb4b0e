"""Which line of one device carries the pattern of which line of another, and the clock map that follows.

    lines of both devices (`pulse_lines.py`)
      -> barcodes with the same values: certain, whatever else there is
      -> every pair of lines whose intervals fit, the most promising first; also the ends of pulses that differ in width
      -> pairs whose codes agree, where intervals alone fit several lags
      -> pairs that fit several lags, with start times to tell which, where these are known well enough
    the pair with the most evidence
      -> the same pair with one line inverted, where both edges are known: what fits both edges wins

Evidence is pulses matched times the share of both lines that they are: many pulses count for more than few, and the
line of the pulses alone for more than one that mixes them with other events. Matched codes that disagree refute a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from neuroloom.ingest.timebase import ClockMap, CrossCheck, FloatArray
from neuroloom.pipeline.clocks._code_matching import agreement, lag_by_codes
from neuroloom.pipeline.clocks._pulse_matching import mutual_nearest, nearest, shares_pattern
from neuroloom.pipeline.clocks.alignment import (
    AlignmentError,
    AmbiguousError,
    PulseMatching,
    align_pulses,
    map_of_pairs,
    pulse_train,
)
from neuroloom.pipeline.clocks.pulse_lines import PulseLine

TOLD_BY_START_TIMES = ", start times told which"
PULSE_EDGES = "pulse edges"  # the kind of check that finding a map makes
CODES_AGREE = 0.5  # of the way from chance to certainty
VARIED_WIDTH_S = 0.002  # pulses that differ this much in width have another pattern at their ends than at their starts
CODE_BONUS = 1.5
FEWEST_BARCODES = 2


@dataclass(frozen=True, kw_only=True)
class StartPrior:
    """Where start times put the lag `target - source` at source time `at_s`, and how far off that may be."""

    offset_s: float
    uncertainty_s: float
    at_s: float

    def within(self, rule: PulseMatching) -> PulseMatching:
        """The rule, looking nowhere else."""
        return replace(rule, prior_offset_s=self.offset_s, prior_uncertainty_s=self.uncertainty_s, prior_at_s=self.at_s)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A map, the lines it rests on, and what is said of their codes."""

    map: ClockMap
    line: PulseLine
    other: PulseLine
    evidence: float
    said: str = ""


def shared_map(
    lines: Sequence[PulseLine],
    others: Sequence[PulseLine],
    *,
    source: str,
    target: str,
    rule: PulseMatching | None = None,
    prior: StartPrior | None = None,
) -> ClockMap:
    """The map from `source` to `target` with the most evidence over all pairs of lines.

    Raises AlignmentError, with the first reason met, where no pair proves one.
    """
    rule = rule or PulseMatching()
    search = _Search(source=source, target=target, rule=rule, prior=prior)
    best = search.by_barcodes(lines, others) or search.by_intervals(lines, others) or search.by_codes(lines, others)
    best = best or search.by_start_times()
    if best is None:
        raise AlignmentError(search.reason or f"{source} -> {target}: no pulse line is long enough to compare")
    best = search.right_way_up(best)
    made = best.map
    method = f"{made.method} ({best.line.name} = {best.other.name}{best.said})"
    return replace(made, method=method, checks=_edge_check(best, target))


def proves_together(found: ClockMap) -> bool:
    """True where what both recorded proves by itself that they ran side by side; start times had no say in it."""
    return found.n_matched > 0 and TOLD_BY_START_TIMES not in found.method


class _Search:
    """One search for a map; remembers why pairs failed, and which were ambiguous."""

    def __init__(self, *, source: str, target: str, rule: PulseMatching, prior: StartPrior | None) -> None:
        self.source, self.target, self.rule, self.prior = source, target, rule, prior
        self.reason = ""
        self.ambiguous: list[tuple[PulseLine, PulseLine]] = []

    def by_barcodes(self, lines: Sequence[PulseLine], others: Sequence[PulseLine]) -> Candidate | None:
        """Barcodes of both devices with the same values, if any."""
        pairs = [(a, b) for a in lines if a.is_barcode for b in others if b.is_barcode]
        found = [candidate for a, b in pairs if (candidate := self._same_barcodes(a, b)) is not None]
        return max(found, key=lambda candidate: candidate.map.n_matched, default=None)

    def _same_barcodes(self, a: PulseLine, b: PulseLine) -> Candidate | None:
        where = {code: k for k, code in enumerate(b.codes) if b.codes.count(code) == 1}
        pairs = [(k, where[code]) for k, code in enumerate(a.codes) if code in where and a.codes.count(code) == 1]
        if len(pairs) < FEWEST_BARCODES:
            return None
        i, j = np.array(pairs).T
        lags_s = b.times_s[j] - a.times_s[i]
        allowed_s = self.rule.max_drift_ppm * 1e-6 * np.ptp(a.times_s[i]) + 2 * self.rule.jitter_s
        fits = np.abs(lags_s - np.median(lags_s)) <= allowed_s  # a code that was misread
        order = np.argsort(a.times_s[i[fits]])
        i, j = i[fits][order], j[fits][order]
        if i.size < FEWEST_BARCODES or (np.diff(b.times_s[j]) <= 0).any():
            return None
        made = map_of_pairs(
            a.times_s[i], b.times_s[j], source=self.source, target=self.target, method=f"{i.size} barcodes"
        )
        return Candidate(map=made, line=a, other=b, evidence=float(i.size))

    def by_intervals(self, lines: Sequence[PulseLine], others: Sequence[PulseLine]) -> Candidate | None:
        """The pair of lines whose intervals fit with the most evidence."""
        best: Candidate | None = None
        limits = self.rule.search(0.0)
        for a, b in sorted(_pairs(lines, others), key=lambda pair: -_most_evidence(*pair)):
            if best is not None and _most_evidence(a, b) <= best.evidence:
                continue
            try:
                mine = pulse_train(a.times_s, self.source, self.rule)
                theirs = pulse_train(b.times_s, self.target, self.rule)
            except AlignmentError as error:
                self._note(error)
                continue
            fewer, more = sorted((mine, theirs), key=len)
            if not shares_pattern(fewer, more, limits):
                self.reason = self.reason or f"{self.source} -> {self.target}: no common pattern of intervals"
                continue
            found = self._tried(a, b, self.rule)
            if found is not None and (best is None or found.evidence > best.evidence):
                best = found
        return best

    def by_codes(self, lines: Sequence[PulseLine], others: Sequence[PulseLine]) -> Candidate | None:
        """The pair of lines that fits at the lag where their codes agree."""
        best: Candidate | None = None
        for a, b in ((a, b) for a in lines if a.codes for b in others if b.codes):
            if a.is_barcode or b.is_barcode or min(a.times_s.size, b.times_s.size) < self.rule.min_matched:
                continue
            lag = lag_by_codes(a.times_s, a.codes, b.times_s, b.codes, self.rule.search(float(a.times_s[0])))
            if lag is None:
                continue
            prior = StartPrior(offset_s=lag.lag_s, uncertainty_s=lag.width_s, at_s=lag.at_s)
            found = self._tried(a, b, prior.within(self.rule))
            if found is not None and (best is None or found.evidence > best.evidence):
                best = found
        return best

    def by_start_times(self) -> Candidate | None:
        """The first ambiguous pair that start times decide."""
        if self.prior is None:
            return None
        best: Candidate | None = None
        for a, b in list(self.ambiguous):
            found = self._tried(a, b, self.prior.within(self.rule))
            if found is not None and (best is None or found.evidence > best.evidence):
                best = replace(found, said=f"{TOLD_BY_START_TIMES}{found.said}")
        return best

    def _tried(self, a: PulseLine, b: PulseLine, rule: PulseMatching) -> Candidate | None:
        try:
            made = align_pulses(a.times_s, b.times_s, source=self.source, target=self.target, rule=rule)
        except AmbiguousError as error:
            self.ambiguous.append((a, b))
            self._note(error)
            return None
        except AlignmentError as error:
            self._note(error)
            return None
        said, bonus = "", 1.0
        codes = _codes_of_matched(made, a, b)
        if codes is not None:
            share, chance = codes
            if share < chance + CODES_AGREE * (1 - chance):
                self.reason = self.reason or (
                    f"{self.source} -> {self.target}: the intervals of {a.name} and {b.name} fit, but their codes "
                    f"disagree: {share:.0%} agree where chance gives {chance:.0%}"
                )
                return None
            said, bonus = f", {share:.0%} of codes agree", CODE_BONUS
        return Candidate(map=made, line=a, other=b, evidence=_evidence(made) * bonus, said=said)

    def right_way_up(self, best: Candidate) -> Candidate:
        """The same lines with the other edge, where that fits more edges of both; those of barcodes are right."""
        a, b = best.line, best.other
        if a.is_barcode or b.is_barcode or not (a.has_stops and b.has_stops):
            return best
        near = StartPrior(offset_s=best.map.offset_s, uncertainty_s=_widest_s(b), at_s=best.map.anchor_s)
        turned = self._tried(a, b.falling(), near.within(self.rule))
        if turned is None:
            return best
        upright_edges = best.map.n_matched + _edges_matched(best.map, a.stops_s, b.stops_s)
        turned_edges = turned.map.n_matched + _edges_matched(turned.map, a.stops_s, b.times_s)
        if turned_edges > 1.2 * upright_edges:
            return replace(turned, said=f", inverted{best.said}")
        return best

    def _note(self, error: AlignmentError) -> None:
        self.reason = self.reason or str(error)


def _pairs(lines: Sequence[PulseLine], others: Sequence[PulseLine]) -> Iterator[tuple[PulseLine, PulseLine]]:
    """Every line with every other one, and with the ends of its pulses where these differ in width."""
    for a in _edges(lines):
        for b in _edges(others):
            yield a, b


def _edges(lines: Sequence[PulseLine]) -> list[PulseLine]:
    plain = [line for line in lines if not line.is_barcode]
    return plain + [line.falling() for line in plain if line.has_stops and line.width_spread_s > VARIED_WIDTH_S]


def _evidence(found: ClockMap) -> float:
    return 2 * found.n_matched**2 / max(2 * found.n_matched + found.n_lost + found.n_extra, 1)


def _most_evidence(a: PulseLine, b: PulseLine) -> float:
    n, m = a.times_s.size, b.times_s.size
    return 2 * min(n, m) ** 2 / max(n + m, 1) * (CODE_BONUS if a.codes and b.codes else 1.0)


def _codes_of_matched(found: ClockMap, a: PulseLine, b: PulseLine) -> tuple[float, float] | None:
    """How far the codes of matched pulses agree, and chance; None where either line has none."""
    if not (a.codes and b.codes):
        return None
    i, j = mutual_nearest(found.seconds(a.times_s), b.times_s, _tolerance_s(found))
    return agreement([a.codes[k] for k in i], [b.codes[k] for k in j])


def _edges_matched(found: ClockMap, source_s: FloatArray, target_s: FloatArray) -> int:
    """How many of these moments fall on one of those under a map."""
    mine, theirs = source_s[np.isfinite(source_s)], target_s[np.isfinite(target_s)]
    if not (mine.size and theirs.size):
        return 0
    mapped = found.seconds(mine)
    return int((np.abs(theirs[nearest(mapped, theirs)] - mapped) <= _tolerance_s(found)).sum())


def _widest_s(line: PulseLine) -> float:
    """How far an inverted line may put its pulses off: by their width."""
    return float(np.nanquantile(line.stops_s - line.times_s, 0.95)) + 0.01


def _tolerance_s(found: ClockMap) -> float:
    return max(4e-3 * found.residual_ms, 1e-3)


def _edge_check(best: Candidate, target: str) -> tuple[CrossCheck, ...]:
    """Whether the pulses' other edge speaks for the map: an inverted line would put times off by a pulse's width."""
    line, other = best.line, best.other
    if line.is_barcode or other.is_barcode or not (line.has_stops or other.has_stops):
        return ()
    if line.has_stops and other.has_stops:
        n = _edges_matched(best.map, line.stops_s, other.stops_s)
        fits = n > 0.5 * best.map.n_matched
        words = f"The other edge of {n} of {best.map.n_matched} matched pulses fits as well."
        return (
            CrossCheck(kind=PULSE_EDGES, against=target, verdict="confirms" if fits else "cannot tell", words=words),
        )
    known, blind = (line, other) if line.has_stops else (other, line)
    width_ms = 1e3 * float(np.nanmedian(known.stops_s - known.times_s))
    if known.width_spread_s > VARIED_WIDTH_S or width_ms < best.map.residual_ms:
        return ()
    words = (
        f"{blind.name} holds one edge of pulses that last {width_ms:.1f} ms on {known.name}: were its line inverted, "
        "times would be that much off."
    )
    return (CrossCheck(kind=PULSE_EDGES, against=target, verdict="cannot tell", words=words),)
