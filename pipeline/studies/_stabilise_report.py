"""What a stabilisation study says of each system: who solved it in which arm, and what their gradients were like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neuroloom.pipeline.studies import _charts
from neuroloom.pipeline.studies._cells import Key, Result
from neuroloom.pipeline.studies._exchange import Estimate, mean_of
from neuroloom.pipeline.studies._report import Plot, Report, Row, Table
from neuroloom.pipeline.studies._stabilise_school import CONTROL_OF

if TYPE_CHECKING:
    from neuroloom.pipeline.studies.stabilise import Settings

# Wanted of the toggle task over gains up to 2.5 and lengths up to 150.
WANTED = (
    ("local", "at least", 0.80),
    ("growing", "at least", 0.80),
    ("behaviour", "at most", 0.15),
    ("curriculum", "at most", 0.40),
)
MOST_GAIN, MOST_LENGTH = 2.5, 150
NAMES = {
    "toggle": "Toggle task, tanh network",
    "brain": "Toggle task, brain-shaped network",
    "chaotic": "Chaotic network, rebuilt",
}
SCORES = {"toggle": "right", "brain": "right", "chaotic": "valid"}
WORDS = {"right": "Share right", "valid": "Lyapunov times"}
LEVELS = {"right": 0.5, "valid": 1.0}
ALIKE = 0.02  # a lead over the control below that is none
Found = Sequence[tuple[Key, Result]]


def report(settings: Settings, found: Found, facts: Mapping[str, Any]) -> Report:
    """What came of it."""
    parts = {system: [pair for pair in found if pair[0]["system"] == system] for system in settings.systems}
    parts = {system: part for system, part in parts.items() if part}
    shares = [row for system, part in parts.items() for row in solved_shares(system, part)]
    return Report(
        study="stabilise",
        title="Can recordings teach what behaviour alone cannot?",
        sentence=" ".join(_sentence(settings, system, part) for system, part in parts.items()),
        conditions={
            **facts,
            "seeds": settings.seeds,
            "solved": "95 % right answers on fresh sequences; chaotic: valid for a Lyapunov time, and the largest "
            "exponent within half of the teacher's",
        },
        plots=tuple(plot for system, part in parts.items() for plot in _plots(system, part, facts)),
        tables=(
            Table(name="solved", title="Cells solved", caption="Cells solved by system and arm.", rows=tuple(shares)),
        ),
        remarks=_remarks(settings, tuple(parts)),
        wanted=_wanted([row for row in shares if row["system"] == "toggle"]),
    )


def rows_of(system: str, found: Found) -> list[Row]:
    """A row per arm, gain and length: mean over seeds with its interval."""
    grouped: dict[tuple[Any, ...], list[Result]] = {}
    for key, result in found:
        grouped.setdefault((key["arm"], key["gain"], key["length"]), []).append(result)
    score = SCORES[system]
    rows: list[Row] = []
    for (arm, gain, length), results in grouped.items():
        row: dict[str, Any] = {"arm": arm, "gain": gain, "length": length, "seeds": len(results)}
        row["what"] = _told(row)
        row |= mean_of([float(one[score]) for one in results]).cells(score)
        row |= {"solved": sum(bool(one["solved"]) for one in results) / len(results)}
        if score == "right":
            row |= {"horizon": sorted(one["horizon"] for one in results)[len(results) // 2]}
        else:
            row |= mean_of([float(one["exponents"][0]) for one in results]).cells("largest_exponent")
        norms = [one["largest_norm"] for one in results]
        row |= {"largest_norm": math.inf if None in norms else max(norms)}
        rows.append(row | {"steps": max(int(one["steps"]) for one in results)})
    return rows


def solved_shares(system: str, found: Found) -> list[Row]:
    """Per arm: cells solved, over gains and lengths within what is wanted."""
    grouped: dict[str, list[bool]] = {}
    for key, result in found:
        if (key["gain"] or 0) <= MOST_GAIN and key["length"] <= MOST_LENGTH:
            grouped.setdefault(key["arm"], []).append(bool(result["solved"]))
    return [
        {"system": system, "arm": arm, "cells": len(solved), "solved": sum(solved)}
        | mean_of([float(s) for s in solved]).cells("share")
        for arm, solved in grouped.items()
    ]


def _plots(system: str, found: Found, facts: Mapping[str, Any]) -> tuple[Plot, ...]:
    score, rows = SCORES[system], rows_of(system, found)
    says = {
        "right": "Share of right answers on fresh sequences, mean over seeds with 95 % intervals; chance is 0.5.",
        "valid": "How long predictions stay within half a standard deviation, in Lyapunov times of the teacher; mean "
        "over fresh stretches, then over seeds, with 95 % intervals.",
    }[score]
    title = f"{NAMES[system]}: {'right answers' if score == 'right' else 'valid prediction'}"
    scores = Plot(
        table=Table(name=f"{system}_{score}", title=title, caption=says, rows=tuple(rows)),
        draw=_charts.bars(name="what", value=score, x_label=WORDS[score], level=LEVELS[score]),
    )
    gradients = Plot(
        table=Table(
            name=f"{system}_gradients",
            title=f"{NAMES[system]}: gradient norms",
            caption="Norm of the gradient before clipping while training: the largest over seeds at each step, at the "
            "highest gain and the greatest length. What is not finite is left out of the picture.",
            rows=tuple(_norms(found)),
        ),
        draw=_charts.curves(
            x="step", y="norm", by="arm", x_label="step", y_label="norm",
            log_y=True,
        ),
    )  # fmt: skip
    grid = _grids(system, rows)
    return (scores, *grid, gradients, _spectra(found, facts) if system == "chaotic" else _lengths(system, found))


def _grids(system: str, rows: Sequence[Row]) -> tuple[Plot, ...]:
    """Cells solved and gradients over gain and length, arm by arm, where there is more than one of either."""
    here = [row for row in rows if row["gain"] is not None]
    sides = {side: len({row[side] for row in here}) for side in ("gain", "length")}
    if max(sides.values()) < 2:
        return ()
    asked = (
        ("solved", "solved_of", "seeds solved", "Seeds that are solved, by arm, gain and trained length.", 0.0, 1.0),
        (
            "log10_norm",
            "norm_told",
            "largest gradient norm",
            "The largest norm of the gradient before clipping, over seeds and training; colours go by its power of "
            "ten, and a cell without one had a gradient that was not finite.",
            None,
            None,
        ),
    )
    cells = [
        {name: row[name] for name in ("arm", "gain", "length", "seeds", "solved", "largest_norm")}
        | {"condition": f"g={row['gain']:g}, T={row['length']}", "log10_norm": _log10(row["largest_norm"])}
        | {
            "solved_of": f"{round(row['solved'] * row['seeds'])} of {row['seeds']}",
            "norm_told": _figure(row["largest_norm"]),
        }
        for row in sorted(here, key=lambda row: (row["length"], row["gain"]))
    ]
    return tuple(
        Plot(
            table=Table(
                name=f"{system}_grid_{value}", title=f"{NAMES[system]}: {words}", caption=caption, rows=tuple(cells)
            ),
            draw=_charts.named_heat(x="condition", y="arm", value=value, told=told, low=low, high=high),
        )
        for value, told, words, caption, low, high in asked
    )


def _log10(norm: Any) -> float | None:
    """None where there is no finite number to show."""
    known = isinstance(norm, int | float) and math.isfinite(norm) and norm > 0
    return round(math.log10(norm), 2) if known else None


def _figure(norm: float) -> str:
    """Two digits, 470 and not 4.7e+02; a power from ten thousand on."""
    if not math.isfinite(norm):
        return "not finite"
    return f"{float(f'{norm:.2g}'):g}" if norm < 1e4 else f"{norm:.0e}".replace("e+0", "e").replace("e+", "e")


def _lengths(system: str, found: Found) -> Plot:
    """The table has every cell; the picture a line per arm only, since those of a whole grid hide each other."""
    grouped: dict[tuple[str, int], list[float]] = {}
    shown = _hardest_solved(found)
    pictured = {_told(key) for key, _ in found if _among(shown, key)}
    for key, result in found:
        for tested, right in result["by_length"].items():
            grouped.setdefault((_told(key), int(tested)), []).append(float(right))
    rows = [
        {"what": what, "tested": n, "pictured": what in pictured} | mean_of(right).cells("right")
        for (what, n), right in grouped.items()
    ]
    return Plot(
        table=Table(
            name=f"{system}_by_length",
            title=f"{NAMES[system]}: longer and shorter than trained",
            caption="Right answers by the length of the test's sequences, mean over seeds, gain and trained length as "
            f"said. The picture shows {_shown_words(shown)}; the table has all.",
            rows=tuple(rows),
        ),
        draw=_charts.curves(
            x="tested", y="right", by="what",
            x_label="steps", y_label="share right", level=0.5, only="pictured",
        ),
    )  # fmt: skip


def _hardest_solved(found: Found) -> tuple[float | None, int, bool]:
    """Gain and length of the hardest cell that a seed solved, by length, then by gain; of all cells where none did."""
    solved = [key for key, result in found if result["solved"] and key["gain"] is not None]
    among = solved or [key for key, _ in found]
    length = max(key["length"] for key in among)
    gains = [key["gain"] for key in among if key["length"] == length and key["gain"] is not None]
    return max(gains, default=None), length, bool(solved)


def _among(shown: tuple[float | None, int, bool], key: Key) -> bool:
    gain, length, _ = shown
    return key["length"] == length and key["gain"] in (gain, None)


def _shown_words(shown: tuple[float | None, int, bool]) -> str:
    gain, length, solved = shown
    place = f"T={length}" if gain is None else f"gain {gain:g} at T={length}"
    return f"{place}, the hardest that any seed solved" if solved else f"{place}, the hardest; no seed solved any"


def _spectra(found: Found, facts: Mapping[str, Any]) -> Plot:
    """The largest exponents of students at the highest gain, beside the teacher's."""
    gain = max((key["gain"] for key, _ in found if key["gain"] is not None), default=None)
    grouped: dict[tuple[str, int], list[float]] = {}
    for key, result in found:
        if key["gain"] in (gain, None):
            for i, exponent in enumerate(result["exponents"]):
                grouped.setdefault((_told(key), i + 1), []).append(math.nan if exponent is None else float(exponent))
    rows: list[Row] = [
        {"what": "the teacher", "number": i + 1, "exponent": exponent}
        for i, exponent in enumerate(facts.get("chaotic_exponents", ()))
    ]
    rows += [{"what": what, "number": i} | mean_of(each).cells("exponent") for (what, i), each in grouped.items()]
    return Plot(
        table=Table(
            name="chaotic_exponents",
            title=f"{NAMES['chaotic']}: Lyapunov exponents",
            caption="Lyapunov exponents, the largest first, per step, of the teacher and of students that go on by "
            "themselves; mean over seeds with 95 % intervals.",
            rows=tuple(rows),
        ),
        draw=_charts.curves(
            x="number", y="exponent", by="what", x_label="number", y_label="per step",
            level=0.0,
        ),
    )  # fmt: skip


def _sentence(settings: Settings, system: str, found: Found) -> str:
    """What this system shows, with its conditions: local losses beside the best other arm, behaviour and the control"""
    score = SCORES[system]
    within = [pair for pair in found if (pair[0]["gain"] or 0) <= MOST_GAIN and pair[0]["length"] <= MOST_LENGTH]
    scores: dict[str, list[float]] = {}
    for key, result in within:
        scores.setdefault(key["arm"], []).append(float(result[score]))
    means = {arm: mean_of(values) for arm, values in scores.items()}
    verdict, named = _verdict(means)
    solved = {row["arm"]: f"{row['solved']} of {row['cells']}" for row in solved_shares(system, found)}
    gains = ", ".join(f"{gain:g}" for gain in sorted({key["gain"] for key, _ in within if key["gain"] is not None}))
    lengths = ", ".join(str(n) for n in sorted({key["length"] for key, _ in within}))
    told = ", ".join(f"{arm} {means[arm]}, {solved[arm]}" for arm in named)
    return (
        f"{NAMES[system]} (gains {gains}; {lengths} steps; {settings.seeds} seeds): {verdict}. {WORDS[score]}, and "
        f"cells solved: {told}."
    )


def _verdict(means: Mapping[str, Estimate]) -> tuple[str, tuple[str, ...]]:
    """Whether local electrode losses help, and the arms that show it."""
    by_mean = sorted(means, key=lambda arm: -means[arm].value)
    ways = [arm for arm in by_mean if arm in CONTROL_OF]
    others = [arm for arm in by_mean if arm not in (*CONTROL_OF, *CONTROL_OF.values(), "areas")]
    if not ways or not others:
        return "local electrode losses were not compared", tuple(means)
    local, best, control = means[ways[0]], others[0], means.get(CONTROL_OF[ways[0]])
    named = tuple(dict.fromkeys(arm for arm in (*ways, best, "behaviour", *CONTROL_OF.values()) if arm in means))
    if control is not None and local.value - control.value < ALIKE:
        return "local electrode losses did no better than with shuffled electrodes, so no effect", named
    if local.value <= means[best].value:
        return f"local electrode losses did no better than {best}", named
    if local.low <= means[best].high:
        return f"local electrode losses did best, but not certainly better than {best}", named
    return "local electrode losses did better than every other arm", named


def _wanted(shares: Sequence[Row]) -> tuple[Row, ...]:
    by_arm = {row["arm"]: row for row in shares}
    return tuple(
        {
            "what": f"toggle cells solved, {arm}",
            "wanted": f"{side} {bound:.0%}",
            "found": f"{by_arm[arm]['share']:.0%} of {by_arm[arm]['cells']}",
            "met": by_arm[arm]["share"] >= bound if side == "at least" else by_arm[arm]["share"] <= bound,
        }
        for arm, side, bound in WANTED
        if arm in by_arm
    )


def _remarks(settings: Settings, systems: Sequence[str]) -> tuple[str, ...]:
    brain, chaotic = settings.brain, settings.chaotic
    told = {
        "toggle": f"Toggle: {settings.units} units, {settings.n_channels} electrodes at {settings.snr_db:g} dB.",
        "brain": f"Brain: {brain.topology}, {brain.area_size} units an area, pulses enter {brain.entry}, the answer "
        f"leaves {brain.exit}; the same electrodes.",
        "chaotic": f"Chaotic: a teacher of {chaotic.units} units, {chaotic.outputs} numbers of behaviour, "
        f"{chaotic.n_channels} electrodes at {chaotic.snr_db:g} dB over {chaotic.recorded} steps.",
    }
    return tuple(told[system] for system in systems)


def _told(row: Row) -> str:
    gain = "" if row["gain"] is None else f", gain {row['gain']:g}"
    return f"{row['arm']}{gain}, T={row['length']}"


def _norms(found: Found) -> list[Row]:
    length = max(key["length"] for key, _ in found)
    gain = max((key["gain"] for key, _ in found if key["gain"] is not None), default=None)
    largest: dict[tuple[str, int], float] = {}
    for key, result in found:
        if key["length"] == length and key["gain"] in (gain, None):
            for step, norm in result["norms"]:
                place = (_told(key), int(step))
                value = math.inf if norm is None else float(norm)
                largest[place] = max(largest.get(place, 0.0), value)
    return [{"arm": arm, "step": step, "norm": norm} for (arm, step), norm in largest.items() if math.isfinite(norm)]
