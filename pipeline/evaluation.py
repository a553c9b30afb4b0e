"""Score a run on time it has not seen, beside what it must beat, with intervals.

    spikes               bits per spike over the mean rate of training time (Pei et al. 2021, NLB'21)
    saccades             bits per event, likewise
    tokens               bits per token over how often each occurs in training time
    continuous channels  R2 per channel, 1 - SSE / SST about the scored data's own mean
    choice               balanced accuracy; chance is one over the number of classes that occur

Intervals are percentile bootstraps over blocks of time: a bin is not independent of its neighbour, a block nearly is.
Shapes: P pieces of time, N bins, C channels, K classes, S sums kept per channel, R resamplings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest import durable
from neuroloom.pipeline.baselines import Predicted, Predictor, glm_baseline, mean_baseline, ridge_baseline
from neuroloom.pipeline.windowing import SessionData, Split, Windows

Matrix = NDArray[np.float64]
Flags = NDArray[np.bool_]

N_RESAMPLED = 1000
MIN_RATE = 1e-9  # spikes per bin: keeps the logarithm of a rate of 0 finite
FEWEST_BLOCKS = 8
NETWORK = "network"
RATES = ("spikes", "negative_binomial", "saccades")
METRICS = {
    "spikes": "bits per spike", "negative_binomial": "bits per spike", "saccades": "bits per event",
    "choice": "balanced accuracy", "tokens": "bits per token",
}  # fmt: skip
SHORT = {"bits per spike": "bits/spike", "balanced accuracy": "balanced acc."}


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number. area: "" for all areas together. channel: "" for all channels together. low, high: 95 % interval.

    of_ceiling: the value as a fraction of what the true rates score, where they are known.
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


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Every score of one split. scored: the name of what was scored, beside baselines and truth."""

    split: str
    rows: tuple[Score, ...]
    scored: str = NETWORK

    def __iter__(self) -> Iterator[Score]:
        return iter(self.rows)

    def get(self, *, port: str, model: str = NETWORK, session: str = "", area: str = "", channel: str = "") -> Score:
        """The first score that fits; KeyError where there is none."""
        for row in self.rows:
            fits = (row.port, row.model, row.area, row.channel) == (port, model, area, channel)
            if fits and session in ("", row.session):
                return row
        raise KeyError(f"no score of {model!r} on {port!r}; there are {sorted({(r.model, r.port) for r in self.rows})}")

    def to_json(self, path: Path | None = None) -> dict[str, Any]:
        """As a JSON document; written to `path`, whole or not at all, where one is given. NaN becomes null."""
        rows = [{key: _plain(value) for key, value in asdict(row).items()} for row in self.rows]
        document = {"split": self.split, "scores": rows}
        if path is not None:
            durable.write_json(Path(path), document)
        return document

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
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _number(score: Score | None) -> str:
    return "" if score is None else f"{round(score.value, 3) + 0.0:.3f}"  # no "-0.000"


def _with_bounds(score: Score | None) -> str:
    if score is None:
        return ""
    low, high = (round(bound, 2) + 0.0 for bound in (score.low, score.high))
    return f"{_number(score)} ({low:.2f} to {high:.2f})"


def evaluate(
    run: Predictor,
    split: Split,
    *,
    baselines: Sequence[str] = ("mean", "ridge"),
    ceiling: Mapping[str, Matrix] | None = None,
    seed: int = 0,
) -> Scores:
    """Score a run and its baselines on a split, usually `data.held_out`.

    baselines: of "mean", "ridge", "glm"; each is fitted on the training time of the same sessions.
    ceiling: port -> what an oracle would predict for every bin of the session's features, (T, C) in the features' unit
        (spikes: true expected counts per bin); adds the model "truth". For one session only.
    A run that has a folder gets its `scores.json` there.
    Raises ValueError for an unknown baseline or a ceiling of another shape.
    """
    data = Windows(sessions=split.sessions, config=split.config)
    makers: dict[str, Callable[[Windows], Predictor]] = {
        "mean": mean_baseline,
        "ridge": ridge_baseline,
        "glm": glm_baseline,
    }
    unknown = [name for name in baselines if name not in makers]
    if unknown:
        raise ValueError(f"no baseline {unknown[0]!r}; there are {sorted(makers)}")
    predictors: list[Predictor] = [run, *(makers[name](data) for name in baselines)]
    predicted = {each.name: each.predict(split) for each in predictors}
    if ceiling is not None:
        predicted["truth"] = _oracle(split, ceiling)
    rng = np.random.default_rng(seed)
    rows: list[Score] = []
    for session, one in split.sessions.items():
        for port in one.target_names:
            rows += _scored(_Task(split=split, session=session, port=port), predicted, rng)
    scores = Scores(split=split.name, rows=tuple(rows), scored=run.name)
    folder = getattr(run, "folder", None)
    if folder is not None:
        scores.to_json(Path(folder) / "scores.json")
    return scores


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


class _Task:
    """One port of one session: targets, masks, and the piece of time that each bin belongs to."""

    def __init__(self, *, split: Split, session: str, port: str) -> None:
        self.session, self.port = session, port
        self.data: SessionData = split.sessions[session]
        starts, length = split.tiles(session), split.config.n_bins
        cuts = [self.data.targets_at(port, start, start + length) for start in starts]
        self.target = np.concatenate([cut[0] for cut in cuts]).astype(np.float64)
        self.mask = np.concatenate([cut[1] for cut in cuts])
        blocks = self.data.blocks[split.name]
        by_block = np.searchsorted([first for first, _ in blocks], starts, side="right") - 1
        # With few blocks an interval over them means little: then over single windows, which is a little too narrow.
        pieces = by_block if len(blocks) >= FEWEST_BLOCKS else np.arange(len(starts))
        self.piece = np.repeat(pieces, length)
        self.n_pieces = int(pieces.max()) + 1

    def summed(self, values: Matrix) -> Matrix:
        """Sums over the bins of each piece, (P, ...) of (N, ...)."""
        total = np.zeros((self.n_pieces, *values.shape[1:]))
        np.add.at(total, self.piece, values)
        return total


def _scored(task: _Task, predicted: Mapping[str, Predicted], rng: np.random.Generator) -> list[Score]:
    made = task.data.features[task.port]
    kind = made.port.kind
    if not task.mask.any():
        return []
    draws = rng.multinomial(task.n_pieces, np.full(task.n_pieces, 1 / task.n_pieces), size=N_RESAMPLED)
    weights = np.concatenate([np.ones((1, task.n_pieces)), draws])  # the first line is the data as they are
    rows = []
    for model, by_session in predicted.items():
        values = by_session.get(task.session, {}).get(task.port)
        if values is None:
            continue
        sums = np.einsum("rp,pcs->rcs", weights, _sums(task, kind, values))
        for area, channel, columns in _groups(task, kind):
            resampled = _value(kind, sums[:, columns])
            low, high = _interval(resampled[1:])
            score = Score(
                session=task.session,
                port=task.port,
                metric=METRICS.get(kind, "R2"),
                model=model,
                value=float(resampled[0]),
                low=low,
                high=high,
                n_channels=len(columns),
                n_bins=int(task.mask[:, columns].any(axis=1).sum()),
                area=area,
                channel=channel,
                chance=_chance(task) if kind == "choice" else None,
            )
            rows.append(score)
    return _with_ceiling(rows)


def _groups(task: _Task, kind: str) -> Iterator[tuple[str, str, list[int]]]:
    """Area, channel, columns: all together, each area, each channel."""
    port = task.data.features[task.port].port
    everything = list(range(port.n_channels))
    yield "", "", everything
    areas = port.areas or ("",) * port.n_channels
    for area in dict.fromkeys(area for area in areas if area):
        yield area, "", [i for i in everything if areas[i] == area]
    if port.n_channels > 1:
        for i, name in enumerate(port.channel_names):
            yield areas[i], name, [i]


def _sums(task: _Task, kind: str, values: Matrix) -> Matrix:
    """What a score is made of, added up per piece and channel, (P, C, S)."""
    y, known = task.target, task.mask
    if kind in RATES:
        base = np.maximum(task.data.mean_rates[task.port].astype(np.float64), MIN_RATE)
        rate = np.maximum(values, MIN_RATE)
        nats = np.where(known, y * np.log(rate / base) - (rate - base), 0)
        return task.summed(np.stack([nats, np.where(known, y, 0)], axis=2))
    if kind == "tokens":
        token, rows = y[:, 0].astype(np.int64), np.arange(len(y))
        said = np.maximum(values[rows, token] / np.maximum(values.sum(axis=1), MIN_RATE), MIN_RATE)
        nats = np.log(said / task.data.class_shares[task.port].astype(np.float64)[token])[:, None] * known
        return task.summed(np.stack([nats, known.astype(np.float64)], axis=2))
    if kind == "choice":
        n_classes = values.shape[1]
        pair = y[:, 0].astype(np.int64) * n_classes + values.argmax(axis=1)
        hits = np.eye(n_classes**2)[pair] * known
        return task.summed(hits)[:, None, :]
    error = np.where(known, (y - values) ** 2, 0)
    return task.summed(np.stack([error, known.astype(np.float64), np.where(known, y, 0), np.where(known, y**2, 0)], 2))


def _value(kind: str, sums_RCS: Matrix) -> Matrix:
    """The score of each resampling, (R,)."""
    if kind in RATES or kind == "tokens":
        total = sums_RCS.sum(axis=1)
        return _ratio(total[:, 0], total[:, 1] * np.log(2))
    if kind == "choice":
        n_classes = round(sums_RCS.shape[2] ** 0.5)
        confusion = sums_RCS[:, 0].reshape(-1, n_classes, n_classes)
        recall = _ratio(np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2))
        return _mean(recall)
    error, n, y, yy = np.moveaxis(sums_RCS, 2, 0)
    spread = yy - _ratio(y**2, n)
    return _mean(1 - _ratio(error, np.where(spread > 1e-9 * np.maximum(yy, 1e-30), spread, np.nan)))


def _ratio(above: Matrix, below: Matrix) -> Matrix:
    """Quotient, NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)


def _mean(values: Matrix) -> Matrix:
    """Mean over the last axis of what is not NaN."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0).sum(axis=1), known.sum(axis=1).astype(np.float64))


def _interval(values: Matrix) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if values.size == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _chance(task: _Task) -> float:
    return 1 / max(1, np.unique(task.target[task.mask]).size)


def _with_ceiling(rows: list[Score]) -> list[Score]:
    best = {(row.area, row.channel): row.value for row in rows if row.model == "truth"}
    found = []
    for row in rows:
        top = best.get((row.area, row.channel))
        usable = top is not None and np.isfinite(top) and top > 0 and row.model != "truth"
        found.append(replace(row, of_ceiling=row.value / top) if usable and top is not None else row)
    return found
