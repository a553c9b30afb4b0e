"""Make the pictures of the README and the guide from the sample data, the examples and a review page.

    python docs/make_pictures.py

idea.svg follows the reader's light or dark scheme; page.png and today.png need Chromium, and stay as they are without.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from neuroloom.ingest import Session, read
from neuroloom.models import Topology
from neuroloom.models.drawing import draw_topology, places_of
from neuroloom.pipeline import align
from neuroloom.pipeline.review.figures import BLUE, GREY, INK, MUTED, ORANGE, drawing, themed

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
EXAMPLES = {"look_at_a_session": "session", "train_a_network": "run", "bring_a_connectome": "topology"}
SPAN_S = (8.0, 14.0)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """All of them, and how large each is."""
    os.chdir(ROOT)
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "idea.svg").write_text(idea(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for example, picture in EXAMPLES.items():
            subprocess.run([sys.executable, f"docs/examples/{example}.py", folder], check=True)
            small(Path(folder) / f"{picture}.png", PICTURES / f"{picture}.png")
        pages(Path(folder))
    for path in sorted(PICTURES.iterdir()):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1e3:.0f} kB")


def small(source: Path, target: Path) -> None:
    """A picture of few colours as one of few bytes."""
    with Image.open(source) as image:
        image.convert("RGB").quantize(40, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            target, optimize=True
        )


def idea() -> str:
    """Devices on their own clocks, one session, a network of areas: drawn from the sample person."""
    recordings = read("sample_data/person")
    session = align(recordings)
    with drawing(1120, 330) as figure:
        columns = figure.subfigures(1, 3, wspace=0.06, width_ratios=(1, 1, 1.1))
        _devices(columns[0], recordings, session)
        _session(columns[1], session)
        _network(columns[2])
        for x in (0.325, 0.645):
            figure.text(x, 0.48, "\u2192", fontsize=26, color=MUTED, ha="center")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, dpi=80, metadata={"Date": None, "Creator": None})
    return themed(buffer.getvalue().decode("utf-8"))


def _devices(panel: Any, recordings: list[Any], session: Session) -> None:
    """Two devices, each with the seconds of its own clock below it."""
    panel.suptitle("two devices, each on its own clock", fontsize=11, color=INK)
    gaze = session.clock_maps[0]
    own_s = {recordings[0].clock: SPAN_S, recordings[1].clock: tuple(gaze.inverse_seconds(SPAN_S))}
    for axes, recording, name in zip(panel.subplots(2, 1), recordings, ("eeg", "gaze"), strict=True):
        start_s, stop_s = own_s[recording.clock]
        _trace(axes, recording[name], start_s, stop_s, name)
        axes.set_xlabel(f"seconds of the {'amplifier' if name == 'eeg' else 'eye tracker'}", fontsize=8)


def _session(panel: Any, session: Session) -> None:
    """The same samples on one axis, with the events of the task."""
    clock = session.clock_maps[0]
    panel.suptitle("one session, on one clock", fontsize=11, color=INK)
    all_axes = panel.subplots(3, 1, sharex=True, height_ratios=(1, 1, 0.35))
    for axes, name in zip(all_axes, ("eeg", "gaze"), strict=False):
        _trace(axes, session[name], *SPAN_S, name)
    events = session["markers"].between(*SPAN_S)
    for axes in all_axes:
        axes.vlines(events.times_s, 0, 1, transform=axes.get_xaxis_transform(), color=GREY, linewidth=0.6, alpha=0.6)
    all_axes[2].set(yticks=[], xlabel="session time (s)", xlim=SPAN_S)
    all_axes[2].set_ylabel("events", fontsize=8, rotation=0, ha="right", va="center")
    found = f"{clock.drift_ppm:.0f} ppm of drift found, known to {clock.residual_ms:.1f} ms"
    all_axes[1].set_title(found, fontsize=8, color=MUTED, loc="right")


def _trace(axes: Any, signal: Any, start_s: float, stop_s: float, name: str) -> None:
    part = signal.between(start_s, stop_s)
    (values,) = part.values()
    times_s = part.segments[0].timebase.seconds(np.arange(len(values)))
    shown = values[:, part.channel_names.index("O1")] if name == "eeg" else values[:, 0]
    axes.plot(times_s, shown, color=BLUE if name == "eeg" else ORANGE, linewidth=0.8, rasterized=True)
    axes.set(yticks=[], xlim=(start_s, stop_s))
    axes.set_ylabel("EEG" if name == "eeg" else "gaze", fontsize=8, rotation=0, ha="right", va="center")
    axes.tick_params(labelsize=7)


def _network(panel: Any) -> None:
    """The areas of a connectome from above."""
    panel.suptitle("a network whose modules are brain areas", fontsize=11, color=INK)
    topology = Topology.read("desikan68")
    axes = panel.subplots()
    draw_topology(axes, topology, places_of(topology)[0][:, :2], {}, lambda name: "")
    axes.set_aspect("equal")
    axes.set_axis_off()


def pages(folder: Path) -> None:
    """The page of the sample session and the front page, after a training, as Chromium shows them."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print("page.png, today.png: no Chromium here, left as they are")
        return
    config = folder / "first.toml"
    config.write_text('topology = "four-areas"\nlength_s = 1.0\nbin_s = 0.05\ntargets = ["gaze"]\nsteps = 60\n')
    for command in (("ingest", "sample_data/person"), ("train", str(config)), ("evaluate", "first")):
        said = [sys.executable, "-m", "neuroloom.flows.main", *command, "--store", f"{folder}/lab"]
        subprocess.run(said, check=True, capture_output=True)
    (session,) = (folder / "lab" / "review").glob("sub-*.html")
    shot(browser, session, PICTURES / "page.png", height_px=1500)
    shot(browser, session.with_name("index.html"), PICTURES / "today.png", height_px=960)


def shot(browser: str, html: Path, target: Path, *, height_px: int) -> None:
    """A page, 1240 pixels wide, at three fifths of its size."""
    whole = target.with_suffix(".whole.png")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size=1240,{height_px}"]
    subprocess.run([browser, *flags, f"--screenshot={whole}", html.as_uri()], check=True, capture_output=True)
    with Image.open(whole) as image:
        image.resize((744, 744 * image.height // image.width), Image.Resampling.LANCZOS).save(whole)
    small(whole, target)
    whole.unlink()


if __name__ == "__main__":
    main()
