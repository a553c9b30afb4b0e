"""What a distillation study says: the exchange rate of every arm beside its controls, and the numbers behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuroloom.pipeline.studies import _charts
from neuroloom.pipeline.studies._cells import Key, Result
from neuroloom.pipeline.studies._exchange import Estimate, exchange_rate, gain_recovered, mean_of
from neuroloom.pipeline.studies._report import Plot, Report, Row, Table

if TYPE_CHECKING:
    from neuroloom.pipeline.studies.distill import Settings

CONTROLS = ("shuffled", "surrogate")
UPPER = ("soft", "full")
ROUNDING = 1e-6  # an arm that took behaviour alone is worth 1, less what floats lose
# The parts of the candidates of an arm that are reported as arms of their own.
PARTS: Mapping[str, Mapping[str, Callable[[Mapping[str, Any]], bool]]] = {
    "combined": {
        "electrodes": lambda c: c["soft"] == 0,
        "decoded": lambda c: c["strength"] == 0,
        "electrodes + decoded": lambda c: True,
    }
}

LEAST, LEAST_OF_TEXT = (6.0, 10.0), (2.5, 3.0)  # M that is wanted at 0 and at 10 dB


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm over its seeds. losses: of the candidate that held-out behaviour chose; chosen: how strong each was."""

    name: str
    n: int
    losses: tuple[float, ...]
    chosen: tuple[float, ...]
    cell: Mapping[str, Any]
    facts: Mapping[str, Any]


def metric_of(found: Sequence[tuple[Key, Result]]) -> str:
    """ "kl" where the teacher could be asked, else "nats"."""
    return "kl" if all("kl" in c for _, result in found for c in result["candidates"]) else "nats"


def arms_of(found: Sequence[tuple[Key, Result]], metric: str) -> list[Arm]:
    """Every arm with all its seeds, in the order of the cells."""
    grouped: dict[str, list[tuple[Key, Result]]] = {}
    for key, result in found:
        grouped.setdefault(str({k: v for k, v in key.items() if k != "seed"}), []).append((key, result))
    arms = []
    for group in grouped.values():
        key, first = group[0]
        for name, belongs in PARTS.get(key["arm"], {key["arm"]: lambda c: True}).items():
            best = [_chosen(result, belongs) for _, result in group]
            arms.append(
                Arm(
                    name=key.get("preset", name),
                    n=int(key["n"]),
                    losses=tuple(float(one[metric]) for one in best),
                    chosen=tuple(float(one["strength"]) for one in best),
                    cell=key,
                    facts=first["facts"],
                )
            )
    return arms


def _chosen(result: Result, belongs: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
    """The candidate with the best held-out behaviour; the test decides nothing."""
    allowed = [c for c in result["candidates"] if belongs(c)]
    best: Mapping[str, Any] = min(allowed, key=lambda c: float(c["validation_nats"]))
    return best


def report(settings: Settings, found: Sequence[tuple[Key, Result]], facts: Mapping[str, Any]) -> Report:
    """What came of it."""
    if settings.is_real:  # the names of cells say nothing of a session's electrodes
        found = [({name: key[name] for name in key if name not in ("k", "snr_db")}, result) for key, result in found]
    metric = metric_of(found)
    arms = arms_of(found, metric)
    hard = {arm.n: arm for arm in arms if arm.name == "hard"}
    curve = {n: arm.losses for n, arm in hard.items()}
    full = {arm.n: arm for arm in arms if arm.name == "full"}
    rows = [_row(arm, hard, full, curve, metric) for arm in arms if arm.name != "hard"]
    words = "divergence from the teacher, nats per answer" if metric == "kl" else "nats per answer"
    plots = _plots(rows, arms, metric, words)
    return Report(
        study="distill",
        title="What is one recorded sample worth?",
        sentence=_sentence(settings, rows),
        conditions={**facts, "seeds": settings.seeds, "test": words},
        plots=tuple(plot for plot in plots if plot.table.rows or not settings.is_real),
        tables=(_candidates(found),),
        remarks=_remarks(settings, rows),
        wanted=_wanted(settings, rows),
    )


def _row(arm: Arm, hard: Mapping[int, Arm], full: Mapping[int, Arm], curve: Mapping[int, Any], metric: str) -> Row:
    rate = exchange_rate(curve, arm.losses, arm.n)
    row: dict[str, Any] = {"arm": arm.name, "n": arm.n, "kind": _kind(arm.name)}
    row |= {"k": arm.cell.get("k", arm.facts.get("n_channels")), "snr_db": arm.cell.get("snr_db")}
    names = ("k_over_d", "k_over_participation", "capacity_bits")
    row |= {name: arm.facts.get(name) for name in names}
    row |= rate.cells("M") | {"seeds": len(arm.losses)} | mean_of(arm.losses).cells(metric)
    if arm.n in full:
        row |= gain_recovered(hard[arm.n].losses, arm.losses, full[arm.n].losses).cells("G")
    return row | {"strengths": " ".join(f"{s:g}" for s in arm.chosen)}


def _kind(name: str) -> str:
    return "control" if name in CONTROLS else "upper bound" if name in UPPER else "recorded"


def told(row: Row) -> str:
    """An arm in words: "electrodes, k=24, 0 dB, N=64"."""
    words = [str(row["arm"])]
    if row["k"] is not None and row["snr_db"] is not None:
        words += [f"k={row['k']}", "no noise" if math.isinf(row["snr_db"]) else f"{row['snr_db']:g} dB"]
    return ", ".join([*words, f"N={row['n']}"])


def estimate(row: Row, name: str = "M") -> Estimate:
    """A table's value again."""
    return Estimate(
        value=row[name], low=row[f"{name}_low"], high=row[f"{name}_high"], bound=row.get(f"{name}_bound", "")
    )


def _sentence(settings: Settings, rows: Sequence[Row]) -> str:
    k, snr = settings.at
    at = [row for row in rows if settings.is_real or (row["k"] == k and row["snr_db"] == snr)]
    at = [row for row in at if row["n"] == max(settings.budgets)]
    by_name = {row["arm"]: row for row in at}
    head = by_name.get("electrodes") or by_name.get("guided")
    if head is None:
        return "Nothing to say yet: the cell that the headline stands on has no result."
    best = max(
        (by_name[name] for name in ("electrodes", "electrodes + decoded", "guided") if name in by_name), key=_value
    )
    others = [f"{name} electrodes {estimate(by_name[name])}" for name in CONTROLS if name in by_name]
    found = estimate(best)
    effect = "was worth" if found.low > 1 else "showed no certain gain: it was worth"
    channels = (
        f"{k} noisy channels (k/d = {head['k_over_d']:.3g}, {snr:g} dB)" if head["k_over_d"] else "its electrodes"
    )
    return (
        f"With {channels}, one recorded sample {effect} {found} "
        f"plain samples ({best['arm']}, N = {head['n']} sequences, {head['seeds']} seeds); {'; '.join(others)}."
    )


def _value(row: Row) -> float:
    return float(row["M"])


def _remarks(settings: Settings, rows: Sequence[Row]) -> tuple[str, ...]:
    harmed = [told(row) for row in rows if row["kind"] == "recorded" and row["M_high"] < 1 - ROUNDING]
    helped = [told(row) for row in rows if row["kind"] == "control" and row["M_low"] > 1 + ROUNDING]
    said = [
        f"Intervals: bootstrap over {settings.seeds} seeds, 95 %. M is never read off beyond the curve of behaviour "
        "alone; '>' and '<' say where it would lie beyond.",
        "Everything was chosen on held-out behaviour, which counts in N; there are no electrodes at the test.",
        f"Worse than behaviour alone, with the whole interval: {', '.join(harmed)}."
        if harmed
        else "No arm with electrodes is worse than behaviour alone with its whole interval.",
    ]
    if edges := _at_the_edge(settings, rows):
        said.append(f"The best strength may lie beyond those that were tried: {', '.join(edges)}.")
    if helped:
        said.append(f"A control helped, so part of the gain is no information about the teacher: {', '.join(helped)}.")
    return tuple(said)


def _at_the_edge(settings: Settings, rows: Sequence[Row]) -> list[str]:
    """Arms with electrodes whose seeds mostly took the weakest or the strongest regression there was."""
    ends, found = {min(settings.strengths), max(settings.strengths)}, []
    for row in rows:
        chosen = [float(s) for s in row["strengths"].split()]
        if row["kind"] == "recorded" and 2 * sum(s in ends for s in chosen) > len(chosen):
            found.append(told(row))
    return found


def _wanted(settings: Settings, rows: Sequence[Row]) -> tuple[Row, ...]:
    """What the study is held to, and what it found."""
    k, snr = settings.at
    best: dict[float, Row] = {}
    for row in rows:
        if row["kind"] == "recorded" and row["k"] == k and row["snr_db"] is not None:
            best[row["snr_db"]] = max(best.get(row["snr_db"], row), row, key=_value)
    least_M, least_M_later = LEAST_OF_TEXT if settings.teacher.get("kind") == "characters" else LEAST
    asked: list[tuple[str, Row | None, str, float]] = [
        (f"M at k={k}, {snr:g} dB", best.get(snr), "M", least_M),
        (f"M at k={k}, {snr + 10:g} dB", best.get(snr + 10), "M", least_M_later),
        (f"G at k={k}, {snr:g} dB", best.get(snr), "G", 0.75),
    ]
    found = [
        {"what": what, "wanted": f"at least {least:g}", "found": str(estimate(row, name)), "met": row[name] >= least}
        for what, row, name, least in asked
        if row is not None and name in row
    ]
    for row in rows:
        if row["arm"] == "shuffled":
            found.append(
                {"what": "M, shuffled", "wanted": "at most 1", "found": str(estimate(row)), "met": row["M"] <= 1}
            )
    return tuple(found)


def _plots(rows: Sequence[Row], arms: Sequence[Arm], metric: str, words: str) -> tuple[Plot, ...]:
    shown = [{"arm": told(row), **{k: v for k, v in row.items() if k != "arm"}} for row in rows]
    lines = [{"arm": _line(arm), "n": arm.n} | mean_of(arm.losses).cells(metric) for arm in arms]
    grid = [
        row for row in rows if row["arm"] in ("electrodes", "guided") and row["k_over_d"] is not None and _finite(row)
    ]
    return (
        Plot(
            table=Table(
                name="exchange",
                title="Exchange rate M",
                caption="How many plain samples one recorded sample is worth, with 95 % intervals over seeds; the "
                "dashed line is nothing gained. Controls must not lie beyond it.",
                rows=tuple(shown),
            ),
            draw=_charts.bars(name="arm", value="M", x_label="M", level=1.0, log=True),
        ),
        Plot(
            table=Table(
                name="learning",
                title="What students reach",
                caption="Behaviour alone (hard) over the number of sequences, and the other arms at theirs. Controls "
                "are shuffled and surrogate; soft (the teacher's own distribution) and full (its whole state) are "
                "upper bounds that no recording gives.",
                rows=tuple(lines),
            ),
            draw=_charts.curves(
                x="n", y=metric, by="arm", x_label="sequences", y_label=words, log_x=True,
                log_y=True,
            ),
        ),
        Plot(
            table=Table(
                name="grid",
                title="M by channels and noise",
                caption="Exchange rate by channels over state dimensions and by noise.",
                rows=tuple(grid),
            ),
            draw=_charts.heat(
                x="k_over_d", y="snr_db", value="M", x_label="k / d", y_label="SNR, dB"
            ),
        ),
        Plot(
            table=Table(
                name="participation",
                title="M by channels per filled dimension",
                caption="The same against channels over the participation ratio of the state, the dimensions it fills.",
                rows=tuple({**row, "noise": f"{row['snr_db']:g} dB"} for row in sorted(grid, key=_noise)),
            ),
            draw=_charts.curves(
                x="k_over_participation", y="M", by="noise",
                x_label="k / participation ratio", y_label="M", log_x=True, log_y=True, level=1.0,
            ),
        ),
    )  # fmt: skip


def _line(arm: Arm) -> str:
    k, snr = arm.cell.get("k"), arm.cell.get("snr_db")
    return arm.name if k is None else f"{arm.name}, k={k}, {snr:g} dB"


def _noise(row: Row) -> float:
    return float(row["snr_db"])


def _finite(row: Row) -> bool:
    return row["snr_db"] is not None and math.isfinite(row["snr_db"])


def _candidates(found: Sequence[tuple[Key, Result]]) -> Table:
    rows = [{**key, **candidate} for key, result in found for candidate in result["candidates"]]
    return Table(
        name="candidates",
        title="Every student",
        caption="Every student: its cell, its weights, its held-out behaviour and how it did at the test.",
        rows=tuple(rows),
    )
