"""What a mind reading study says: bits per step of every target by every decoder, beside what there is to read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neuroloom.pipeline.studies import _charts
from neuroloom.pipeline.studies._cells import Key, Result
from neuroloom.pipeline.studies._exchange import Estimate, mean_of
from neuroloom.pipeline.studies._report import Plot, Report, Row, Table

if TYPE_CHECKING:
    from neuroloom.pipeline.studies.mindread import Settings

BY_NOISE = ("noise", "language_model")  # pictures over noise, which nobody knows of a session
PRIORS = ("plain", "prior", "whole", "bound", "bound, whole")
BOUND_OF = {"prior": "bound", "whole": "bound, whole"}
LEAK = 0.01  # bits that a control may give
WANTED = (("token", 0.95), ("answer", 0.60), ("topic", 0.75))


def rows_of(found: Sequence[tuple[Key, Result]]) -> list[Row]:
    """A row per electrodes, target and decoder: mean over seeds (and heads) with its interval over seeds."""
    grouped: dict[tuple[Any, ...], dict[int, list[Mapping[str, Any]]]] = {}
    facts: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for key, result in found:
        facts[key["k"], key["snr_db"]] = result["facts"]
        for one in result["read"]:
            place = (key["k"], key["snr_db"], one["target"], one["decoder"])
            grouped.setdefault(place, {}).setdefault(int(key["seed"]), []).append(one)
    rows: list[Row] = []
    for (k, snr, target, decoder), seeds in grouped.items():
        row: dict[str, Any] = {"target": target, "decoder": decoder, "k": k, "snr_db": snr}
        row |= {name: facts[k, snr].get(name) for name in ("k_over_d", "capacity_bits")}
        row |= mean_of([_mean(each, "bits") for each in seeds.values()]).cells("bits")
        row |= {"right": _mean([one for each in seeds.values() for one in each], "right"), "seeds": len(seeds)}
        row["entropy"] = _mean([one for each in seeds.values() for one in each], "entropy")
        ceilings = [one["ceiling"] for each in seeds.values() for one in each if one["ceiling"] is not None]
        row["ceiling"] = sum(ceilings) / len(ceilings) if ceilings else None
        row["of_ceiling"] = row["bits"] / row["ceiling"] if ceilings and row["ceiling"] > 0 else None
        row["overfits"] = row["bits"] < 0
        rows.append(row)
    return rows


def _mean(parts: Sequence[Mapping[str, Any]], name: str) -> float:
    return sum(float(one[name]) for one in parts) / len(parts)


def coverage_rows(settings: Settings, found: Sequence[tuple[Key, Result]]) -> list[Row]:
    """Bits by the window's linear decoder where all electrodes lie in one layer, beside all layers and the control.

    Attention is told block by block: what a head does is done in its own.
    """
    k, snr = settings.at
    grouped: dict[tuple[str, str], dict[int, list[Mapping[str, Any]]]] = {}
    for key, result in found:
        if (key["k"], key["snr_db"]) != (k, snr):
            continue
        where = key.get("layer", "wrong times" if "control" in key else "all layers")
        for one in result["read"]:
            if one["decoder"] == "linear, window":
                target = str(one["place"]).partition(".")[0]
                grouped.setdefault((target, where), {}).setdefault(int(key["seed"]), []).append(one)
    places = ["all layers", *settings.layers, "wrong times"]
    return [
        {"what": f"{target}, {where}", "target": target, "electrodes": where, "k": k, "snr_db": snr}
        | mean_of([_mean(each, "bits") for each in grouped[target, where].values()]).cells("bits")
        | {"seeds": len(grouped[target, where])}
        for target in dict.fromkeys(target for target, _ in grouped)
        for where in places
        if (target, where) in grouped
    ]


def report(settings: Settings, found: Sequence[tuple[Key, Result]], facts: Mapping[str, Any]) -> Report:
    """What came of it."""
    coverage = coverage_rows(settings, found)
    found = [(key, result) for key, result in found if not {"layer", "control"} & key.keys()]
    rows = rows_of(found)
    prior = _prior_rows(settings, found)
    k, snr = settings.at
    at = [row for row in rows if row["k"] == k and row["snr_db"] == snr]
    if settings.is_real:
        rows, prior, coverage, at = (_unplaced(each) for each in (rows, prior, coverage, at))
    plots = _plots(_where(settings), rows, at, prior, coverage)
    by_noise = [plot for plot in plots if plot.table.name in BY_NOISE]
    return Report(
        study="mindread",
        title="What can be read from a mind?",
        sentence=_sentence(settings, at),
        conditions={**facts, "seeds": settings.seeds, "test": "the last fifth of the sequences, unseen"},
        plots=tuple(plot for plot in plots if not (settings.is_real and plot in by_noise)),
        tables=(
            Table(
                name="all",
                title="Every target and decoder",
                caption="Every target, decoder and cell.",
                rows=tuple(rows),
            ),
            *(plot.table for plot in by_noise if settings.is_real and plot.table.rows),
        ),
        remarks=(*_remarks(settings, rows), *_covered(coverage)),
        wanted=_wanted(at, prior, settings),
    )  # fmt: skip


def _plots(
    where: str, rows: Sequence[Row], at: Sequence[Row], prior: Sequence[Row], coverage: Sequence[Row]
) -> tuple[Plot, ...]:
    return (
        Plot(
            table=Table(
                name="bits",
                title="What was read",
                caption=f"Bits per step from {where}, with 95 % intervals over seeds. Below 0: the decoder fits "
                "noise.",
                rows=tuple({"what": f"{row['target']}, {row['decoder']}", **row} for row in at),
            ),
            draw=_charts.bars(name="what", value="bits", x_label="bits per step", level=0.0),
        ),
        Plot(
            table=Table(
                name="noise",
                title="What is read, by noise",
                caption="Bits of the window's linear decoder over noise.",
                rows=tuple(
                    {**row, "line": f"{row['target']}, k={row['k']}"}
                    for row in rows
                    if row["decoder"] == "linear, window" and row["snr_db"] is not None
                    if math.isfinite(row["snr_db"])
                ),
            ),
            draw=_charts.curves(
                x="snr_db", y="bits", by="line", x_label="SNR, dB",
                y_label="bits per step", level=0.0,
            ),
        ),
        Plot(
            table=Table(
                name="language_model",
                title="A language model as prior",
                caption="The token read without a prior, with a language model's that has read what was decoded so "
                "far (prior), or before and after (whole); bound: with the language itself as prior. The picture has "
                "as many channels as the first; the table has all. retrieval: share of sequences found among the ten "
                "likeliest.",
                rows=tuple(prior),
            ),
            draw=_charts.curves(
                x="snr_db", y="bits", by="line", x_label="SNR, dB",
                y_label="bits per token", level=0.0, only="pictured",
            ),
        ),
        Plot(
            table=Table(
                name="coverage",
                title="What is read from where",
                caption="Where the electrodes lie: the same number of them in all layers or in one alone, by the "
                "window's linear decoder. At wrong times: a control, from which nothing should be read.",
                rows=tuple(coverage),
            ),
            draw=_charts.bars(
                name="what", value="bits", x_label="bits per step", level=0.0
            ),
        ),
    )  # fmt: skip


def _unplaced(rows: Sequence[Row]) -> list[Row]:
    """Without channels and noise: the names of cells say nothing of a session's electrodes."""
    return [{**row, "k": None, "snr_db": None} | ({"line": row["decoder"]} if "line" in row else {}) for row in rows]


def _place(row: Row) -> str:
    return "" if row["snr_db"] is None else f" at k={row['k']}, {row['snr_db']:g} dB"


def _covered(coverage: Sequence[Row]) -> tuple[str, ...]:
    leaks = [str(row["target"]) for row in coverage if row["electrodes"] == "wrong times" and row["bits_low"] > LEAK]
    if leaks:
        return (f"Electrodes at wrong times gave bits of {', '.join(leaks)}: what is read there is no information.",)
    if any(row["electrodes"] == "wrong times" for row in coverage):
        return ("From electrodes at wrong times nothing was read.",)
    return ()


def _sentence(settings: Settings, at: Sequence[Row]) -> str:
    best = {target: _best(at, target) for target, _ in WANTED}
    told = [
        f"{_estimate(row)} bits of the {target}"
        + (f" ({row['of_ceiling']:.0%} of what there is)" if row["of_ceiling"] else "")
        for target, row in best.items()
        if row is not None
    ]
    if not told:
        return "Nothing to say yet: the cell that the headline stands on has no result."
    where = _where(settings)
    return f"From {where} could be read, per step and over {settings.seeds} seeds: {', '.join(told)}."


def _where(settings: Settings) -> str:
    k, snr = settings.at
    return "its electrodes" if settings.is_real else f"{k} channels at {snr:g} dB"


def _best(rows: Sequence[Row], target: str) -> Row | None:
    return max((row for row in rows if row["target"] == target), key=lambda row: float(row["bits"]), default=None)


def _estimate(row: Row) -> Estimate:
    return Estimate(value=row["bits"], low=row["bits_low"], high=row["bits_high"])


def _remarks(settings: Settings, rows: Sequence[Row]) -> tuple[str, ...]:
    over = sorted({f"{r['target']} by {r['decoder']}{_place(r)}" for r in rows if r["overfits"]})
    beyond = [r for r in rows if r["capacity_bits"] is not None and r["bits"] > r["capacity_bits"]]
    known = any(row["capacity_bits"] is not None for row in rows)
    within = (
        f"{len(beyond)} rows lie above the channel's Gaussian capacity per sample; a window gathers several samples."
        if beyond
        else "No row lies above the channel's Gaussian capacity per sample."
    )
    return (
        "The best decoder of a target is named after the fact in the sentence; the tables have all of them.",
        f"Overfitting (negative bits): {'; '.join(over[:12])}." if over else "No decoder overfits (negative bits).",
        *([within] if known else []),
    )


def _wanted(at: Sequence[Row], prior: Sequence[Row], settings: Settings) -> tuple[Row, ...]:
    found = []
    for target, least in WANTED:
        row = _best(at, target)
        if row is not None and row["of_ceiling"] is not None:
            told = f"{row['of_ceiling']:.2f} ({row['decoder']})"
            met = row["of_ceiling"] >= least
            found.append(
                {"what": f"{target}, of what there is", "wanted": f"at least {least:g}", "found": told, "met": met}
            )
    k, snr = settings.at
    bits = {row["decoder"]: row["bits"] for row in prior if row["k"] == k and row["snr_db"] == snr - 10}
    for name, words in (("prior", "what came before"), ("whole", "the whole sequence")):
        if bits.get("plain", 0) > 0:
            ratio, bound = (bits.get(which, math.nan) / bits["plain"] for which in (name, BOUND_OF[name]))
            most = f" (the language itself: {bound:.2f})" if math.isfinite(bound) else ""
            what = f"token bits with a prior from {words} over those without, k={k}, {snr - 10:g} dB"
            found.append({"what": what, "wanted": "at least 2", "found": f"{ratio:.2f}{most}", "met": ratio >= 2})
    return tuple(found)


def _prior_rows(settings: Settings, found: Sequence[tuple[Key, Result]]) -> list[Row]:
    grouped: dict[tuple[Any, ...], list[Result]] = {}
    for key, result in found:
        if "language_model" in result:
            grouped.setdefault((key["k"], key["snr_db"]), []).append(result)
    rows: list[Row] = []
    for (k, snr), results in grouped.items():
        for decoder in (name for name in PRIORS if name in results[0]["language_model"]):
            row: dict[str, Any] = {"line": f"k={k}, {decoder}", "decoder": decoder, "k": k, "snr_db": snr}
            row |= {"pictured": k == settings.at[0]}
            row |= mean_of([float(one["language_model"][decoder]) for one in results]).cells("bits")
            row |= {"retrieval_top10": sum(one["retrieval"][decoder] for one in results) / len(results)}
            rows.append(row | {"among": results[0]["among"], "seeds": len(results)})
    return rows
