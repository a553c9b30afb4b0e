"""What a run shows on the dashboard: one page with a picture, one table, one progress bar, one link.

Artifacts are plain text to everybody who sees the dashboard, and lists return them whole: codes instead of names, and
less than 150 kB each.
"""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from neuroloom.flows.environment import review_url
from neuroloom.flows.submitting import UNREACHABLE
from neuroloom.pipeline.store import printable

MAX_BYTES = 150_000
MOST_ROWS = 200
STAGES = {"computing": 5, "reading": 15, "aligning": 35, "sorting": 50, "quality": 75, "writing": 90}
PERIOD_S = 2.0


class Bar:
    """A progress bar that moves at most every two seconds; without a server it stands still, the work goes on."""

    def __init__(self, description: str) -> None:
        self._last_s = 0.0
        self._artifact: UUID | None = None
        with suppress(*UNREACHABLE):
            self._artifact = cast(UUID, create_progress_artifact(0.0, description=description))

    def move(self, share: float) -> None:
        """So much is done, of 1."""
        if time.monotonic() - self._last_s > PERIOD_S:
            self._last_s = time.monotonic()
            self._show(share)

    def finish(self) -> None:
        """All done."""
        self._show(1.0)

    def _show(self, share: float) -> None:
        if self._artifact is not None:
            with suppress(*UNREACHABLE):
                update_progress_artifact(self._artifact, progress=min(100.0, 100.0 * share))


class Progress:
    """The stages of an ingest, as a bar and in the run's log."""

    def __init__(self, description: str, log: Any) -> None:
        self._log, self._bar = log, Bar(description)

    def __call__(self, message: str) -> None:
        """A stage has begun, told as "what: stage …". Only the stage is shown: file names may name people."""
        stage = message.rpartition(": ")[2].split(" ")[0]
        self._log.info("%s", stage)
        if stage in STAGES:
            self._bar.move(STAGES[stage] / 100)

    def finish(self) -> None:
        """All done."""
        self._bar.finish()


def session_page(result: Mapping[str, Any]) -> None:
    """What a recording became: a page with a picture, a table of streams and a link to the review page."""
    session = str(result["session"])
    key = artifact_key(session)
    lines = [f"## {session}", "", f"{result['state']}, read as {plain(result['format'])}", ""]
    lines += [f"![streams over time]({data_uri(timeline_png(result['streams']))})", ""]
    lines += [f"- {sync_line(sync)}" for sync in result["sync"]]
    create_markdown_artifact(bounded("\n".join(lines)), key=key, description="what the recording became")
    rows = [{name: plain(value) for name, value in stream.items()} for stream in result["streams"]]
    if rows:
        create_table_artifact(rows, key=f"{key}-streams", description="streams")
    if review_url():
        create_link_artifact(f"{review_url()}/{session}.html", link_text="review page", key=f"{key}-review")


def run_page(
    run: str, metrics: Sequence[Mapping[str, Any]], scores: Sequence[Mapping[str, Any]], warnings: Sequence[str] = ()
) -> None:
    """What a training came to: a page with the loss, warnings and the link to the review page, a table of scores."""
    key = f"run-{artifact_key(run)}"
    link = f"[review page]({review_url()}/run-{run}.html)" if review_url() else ""
    warned = "".join(f"- {plain(line)}\n" for line in warnings)
    text = f"## {plain(run)}\n\n{warned}\n![loss over steps]({data_uri(loss_png(metrics))})\n\n{link}"
    create_markdown_artifact(bounded(text), key=key, description="loss while training")
    rows = [
        {name: plain(row[name]) for name in ("session", "port", "metric", "model", "value", "low", "high")}
        for row in scores
        if not row["area"] and not row["channel"]
    ]
    if rows:
        create_table_artifact(rows, key=f"{key}-scores", description="held-out time")


def study_page(run: str, sentence: str, wanted: Sequence[Mapping[str, Any]]) -> None:
    """What a study says: its sentence with a link to the page, and what was wanted beside what was found."""
    key = f"run-{artifact_key(run)}"
    link = f"[review page]({review_url()}/run-{run}.html)" if review_url() else ""
    text = f"## {plain(run)}\n\n{plain(sentence)}\n\n{link}"
    create_markdown_artifact(bounded(text), key=key, description="what the study says")
    rows = [{name: plain(row[name]) for name in ("what", "wanted", "found", "met")} for row in wanted]
    if rows:
        create_table_artifact(rows, key=f"{key}-wanted", description="wanted and found")


def counts_table(counts: Mapping[str, int]) -> None:
    """How many drops are in each state."""
    rows = [{"state": state, "drops": str(n)} for state, n in counts.items()] or [{"state": "none", "drops": "0"}]
    create_table_artifact(rows, key="drops", description="the inbox")


def checks_page(found: Any) -> None:
    """What reading published files came to: a sentence, and a row per damaged file or dataset with what to do."""
    create_markdown_artifact(f"## verify\n\n{plain(found.sentence)}", key="verify", description="published files")
    rows = [
        {
            "session": plain(d["session"]),
            "version": plain(d["version"]),
            "file": plain(each["file"]),
            "dataset": plain(each["dataset"]),
            "problem": plain(each["problem"]),
            "what to do": plain(d["advice"]),
        }
        for d in found.damaged
        for each in d["damage"]
    ]
    none = {"session": "all that were read", "version": "", "file": "", "dataset": "", "problem": "none"}
    create_table_artifact(rows[:MOST_ROWS] or [none], key="damage", description="what is damaged")


def space_table(kinds: Sequence[Any]) -> None:
    """What takes how much, and what may be deleted."""
    rows = [
        {
            "what": kind.name,
            "entries": str(kind.n_entries),
            "MB": f"{kind.n_bytes / 1e6:.1f}",
            "may be deleted, MB": f"{kind.bytes_to_go / 1e6:.1f}",
            "rule": kind.rule,
        }
        for kind in kinds
    ]
    create_table_artifact(rows, key="space", description="disk use and retention")


def ports_table(features: Any) -> None:
    """What a session's features are: a row per port."""
    rows = [
        {
            "port": plain(name),
            "kind": made.port.kind,
            "channels": str(made.port.n_channels),
            "known": f"{float(made.valid.mean()):.0%}",
            "times known to": f"{made.uncertainty_ms:.2f} ms, at worst {float(made.uncertainty_T_ms.max()):.2f} ms",
        }
        for name, made in features.ports.items()
    ]
    if rows:
        key = f"features-{artifact_key(features.session_id)}"
        create_table_artifact(rows, key=key, description=f"bins of {features.bin_s:g} s")


def trials_table(run: str, found: Mapping[str, Any]) -> None:
    """What every trial of a search came to, the best first."""
    ranked = sorted(found["trials"], key=lambda row: (row["loss"] is None, row["loss"]))
    rows = [
        {"trial": str(row["trial"]), "loss": "failed" if row["loss"] is None else f"{row['loss']:.4f}"}
        | {plain(name): plain(str(value)) for name, value in row["values"].items()}
        for row in ranked[:MOST_ROWS]
    ]
    create_table_artifact(rows, key=f"search-{artifact_key(run)}", description="trials by validation loss")


def refusal_page(drop_id: int, reason: str) -> None:
    """Why a drop was refused."""
    text = f"## drop {drop_id} was refused\n\n{plain(reason)}\n\n`neuroloom quarantine` lists it, `retry` puts it back."
    create_markdown_artifact(bounded(text), key=f"drop-{drop_id}-refused")


def sync_line(sync: Mapping[str, Any]) -> str:
    """How one device's clock was carried over."""
    return (
        f"{plain(sync['from'])} → {plain(sync['to'])}: {sync['residual_ms']:.2f} ms, {sync['drift_ppm']:.1f} ppm, "
        f"{sync['n_matched']} pulses matched, {sync['n_lost']} lost ({plain(sync['method'])})"
    )


def timeline_png(streams: Sequence[Mapping[str, Any]]) -> bytes:
    """Which stream was recorded when, as a small PNG."""
    from matplotlib.figure import Figure

    height = 0.6 + 0.22 * max(len(streams), 1)
    figure = Figure(figsize=(7, height), layout="constrained")
    axes = figure.add_subplot()
    for row, stream in enumerate(streams[:30]):
        axes.broken_barh([(float(stream["start_s"] or 0), float(stream["duration_s"] or 0))], (row - 0.35, 0.7))
    axes.set_yticks(range(len(streams[:30])), [plain(s["name"]).replace("$", " ")[:28] for s in streams[:30]])
    axes.set_xlabel("session time / s")
    axes.invert_yaxis()
    return _png(figure)


def loss_png(metrics: Sequence[Mapping[str, Any]]) -> bytes:
    """Training and validation loss over steps, as a small PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.add_subplot()
    for key, what in (("loss", "training"), ("validation", "validation")):
        curve = [(row["step"], row[key]) for row in metrics if row.get(key) is not None]
        if curve:
            axes.plot(*zip(*curve, strict=True), label=what)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.legend()
    return _png(figure)


def _png(figure: Any) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=80)
    return picture.getvalue()


def data_uri(png: bytes) -> str:
    """A PNG as Markdown can show it without a file beside it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def plain(value: Any) -> str:
    """Text that stays text in Markdown and HTML, whatever a header holds."""
    shown = re.sub(r"[<>&`\[\]()!|\\*#\r\n\x00-\x1f]", " ", str(value))[:200]
    return printable(re.sub(r"(?i)(?<=:)(?=//)|(?<=\bwww)(?=\.)", " ", shown))  # an address is no link


def bounded(markdown: str) -> str:
    """Raises ValueError for a page that is too large for a list of artifacts."""
    if len(markdown.encode()) > MAX_BYTES:
        raise ValueError(f"a page of {len(markdown.encode())} bytes; at most {MAX_BYTES} are shown")
    return markdown


def artifact_key(name: str) -> str:
    """A name as Prefect wants keys: lower case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
