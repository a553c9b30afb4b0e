"""The pictures of studies, each drawn from the rows of its table alone.

curves     y over x, a line per group, with intervals
bars       one value per row with its interval, and a line where nothing is gained
heat       a value per pair of conditions, written into its cell
named_heat the same, where conditions are words: in the order of the rows
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from neuroloom.pipeline.studies._report import Row, Table

if TYPE_CHECKING:
    from neuroloom.pipeline.review.figures import Picture

LEGEND_WIDTH = 90  # characters side by side beneath a picture
Draw = Callable[[Table], "Picture | None"]


def curves(
    *,
    x: str,
    y: str,
    by: str,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    level: float | None = None,
    only: str = "",
) -> Draw:
    """y over x, a line per value of column `by`, with `y_low` and `y_high` as its interval. level: to compare with.

    only: a column that says which rows are drawn; all where it is left out.
    """

    def draw(table: Table) -> Picture | None:
        from neuroloom.pipeline.review.figures import CYCLE, MUTED, drawing, label, log_axis

        drawn = [row for row in table.rows if not only or row[only]]
        rows = [row for row in drawn if _known(row.get(x)) and _known(row.get(y))]
        if not rows:
            return None
        groups = list(dict.fromkeys(str(row[by]) for row in rows))
        columns = min(3, LEGEND_WIDTH // min(40, max(map(len, groups))))
        with drawing(760, 380 + 16 * -(-len(groups) // columns)) as figure:
            axes = figure.add_subplot()
            for i, group in enumerate(groups):
                part = sorted((row for row in rows if str(row[by]) == group), key=lambda row: float(row[x]))
                at, value = [float(row[x]) for row in part], [float(row[y]) for row in part]
                style = ("o-", "s--", "^:")[i // len(CYCLE) % 3]  # colours come round
                axes.plot(at, value, style, color=CYCLE[i % len(CYCLE)], markersize=4, label=label(group, 40))
                if all(_known(row.get(f"{y}_low")) for row in part):
                    low, high = ([float(row[f"{y}_{end}"]) for row in part] for end in ("low", "high"))
                    axes.fill_between(at, low, high, color=CYCLE[i % len(CYCLE)], alpha=0.18, linewidth=0)
                    axes.vlines(at, low, high, color=CYCLE[i % len(CYCLE)], linewidth=1)
            if level is not None:
                axes.axhline(level, color=MUTED, linewidth=1, linestyle="--")
            axes.set(xlabel=x_label, ylabel=y_label)
            for asked, name in ((log_x, "x"), (log_y, "y")):
                if asked:
                    getattr(axes, f"set_{name}scale")("log")
                    log_axis(getattr(axes, f"{name}axis"), (1.0, 3.0) if name == "y" else (1.0,))
            axes.grid()
            figure.legend(loc="outside lower center", ncols=columns, fontsize=8)
            return _titled(figure, table, _told(rows, x, y, by))

    return draw


def bars(*, name: str, value: str, x_label: str, level: float | None = None, log: bool = False) -> Draw:
    """One line per row: its value with its interval; an arrow for a value that is a bound. level: of nothing gained."""

    def draw(table: Table) -> Picture | None:
        from neuroloom.pipeline.review.figures import BLUE, MUTED, drawing, label, log_axis

        rows = [row for row in table.rows if _known(row.get(value))]
        if not rows:
            return None
        with drawing(760, 90 + 26 * len(rows)) as figure:
            axes = figure.add_subplot()
            at = list(range(len(rows)))
            for place, row in zip(at, rows, strict=True):
                axes.plot(float(row[value]), place, row.get(f"{value}_bound") or "o", color=BLUE)
            low, high = ([float(row.get(f"{value}_{e}") or row[value]) for row in rows] for e in ("low", "high"))
            axes.hlines(at, low, high, color=BLUE)
            if level is not None:
                axes.axvline(level, color=MUTED, linewidth=1, linestyle="--")
            if log:
                axes.set_xscale("log")
                log_axis(axes.xaxis, (1.0, 2.0, 5.0))
            axes.set_yticks(at, [label(str(row[name]), 44) for row in rows])
            axes.set_ylim(len(rows) - 0.4, -0.6)  # a share of the rows would leave long charts half empty
            axes.set(xlabel=x_label)
            axes.grid(axis="x")
            told = "; ".join(f"{row[name]} {row.get(f'{value}_bound') or ''}{_short(row[value])}" for row in rows)
            return _titled(figure, table, told)

    return draw


def heat(*, x: str, y: str, value: str, x_label: str, y_label: str, log: bool = True) -> Draw:
    """A value per pair of conditions, as colour and in figures."""

    def draw(table: Table) -> Picture | None:
        from neuroloom.pipeline.review.figures import drawing

        rows = [row for row in table.rows if _known(row.get(value))]
        if not rows:
            return None
        across, down = (sorted({float(row[side]) for row in rows}) for side in (x, y))
        cells = {(float(row[x]), float(row[y])): row for row in rows}
        with drawing(170 + 90 * len(across), 130 + 46 * len(down)) as figure:
            import numpy as np
            from matplotlib.colors import LogNorm, Normalize

            axes = figure.add_subplot()
            grid = np.array([[_value(cells.get((a, d)), value) for a in across] for d in down])
            ends = (float(np.nanmin(grid)), float(np.nanmax(grid)))
            norm = LogNorm(*ends) if log and ends[0] > 0 else Normalize(*ends)
            axes.imshow(grid, norm=norm, cmap="viridis", aspect="auto", origin="lower")
            for (i, j), found in np.ndenumerate(grid):
                row = cells.get((across[j], down[i]))
                if row is not None and found == found:
                    dark = float(norm(found)) < 0.6
                    text = f"{row.get(f'{value}_bound', '')}{found:.2g}"
                    axes.text(j, i, text, ha="center", va="center", color="white" if dark else "black")
            axes.set_xticks(range(len(across)), [f"{a:g}" for a in across])
            axes.set_yticks(range(len(down)), [f"{d:g}" for d in down])
            axes.set(xlabel=x_label, ylabel=y_label)
            return _titled(figure, table, _told(rows, x, value, y))

    return draw


def named_heat(
    *, x: str, y: str, value: str, told: str = "", low: float | None = None, high: float | None = None
) -> Draw:
    """A value per pair of named conditions, as colour and in figures. low, high: ends of the colours.

    told: a column with what is written into a cell; the value where it is left out.
    """

    def draw(table: Table) -> Picture | None:
        from neuroloom.pipeline.review.figures import drawing, label

        rows = [row for row in table.rows if _known(row.get(value))]
        if not rows:
            return None
        across, down = (list(dict.fromkeys(str(row[side]) for row in rows)) for side in (x, y))
        values = [float(row[value]) for row in rows]
        ends = (min(values) if low is None else low, max(values) if high is None else high)
        with drawing(max(420, 190 + 96 * len(across)), 110 + 36 * len(down)) as figure:
            import numpy as np
            from matplotlib.colors import Normalize

            axes, norm = figure.add_subplot(), Normalize(*ends)
            grid = np.full((len(down), len(across)), np.nan)
            for row, found in zip(rows, values, strict=True):
                place = down.index(str(row[y])), across.index(str(row[x]))
                grid[place] = found
                colour = "white" if float(norm(found)) < 0.6 else "black"
                words = str(row[told]) if told else f"{found:.2g}"
                axes.text(place[1], place[0], words, ha="center", va="center", color=colour)
            axes.imshow(grid, norm=norm, cmap="viridis", aspect="auto")
            axes.set_xticks(range(len(across)), [label(one, 20) for one in across])
            axes.set_yticks(range(len(down)), [label(one, 24) for one in down])
            return _titled(figure, table, _told(rows, x, value, y))

    return draw


def _known(value: Any) -> bool:
    return isinstance(value, int | float) and value == value


def _value(row: Row | None, value: str) -> float:
    return float("nan") if row is None else float(row[value])


def _short(value: Any) -> str:
    return f"{float(value):.2f}"


def _told(rows: Sequence[Row], x: str, y: str, by: str) -> str:
    return "; ".join(f"{row[by]} at {row[x]}: {_short(row[y])}" for row in rows[:24])


def _titled(figure: Any, table: Table, told: str) -> Picture:
    """The page writes the table's title above the picture, so it is not drawn."""
    from neuroloom.pipeline.review.figures import picture

    return picture(figure, title=table.title, alt=f"{table.title}: {told}"[:900], caption=table.caption)
