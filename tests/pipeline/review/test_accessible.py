"""axe-core finds nothing to complain of in any page, in light and in dark, at a wide and at a narrow screen."""

from importlib.resources import files
from itertools import product

import pytest

from neuroloom.pipeline.review import write_compare, write_index, write_run, write_session, write_study
from neuroloom.pipeline.review.run_folder import RunView
from neuroloom.pipeline.review.views import SessionRow
from neuroloom.pipeline.studies._charts import curves
from neuroloom.pipeline.studies._report import Plot, Report, Table
from neuroloom.pipeline.verdicts import Verdict

from .example import run_folder, session
from .test_pages import index_view

AXE = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
SAID = (Verdict(verdict="reject", by="anna", at="2026-03-14T09:26:00+00:00", note="no", bad_channels={"eeg": ("O1",)}),)
SHOW_ALL = """
for (const hidden of document.querySelectorAll("[hidden]")) hidden.hidden = false;
for (const details of document.querySelectorAll("details")) details.open = true;
"""  # what a server would show; axe looks at nothing hidden


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    other = RunView.read(run_folder(folder / "runs" / "other"))
    rows = (SessionRow(id="b", subject="2", page="x.html", verdict="accept"), SessionRow(id="a", subject="10"))
    return {
        "session": write_session(session(), folder, SAID),
        "run": write_run(run_folder(folder / "runs" / "reach"), folder, SAID, [other]),
        "index": write_index(index_view(sessions=rows), folder),
        "study": write_study("copied", report(), {"seeds": [0, 1]}, folder, SAID),
        "compare": write_compare([folder / "runs" / "reach", folder / "runs" / "other"], folder),
    }


def report():
    """A study with a table, a picture of it, and what was wanted."""
    rows = tuple({"steps": 10.0 * k, "score": 0.1 * k, "arm": arm} for arm in ("one", "two") for k in range(1, 5))
    table = Table(name="scores", title="Score over steps", caption="Score over steps.", rows=rows)
    draw = curves(x="steps", y="score", by="arm", x_label="steps", y_label="score")
    return Report(
        study="distill",
        title="A study",
        sentence="It went well.",
        conditions={"teacher": "sample"},
        plots=(Plot(table=table, draw=draw),),
        tables=(table,),
        remarks=("Only on a sample.",),
        wanted=({"what": "score", "wanted": "0.3", "found": "0.4", "met": True},),
    )


SCREENS = (("light", 1300), ("dark", 1300), ("light", 420))
LOOKS = [
    *product(("session", "run", "index"), SCREENS),
    ("study", SCREENS[1]),
    ("study", SCREENS[2]),
    ("compare", SCREENS[2]),
]


@pytest.mark.parametrize(("name", "screen"), LOOKS)
def test_axe_finds_nothing(browser, pages, name, screen):
    scheme, width_px = screen
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.set_window_size(width_px, 1000)
    browser.get(pages[name].as_uri())
    browser.execute_script(SHOW_ALL)
    browser.execute_script(AXE)
    found = browser.execute_async_script(
        "axe.run(document, {resultTypes: ['violations']}).then((found) => arguments[0](found.violations))"
    )
    assert [(one["id"], one["help"], [node["html"][:160] for node in one["nodes"][:3]]) for one in found] == []
