"""Review pages: what people look at before they trust a session or a run.

    write_session(session, folder)   sub-01_ses-02.html: streams on one time axis, traces, spectra, spikes, gaze, clocks
    write_run(folder_of_run, folder) run-NAME.html: loss, scores against baselines and ceiling, the network, its config
    write_compare(folders, folder)   compare-NAME-NAME.html: losses, scores and differing settings of several runs
    write_study(name, report, settings, folder)   run-NAME.html: its sentence, pictures, tables
    write_index(view, folder)        index.html: inbox, quarantine, sessions, runs

Each page is one HTML file that needs no network, no other file and no script to be read.

Design rationale: own templates with autoescape instead of a vendor's report. MNE's Report and the HTML views of
SpikeInterface and pynwb let a channel name become live script. Figures are SVG inside `<img>`: a browser runs nothing
in there, whatever a label says.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroloom.pipeline.review.compare_page import write_compare
    from neuroloom.pipeline.review.index_page import write_index
    from neuroloom.pipeline.review.run_page import write_run
    from neuroloom.pipeline.review.session_page import write_session
    from neuroloom.pipeline.review.study_page import write_study

__all__ = ["write_compare", "write_index", "write_run", "write_session", "write_study"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{name.removeprefix('write_')}_page"), name)
