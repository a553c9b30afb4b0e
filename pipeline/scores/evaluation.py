"""Score a run on time it has not seen, beside what it must beat, with intervals.

    spikes               bits per spike over each unit's mean rate in the data that are scored (Pei et al. 2021, NLB'21)
    held-out units       the same, from other units alone: co-smoothing; see `cosmoothing.py`
    saccades             bits per event, likewise
    tokens, choice       bits per token or answer over how often each occurred in training time
    choice               balanced accuracy, too; chance is one over the number of classes that occur
    continuous channels  R2 per channel, 1 - SSE / SST about the scored data's own mean
    all, some time ahead "forward ...": the same scores at the end of each window, whose inputs were not seen

Intervals are percentile bootstraps over blocks of time (a bin is not independent of its neighbour, a block nearly is)
and, where a model was trained from several seeds, over these. Each model has its difference to the network, paired:
the same blocks are drawn for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest import durable
from neuroloom.pipeline.runs.splitting import WindowConfig
from neuroloom.pipeline.runs.windowing import Split, Windows
from neuroloom.pipeline.scores._scoring import Metric, Task, interval, metrics_of, picks, resampled
from neuroloom.pipeline.scores.baselines import Predicted, Predictor, glm_baseline, mean_baseline, ridge_baseline
from neuroloom.pipeline.scores.ceilings import average_baseline
from neuroloom.pipeline.scores.kalman import kalman_baseline
from neuroloom.pipeline.scores.worse import WorseTargets, worse_in

Matrix = NDArray[np.float64]

NETWORK = "network"
TOGETHER = "together"
FORWARD = "forward "
SHORT = {
    "bits per spike": "bits/spike", "balanced accuracy": "balanced acc.", "co-smoothing bits per spike": "co-bps",
    "forward bits per spike": "fp-bps", "forward co-smoothing bits per spike": "forward co-bps",
}  # fmt: skip
BASELINES: Mapping[str, Callable[[Windows], Predictor]] = {
    "mean": mean_baseline, "ridge": ridge_baseline, "glm": glm_baseline, "kalman": kalman_baseline,
    "average": average_baseline,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number. area: "" for all areas together. channel: "" for all channels together. low, high: 95 % interval.

    of_ceiling: the value as a fraction of what the true rates score, where they are known. lead: by how much the
    network is ahead of this model, with its 95 % interval; None for the network itself.
    """

    session: str
    port: str
    metric: str
    model: str
    value: float
    low: float
    high: float
    n_channels: int
    n_bins: int
    area: str = ""
    channel: str = ""
    chance: float | None = None
    of_ceiling: float | None = None
    lead: tuple[float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Every score of one split. scored: the name of what was scored, beside baselines and truth."""

    split: str
    rows: tuple[Score, ...]
    scored: str = NETWORK

    def __iter__(self) -> Iterator[Score]:
        return iter(self.rows)

    def get(
        self, *, port: str, model: str = NETWORK, session: str = "", area: str = "", channel: str = "", metric: str = ""
    ) -> Score:
        """The first score that fits; KeyError where there is none."""
        for row in self.rows:
            fits = (row.port, row.model, row.area, row.channel) == (port, model, area, channel)
            if fits and session in ("", row.session) and metric in ("", row.metric):
                return row
        there = sorted({f"{r.metric} of {r.model} on {r.port}" for r in self.rows if not (r.area or r.channel)})
        raise KeyError(
            f"no score{f' {metric!r}' if metric else ''} of {model!r} on {port!r}"
            f"{f' in {area or channel!r}' if area or channel else ''}; there are: {', '.join(there)}"
        )

    def leads(self, models: Sequence[str]) -> list[tuple[str, str, str, str, str]]:
        """Session, port, metric, model, and the network's lead over it with its 95 % interval; no areas or channels."""
        told = []
        for (session, port, area, metric), found in self._lines().items():
            for model in models:
                lead = found[model].lead if model in found else None
                if lead is not None and not area:
                    low, high = (f"{bound + 0.0:.3f}" for bound in lead[1:])
                    told.append((session, port, metric, model, f"{lead[0] + 0.0:.3f} ({low} to {high})"))
        return told

    def worse_than_mean(self) -> WorseTargets:
        """The targets that the network predicts worse than their mean would, where that was scored, too."""
        return worse_in(self._lines().items(), f"on {self.split.replace('_', '-')} time")

    def to_json(self, path: Path | None = None) -> dict[str, Any]:
        """As a JSON document; written to `path`, whole or not at all, where one is given. NaN becomes null."""
        rows = [{key: _plain(value) for key, value in asdict(row).items()} for row in self.rows]
        document = {"split": self.split, "scores": rows}
        if path is not None:
            durable.write_json(Path(path), document)
        return document

    def _repr_html_(self) -> str:
        from neuroloom.ingest.shown import html_table

        head = ("session", "port", "area", "metric", "model", "value", "low", "high")
        shown = [row for row in self.rows if not row.channel]
        cells = (tuple(getattr(row, name) for name in head) for row in shown)
        return html_table(f"Scores of {self.split.replace('_', '-')} time", head, cells, len(shown))

    def __rich__(self) -> Any:
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        sessions = list(dict.fromkeys(row.session for row in self.rows))
        models = [name for name in dict.fromkeys(row.model for row in self.rows) if name != self.scored]
        has_truth = any(row.of_ceiling is not None for row in self.rows)
        table = Table(
            title=f"{self.split.replace('_', '-')} time{f' of {sessions[0]}' if len(sessions) == 1 else ''}",
            title_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        for column in (*(["session"] if len(sessions) > 1 else []), "port", "score"):
            table.add_column(column)
        for column in (*models, f"{self.scored} (95 %)", *(["of truth"] if has_truth else [])):
            table.add_column(column, justify="right", no_wrap=True)
        for (session, port, area, metric), found in self._lines().items():
            own = found.get(self.scored)
            cells = [_number(found.get(model)) for model in models] + [_with_bounds(own)]
            cells += [f"{own.of_ceiling:.0%}" if own and own.of_ceiling is not None else ""] if has_truth else []
            where = [session] if len(sessions) > 1 else []
            table.add_row(*map(escape, where), escape(f"  {area}" if area else port), SHORT.get(metric, metric), *cells)
        return table

    def __str__(self) -> str:
        from io import StringIO

        from rich.console import Console

        out = StringIO()
        Console(file=out, width=110).print(self)
        return out.getvalue()

    def _lines(self) -> dict[tuple[str, str, str, str], dict[str, Score]]:
        """Scores side by side; those of single channels are in the JSON only."""
        lines: dict[tuple[str, str, str, str], dict[str, Score]] = {}
        for row in self.rows:
            if not row.channel:
                lines.setdefault((row.session, row.port, row.area, row.metric), {})[row.model] = row
        return lines


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _number(score: Score | None) -> str:
    return "" if score is None else f"{round(score.value, 3) + 0.0:.3f}"  # no "-0.000"


def _with_bounds(score: Score | None) -> str:
    if score is None:
        return ""
    low, high = (round(bound, 2) + 0.0 for bound in (score.low, score.high))
    return f"{_number(score)} ({low:.2f} to {high:.2f})"


def evaluate(
    run: Predictor | Sequence[Predictor],
    split: Split,
    *,
    baselines: Sequence[str] = ("mean", "ridge"),
    rivals: Mapping[str, Sequence[Predictor]] | None = None,
    ceiling: Mapping[str, Matrix] | None = None,
    forward_s: float | None = None,
    seed: int = 0,
) -> Scores:
    """Score a run and its baselines on a split, usually `data.held_out`.

    run: one, or several trained alike from other seeds: the score is their mean, and the model "together" is the mean
        of what they expect (deep ensembles; Lakshminarayanan et al. 2017, NeurIPS).
    baselines: of "mean", "ridge", "glm", "kalman", "average" (over repeats of an event); each is fitted on the
        training time of the same sessions.
    rivals: other networks by name, each from one or more seeds; see `rivals.py`.
    ceiling: port -> what an oracle would predict for every bin of the session's features, (T, C) in the features' unit
        (spikes: true expected counts per bin); adds the model "truth". For one session only.
    forward_s: adds "forward" scores: the last so many seconds of each window, from inputs before them; None for what
        the run was trained for.
    A run that has a folder gets its `scores.json` there.
    Raises ValueError for an unknown baseline or a ceiling of another shape.
    """
    runs = list(run) if isinstance(run, Sequence) else [run]
    data = Windows(sessions=split.sessions, config=split.config)
    baselines = [baselines] if isinstance(baselines, str) else baselines
    check_baselines(baselines)
    models: dict[str, Sequence[Predictor]] = {runs[0].name: runs}
    models |= {made.name: [made] for made in (BASELINES[name](data) for name in baselines)} | dict(rivals or {})
    predicted = {name: [one.predict(split) for one in each] for name, each in models.items()}
    predicted |= _together(predicted[runs[0].name])
    if ceiling is not None:
        predicted["truth"] = [_oracle(split, ceiling)]
    rng = np.random.default_rng(seed)
    rows: list[Score] = []
    for session, port in _ports(split):
        rows += _scored(Task(split=split, session=session, port=port), predicted, rng, runs[0].name, "")
    rows += _forward(split, models, _forward_bins(runs[0], split, forward_s), rng, runs[0].name)
    scores = Scores(split=split.name, rows=tuple(rows), scored=runs[0].name)
    folder = getattr(runs[0], "folder", None)
    if folder is not None:
        scores.to_json(Path(folder) / "scores.json")
    return scores


def _ports(split: Split) -> list[tuple[str, str]]:
    return [(session, port) for session, one in split.sessions.items() for port in one.target_names]


def check_baselines(names: Sequence[str]) -> None:
    """Raise ValueError for one that is not there, naming those that are."""
    for name in names:
        if name not in BASELINES:
            raise ValueError(f"no baseline {name!r}; there are {', '.join(sorted(BASELINES))}")


def n_bins_ahead(forward_s: float | None, config: WindowConfig) -> int:
    """How many bins at the end of a window are to be predicted without its inputs. Raises ValueError."""
    if forward_s is None or forward_s == 0:
        return 0
    if not config.bin_s <= forward_s < config.length_s:
        raise ValueError(
            f"forward_s is {forward_s}; from a bin of {config.bin_s:g} s to below the window's {config.length_s:g} s "
            "is wanted, or 0 for none"
        )
    return round(forward_s / config.bin_s)


def _forward_bins(run: Predictor, split: Split, forward_s: float | None) -> int:
    if forward_s is not None:
        return n_bins_ahead(forward_s, split.config)
    trained_for = float(getattr(getattr(run, "config", None), "forward_s", 0.0))
    return round(trained_for / split.config.bin_s)


def _forward(
    split: Split, models: Mapping[str, Sequence[Predictor]], n_bins: int, rng: np.random.Generator, own: str
) -> list[Score]:
    """Scores of what is predicted without the last bins of the inputs, of all models that can."""
    if n_bins == 0:
        return []
    able = {name: each for name, each in models.items() if all(hasattr(one, "forecast") for one in each)}
    predicted = {name: [one.forecast(split, n_bins) for one in each] for name, each in able.items()}  # type: ignore[attr-defined]
    predicted |= _together(predicted.get(own, []))
    rows: list[Score] = []
    for session, port in _ports(split):
        task = Task(split=split, session=session, port=port, last_bins=n_bins)
        rows += _scored(task, predicted, rng, own, FORWARD)
    return rows


def _together(said: Sequence[Predicted]) -> dict[str, list[Predicted]]:
    """The mean of what several expect, as a model of its own; of a single one there is none."""
    if len(said) < 2:
        return {}
    return {TOGETHER: [{session: mean_of([one[session] for one in said]) for session in said[0]}]}


def mean_of(said: Sequence[Mapping[str, Matrix]]) -> dict[str, Matrix]:
    """Port by port the mean of what several predictors expect, all of the same shape."""
    return {port: np.mean([one[port] for one in said], axis=0) for port in said[0]}


def _oracle(split: Split, ceiling: Mapping[str, Matrix]) -> Predicted:
    if len(split.sessions) != 1:
        raise ValueError(f"a ceiling for {len(split.sessions)} sessions; it is taken for one at a time")
    ((session, one),) = split.sessions.items()
    found: dict[str, Matrix] = {}
    for port, truth in ceiling.items():
        made, n_bins = one.features[port].port, one.features.n_bins
        wanted = (n_bins, made.n_classes if made.is_classes else made.n_channels)
        if truth.shape != wanted:
            raise ValueError(f"ceiling of {port!r} has shape {truth.shape}; {wanted} is wanted")
        if not (made.is_rates or made.is_classes):
            truth = one.scalers[port].scaled(truth.astype(np.float32)).astype(np.float64)
        found[port] = np.concatenate([truth[s : s + split.config.n_bins] for s in split.tiles(session)])
    return {session: found}


def _scored(
    task: Task, predicted: Mapping[str, Sequence[Predicted]], rng: np.random.Generator, own: str, ahead: str
) -> list[Score]:
    """Every score of one port. ahead: what the name of its metrics begins with."""
    if not task.mask.any():
        return []
    weights = task.weights(rng)
    drawn = {n: picks(n, rng) for n in {len(each) for each in predicted.values()}}
    rows = []
    for metric in metrics_of(task):
        sums = {
            model: [metric.sums(task, one[task.session][task.port]) for one in each]
            for model, each in predicted.items()
            if all(task.port in one.get(task.session, {}) for one in each)
        }
        for area, channel, columns in task.groups():
            values = {m: resampled(s, weights, drawn[len(s)], metric, columns) for m, s in sums.items()}
            for model, found in values.items():
                row = _row(task, metric, model, found, values.get(own), columns)
                rows.append(replace(row, area=area, channel=channel, metric=f"{ahead}{metric.name}"))
    return _with_ceiling(rows)


def _row(task: Task, metric: Metric, model: str, found: Matrix, own: Matrix | None, columns: list[int]) -> Score:
    low, high = interval(found[1:])
    lead = None
    if own is not None and own is not found:
        lead = (float(own[0] - found[0]), *interval((own - found)[1:]))
    return Score(
        session=task.session,
        port=task.port,
        metric=metric.name,
        model=model,
        value=float(found[0]),
        low=low,
        high=high,
        n_channels=len(columns),
        n_bins=int(task.mask[:, columns].any(axis=1).sum()),
        chance=task.chance if metric.name == "balanced accuracy" else None,
        lead=lead,
    )


def _with_ceiling(rows: list[Score]) -> list[Score]:
    best = {(row.area, row.channel, row.metric): row.value for row in rows if row.model == "truth"}
    found = []
    for row in rows:
        top = best.get((row.area, row.channel, row.metric))
        usable = top is not None and np.isfinite(top) and top > 0 and row.model != "truth"
        found.append(replace(row, of_ceiling=row.value / top) if usable and top is not None else row)
    return found
