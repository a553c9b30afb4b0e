"""Pictures: matplotlib figures as SVG in a data URI, readable on light and on dark paper.

Design rationale: SVG, whose text stays text and sharp; what would be heavy in it (thousands of points) is drawn
`rasterized` and lies in it as a small PNG, so a picture's size does not grow with the recording. Ink, muted and grid
colours are placeholders that become CSS variables with a value for light and one for dark; data colours are of a middle
lightness that stands out on both. pyplot is not used: its state is global, a Figure's is not.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from neuroloom.pipeline.review.text import visible

INK, MUTED, GRID = "#1f2a3b", "#5e6a7b", "#dcdfe3"  # placeholders, each used for nothing else
BLUE, ORANGE, GREEN, RED, PURPLE, TEAL, ROSE, GREY = (
    "#3f86c4",
    "#d17f22",
    "#3f9a5f",
    "#d2483f",
    "#8a6fc9",
    "#2a9a9a",
    "#c76a9a",
    "#8a929b",
)
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, TEAL, ROSE, RED, GREY)
MODALITY_COLOURS = {
    "eeg": BLUE,
    "meg": BLUE,
    "fnirs": BLUE,
    "ieeg": TEAL,
    "wideband": TEAL,
    "lfp": TEAL,
    "gaze": ORANGE,
    "pupil": ORANGE,
    "units": PURPLE,
    "behaviour": GREEN,
    "position": GREEN,
    "events": ROSE,
    "trials": GREY,
    "intervals": GREY,
}

DPI = 100
_RASTER_DPI = 180
_STYLE = """<style>
:root { --ink: #1f2933; --muted: #5d6976; --grid: #dfe2e6 }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e6e9; --muted: #9aa5b1; --grid: #363d44 } }
text { font-family: system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif !important }
</style>"""
_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.parse_math": False,  # a channel named "$\\frac" is a name, not a formula
    "text.usetex": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "neuroloom",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "figure.facecolor": "none",
    "lines.linewidth": 1.3,
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure as a page shows it. alt: what is to be seen, for those who cannot; caption: how to read it."""

    title: str
    uri: Markup
    alt: str
    caption: str
    width_px: int
    height_px: int
    wide: bool = False


@contextmanager
def drawing(width_px: int, height_px: int) -> Iterator[Any]:
    """A figure of that size to draw on, with our settings in force; nothing of it outlives the block."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # Labels in scripts the drawing font lacks are drawn by the browser's fonts; matplotlib need not have them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure = Figure(figsize=(width_px / DPI, height_px / DPI), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def picture(figure: Any, *, title: str, alt: str, caption: str) -> Picture:
    """The figure as a picture; call it inside `drawing`, whose settings it still needs."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, dpi=_RASTER_DPI, metadata={"Date": None, "Creator": None})
    svg = themed(buffer.getvalue().decode("utf-8"))
    width_px, height_px = (round(side * DPI) for side in figure.get_size_inches())
    return Picture(
        title=title,
        uri=data_uri(svg),
        alt=alt,
        caption=caption,
        width_px=width_px,
        height_px=height_px,
        wide=width_px > 760,
    )


def themed(svg: str) -> str:
    """The SVG with its placeholder colours replaced by variables that follow the reader's light or dark scheme."""
    for placeholder, variable in ((INK, "--ink"), (MUTED, "--muted"), (GRID, "--grid")):
        svg = re.sub(rf"(fill|stroke): {placeholder}", rf"\1: var({variable})", svg)
    start = svg.index("<svg")
    end = svg.index(">", start) + 1
    return svg[start:end] + _STYLE + svg[end:]


def data_uri(svg: str) -> Markup:
    """The SVG as a data URI, safe in a quoted attribute: quotes, `<`, `>`, `&`, `#` and `%` are percent-encoded.

    Percent-encoded rather than base64, since pixels inside are base64 already: the page is a quarter smaller.
    """
    return Markup("data:image/svg+xml," + quote(svg.replace("\n", " "), safe=" !$()*+,-./:;=?@[]^_{|}~"))


def log_axis(axis: Any, subs: tuple[float, ...] = (1.0,)) -> None:
    """Ticks of a logarithmic axis at powers of ten (times `subs`), as plain numbers while those are short."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(base=10, subs=subs))
    axis.set_major_formatter(lambda value, _: power_of_ten(value))
    axis.set_minor_formatter(NullFormatter())


def power_of_ten(value: float) -> str:
    """`0.01`, `200`, `100,000`, `10⁻⁹`, `5·10⁶`."""
    if value <= 0 or 1e-3 <= value <= 1e5:
        return f"{value:,g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if mantissa == "1" else f"{mantissa}·{power}"


def label(name: str, longest: int = 22) -> str:
    """A name as it stands at an axis: short, and with nothing in it that acts."""
    return visible(name, longest)


def time_axis(axes: Any, start_s: float, stop_s: float, *, titled: bool = True) -> tuple[float, str]:
    """Sets a time axis in the unit that suits its length; returns what to divide seconds by, and the unit's sign."""
    length_s = stop_s - start_s
    factor, unit = (1.0, "s") if length_s <= 600 else (60.0, "min") if length_s <= 3 * 3600 else (3600.0, "h")
    axes.set_xlim(start_s / factor, stop_s / factor)
    if titled:
        axes.set_xlabel(f"session time ({unit})")
    return factor, unit
