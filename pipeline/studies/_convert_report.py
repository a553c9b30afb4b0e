"""What a conversion study says: how near each network came, with how many tokens, how fast, and how far it carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neuroloom.pipeline.studies import _charts
from neuroloom.pipeline.studies._cells import Key, Result
from neuroloom.pipeline.studies._exchange import exchange_rate, mean_of
from neuroloom.pipeline.studies._report import Plot, Report, Row, Table

if TYPE_CHECKING:
    from neuroloom.pipeline.studies.convert import Settings

TITLE = "Can a network be converted, and do recordings help?"
WANTED = {"both": 1 / 3, "electrodes": 1 / 2}  # of the tokens of the distribution alone
ALONE, CONTROL = "logits", "shuffled"
TOLD = ("both", "electrodes", CONTROL)  # arms of the sentence

Group = tuple[dict[str, Any], list[Result]]


def report(settings: Settings, found: Sequence[tuple[Key, Result]], facts: Mapping[str, Any]) -> Report:
    """What came of it, from the cells that are there for every seed."""
    groups = groups_of(found, settings.seeds)
    rows = [_row(settings, group, groups) for group in groups]
    lengths = _lengths(groups)
    return Report(
        study="convert",
        title=TITLE,
        sentence=_sentence(settings, rows, lengths),
        conditions={**facts, "seeds": settings.seeds, "test": "fresh sequences; divergence from the teacher in nats"},
        plots=_plots(settings, groups, rows, lengths),
        tables=(
            Table(
                name="candidates",
                title="Every network",
                caption="Every network that was taught: its cell, the weight of its states, held-out answers.",
                rows=tuple({**key, **one} for key, result in found for one in result["candidates"]),
            ),
        ),
        remarks=_remarks(settings, rows, lengths),
        wanted=_wanted(rows),
    )


def groups_of(found: Sequence[tuple[Key, Result]], n_seeds: int) -> list[Group]:
    """Cells over their seeds."""
    grouped: dict[str, Group] = {}
    for key, result in found:
        cell = {name: value for name, value in key.items() if name != "seed"}
        grouped.setdefault(str(cell), (cell, []))[1].append(result)
    return [group for group in grouped.values() if len(group[1]) == n_seeds]


def told(cell: Mapping[str, Any]) -> str:
    """ "transformer to GRU, electrodes k/d 0.25"."""
    return f"{cell['conversion']}, {_arm(cell)}"


def _arm(cell: Mapping[str, Any]) -> str:
    return f"{cell['arm']} k/d {cell['k_over_d']:.3g}" if "k_over_d" in cell else str(cell["arm"])


def curve_of(results: Sequence[Result]) -> dict[int, tuple[float, ...]]:
    """Divergence by tokens read, a value per seed."""
    places = [int(tokens) for tokens, _ in results[0]["curve"]]
    return {tokens: tuple(float(one["curve"][i][1]) for one in results) for i, tokens in enumerate(places)}


def _row(settings: Settings, group: Group, groups: Sequence[Group]) -> Row:
    cell, results = group
    alone = next((r for c, r in groups if c["conversion"] == cell["conversion"] and c["arm"] == ALONE), None)
    curve = curve_of(results)
    row: dict[str, Any] = {"what": told(cell), "conversion": cell["conversion"], "arm": cell["arm"]}
    row |= {"k_over_d": cell.get("k_over_d"), "tokens": max(curve)}
    row |= mean_of([float(one["kl"]) for one in results]).cells("kl")
    row |= mean_of([float(one["agreement"]) for one in results]).cells("agreement")
    if alone is not None and cell["arm"] != ALONE:
        row |= exchange_rate(curve, [float(one["kl"]) for one in alone], max(curve)).cells("share")
    row |= exchange_rate(curve, [settings.reach_kl] * len(results), 1).cells("tokens_to_reach")
    for name in ("read_per_s", "spoken_per_s"):
        row[name] = sorted(float(one[name]) for one in results)[len(results) // 2]
    return row | {name: results[0][name] for name in ("state_bytes", "parameters")}


def _lengths(groups: Sequence[Group]) -> list[Row]:
    """Right answers over the last quarter by length; the teacher's beside them."""
    rows: list[Row] = []
    teachers: set[str] = set()
    for cell, results in groups:
        if cell["arm"] != ALONE:
            continue
        system = str(cell["conversion"]).split(" to ")[0]
        for n in sorted(results[0]["by_length"], key=int):
            at = [one["by_length"][n] for one in results]
            row = {"system": system, "what": cell["conversion"], "length": int(n)}
            rows.append(
                row
                | mean_of([float(one["right"]) for one in at]).cells("right")
                | {"nats": mean_of([float(one["nats"]) for one in at]).value}
            )
            if system not in teachers and at[0]["teacher"] is not None:
                value = mean_of([float(one["teacher"]) for one in at])
                rows.append({"system": system, "what": f"teacher: {system}", "length": int(n)} | value.cells("right"))
        teachers.add(system)
    return rows


def _sentence(settings: Settings, rows: Sequence[Row], lengths: Sequence[Row]) -> str:
    own = {_short(row): row for row in rows if row["conversion"] == settings.headline and "share" in row}
    told_of = {name: row for name, row in own.items() if row["arm"] in TOLD and row["k_over_d"] in (None, settings.at)}
    if not told_of:
        return "Nothing to say yet: the conversion that the headline stands on has not all its seeds."
    control = next((row for row in told_of.values() if row["arm"] == CONTROL), None)
    most = 1.0 if control is None else min(1.0, float(control["share_low"]))
    saved = any(row["share_high"] < most for row in told_of.values() if row["arm"] != CONTROL)
    head = "States saved tokens" if saved else "States saved no more tokens than their control"
    shares = "; ".join(f"{name} {_share(row)}" for name, row in told_of.items())
    tokens = next(iter(told_of.values()))["tokens"]
    return (
        f"{head} ({settings.headline}, {settings.seeds} seeds, of {tokens:,}): {shares}.{_failing(settings, lengths)}"
    )


def _short(row: Row) -> str:
    return str(row["what"]).split(", ", 1)[1]


def _share(row: Row) -> str:
    if row["share_bound"] == ">":
        return "not reached"
    return f"{row['share_bound']}{row['share']:.0%} ({row['share_low']:.0%} to {row['share_high']:.0%})"


def _failing(settings: Settings, lengths: Sequence[Row]) -> str:
    """What the networks that count pulses do at the greatest length."""
    counted = [row for row in lengths if row["system"] == "toggle" and not row["what"].startswith("teacher")]
    if not counted:
        return ""
    longest = max(row["length"] for row in counted)
    at = [f"{row['what'].split(' to ')[1]} {row['right']:.2f}" for row in counted if row["length"] == longest]
    taught = max(one.length for one in settings.conversions.values() if one.teacher == "toggle")
    return f" Pulses over {longest} steps (taught {taught}): {', '.join(at)} right."


def _remarks(settings: Settings, rows: Sequence[Row], lengths: Sequence[Row]) -> tuple[str, ...]:
    said = [
        f"Intervals: bootstrap over {settings.seeds} seeds, 95 %. A share is never read off beyond the curve: '>' says "
        "that the arm did not come as far.",
        "Speeds are of this machine while other things ran on it: they compare, they do not measure.",
        "The weight of the states was chosen on held-out answers, not at the test."
        if len(settings.strengths) > 1
        else f"The weight of the states was {settings.strengths[0]:g}; it was not chosen among others.",
    ]
    worse = [str(row["what"]) for row in rows if row.get("share_bound") == ">" and row["arm"] != CONTROL]
    if worse:
        said.append(f"Did not come as far as the distribution alone: {', '.join(worse)}.")
    helped = [str(row["what"]) for row in rows if row["arm"] == CONTROL and row.get("share_high", 1.0) < 1]
    if helped:
        said.append(f"A control helped, so part of the gain is no information: {', '.join(helped)}.")
    return tuple(said)


def _wanted(rows: Sequence[Row]) -> tuple[Row, ...]:
    found = []
    for row in rows:
        most = WANTED.get(row["arm"])
        if most is None or "share" not in row or row["k_over_d"] not in (None, 0.25):
            continue
        met = row["share"] <= most and row["share_bound"] != ">"
        what = f"tokens, {row['what']}, over those of the distribution alone"
        found.append({"what": what, "wanted": f"at most {most:.0%}", "found": _share(row), "met": met})
    return tuple(found)


def _plots(
    settings: Settings, groups: Sequence[Group], rows: Sequence[Row], lengths: Sequence[Row]
) -> tuple[Plot, ...]:
    first = settings.headline
    curves = [
        {"conversion": cell["conversion"], "arm": _arm(cell), "what": told(cell), "tokens": tokens}
        | mean_of(values).cells("kl")
        for cell, results in groups
        for tokens, values in curve_of(results).items()
    ]
    systems = dict.fromkeys(str(row["system"]) for row in lengths)
    return (
        Plot(
            table=Table(
                name="conversions",
                title="Tokens needed, over those of the distribution alone",
                caption="Every conversion and arm. share: of the tokens with which the distribution alone ends, those "
                "that this arm needs to come as near; left of the dashed line it saves some, and those with an "
                "arrow never came as near. tokens_to_reach: to a "
                f"divergence of {settings.reach_kl:g} nats.",
                rows=tuple(rows),
            ),
            draw=_charts.bars(
                name="what", value="share",
                x_label="share of tokens", level=1.0,
            ),
        ),
        *(
            Plot(
                table=Table(
                    name=name,
                    title=f"While learning: {title}",
                    caption=f"Divergence from the teacher at the test over tokens read: {title}.",
                    rows=tuple(part),
                ),
                draw=_charts.curves(
                    x="tokens", y="kl", by=by, x_label="tokens", y_label="divergence, nats", log_x=True,
                    log_y=True,
                ),
            )
            for name, title, by, part in (
                ("learning", first, "arm", [row for row in curves if row["conversion"] == first]),
                ("others", "other conversions", "what", [row for row in curves if row["conversion"] != first]),
            )
        ),
        *(
            Plot(
                table=Table(
                    name=f"lengths_{system.replace(' ', '_')}",
                    title=f"Longer than taught: {system}",
                    caption="Share of right answers over the last quarter of sequences of that length, by what can be "
                    "known at best (of text: the next character); taught from the distribution alone.",
                    rows=tuple(row for row in lengths if row["system"] == system),
                ),
                draw=_charts.curves(
                    x="length", y="right", by="what", x_label="steps",
                    y_label="share right",
                ),
            )
            for system in systems
        ),
        Plot(
            table=Table(
                name="divergence",
                title="How near each comes in the end",
                caption="Divergence from the teacher at the end, nats per answer.",
                rows=tuple({name: row[name] for name in ("what", "kl", "kl_low", "kl_high")} for row in rows),
            ),
            draw=_charts.bars(name="what", value="kl", x_label="divergence, nats", log=True),
        ),
    )  # fmt: skip
