"""What a run's page shows of the inside of its network: its pathways, and where it rests; read without torch.

pathways.json    per session and pathway: share of the input, what is lost without it, what its messages tell
mechanism.json   per session: fixed points, whether small differences grow
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from neuroloom.pipeline.review.run_scores import is_number

PATHWAYS, MECHANISM = "pathways.json", "mechanism.json"
MOST_ROWS = 200


@dataclass(frozen=True, kw_only=True)
class PathwayView:
    """A pathway in a session. lost: nats per target without it. tells: R2 of each target from its messages."""

    session: str
    name: str
    share: float
    lost: Mapping[str, float]
    tells: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class InsideView:
    """warning: what the numbers are not. n_more: rows that are not shown. mechanism: a sentence per session."""

    warning: str
    pathways: tuple[PathwayView, ...]
    ports: tuple[str, ...]
    n_more: int
    mechanism: tuple[str, ...]

    @classmethod
    def read(cls, pathways: Any, mechanism: Any) -> InsideView | None:
        """Of what lies in the two files, None each where there is none; what has another form is left out."""
        rows = tuple(_pathways(pathways))
        sentences = tuple(_sentences(mechanism))
        if not rows and not sentences:
            return None
        return cls(
            warning=str(pathways.get("warning", "")) if isinstance(pathways, Mapping) else "",
            pathways=rows[:MOST_ROWS],
            ports=tuple(dict.fromkeys(port for row in rows for port in row.lost)),
            n_more=max(0, len(rows) - MOST_ROWS),
            mechanism=sentences,
        )


def _pathways(content: Any) -> Iterator[PathwayView]:
    rows = content.get("pathways") if isinstance(content, Mapping) else None
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, Mapping) or not is_number(row.get("share")):
            continue
        yield PathwayView(
            session=str(row.get("session")),
            name=f"{row.get('source')} → {row.get('target')}",
            share=float(row["share"]),
            lost=_numbers(row.get("lesion")),
            tells=_numbers(row.get("carries")),
        )


def _numbers(said: Any) -> dict[str, float]:
    return {str(k): float(v) for k, v in said.items() if is_number(v)} if isinstance(said, Mapping) else {}


def _sentences(content: Any) -> Iterator[str]:
    rows = content.get("sessions") if isinstance(content, Mapping) else None
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, Mapping) and isinstance(row.get("words"), str):
            yield row["words"]
