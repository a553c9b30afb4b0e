"""The pages in a real browser: they stand alone, run nothing of what names hold, and serve whoever reads them."""

import json

import pytest

from neuroloom.pipeline.review import write_compare, write_index, write_run, write_session
from neuroloom.pipeline.review.page import FOLDED
from neuroloom.pipeline.review.views import SessionRow

from ...browser import console_errors, requested_urls
from .example import run_folder, session
from .test_pages import HOSTILE, hostile_session, index_view, with_fidelity

UNLABELLED = """
return [...document.querySelectorAll("img")].filter(img => !img.alt || !img.complete || !img.naturalWidth).length
  + [...document.querySelectorAll("th")].filter(th => !th.scope).length
  + [...document.querySelectorAll("a")].filter(a => !a.textContent.trim()).length
"""


def hostile_run(folder):
    made = with_fidelity(run_folder(folder, port=HOSTILE), HOSTILE)
    (made / "config.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    (made / "trials.json").write_text(json.dumps({"best": 0, "trials": [{"values": {HOSTILE: HOSTILE}, "loss": 1.0}]}))
    return made


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    hostile = folder / "hostile"
    rows = (SessionRow(id="b", subject="2", page="x.html"), SessionRow(id="a", subject="10"))
    return {
        "session": write_session(session(), folder),
        "run": write_run(run_folder(folder / "reach"), folder),
        "index": write_index(index_view(sessions=rows), folder),
        "compare": write_compare([folder / "reach", run_folder(folder / "again")], folder),
        "hostile compare": write_compare([folder / "reach", hostile_run(hostile / "other")], folder / "hostile"),
        "hostile session": write_session(hostile_session(), hostile),
        "hostile run": write_run(hostile_run(hostile / "run"), hostile),
    }


NAMES = ("session", "run", "index", "compare", "hostile session", "hostile run", "hostile compare")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_loads_nothing_and_complains_of_nothing(browser, pages, name):
    requested_urls(browser)
    browser.get(pages[name].as_uri())
    assert console_errors(browser) == []
    assert requested_urls(browser) == [pages[name].as_uri()]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_name_runs(browser, pages, name):
    browser.get(pages[name].as_uri())
    assert "neuroloom" in browser.title


@pytest.mark.parametrize("name", NAMES)
def test_pictures_and_tables_are_labelled(browser, pages, name):
    browser.get(pages[name].as_uri())
    assert browser.execute_script(UNLABELLED) == 0
    assert browser.execute_script("return document.querySelectorAll('h1').length") == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_a_narrow_screen(browser, pages, name):
    browser.set_window_size(420, 900)
    try:
        browser.get(pages[name].as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth - innerWidth") <= 0
    finally:
        browser.set_window_size(1300, 1000)


def test_a_table_is_sorted_by_its_heading_with_the_keyboard(browser, pages):
    from selenium.webdriver.common.keys import Keys

    browser.get(pages["index"].as_uri())
    heading = browser.find_elements("css selector", "#sessions th button")[1]
    heading.send_keys(Keys.ENTER)
    cells = browser.find_elements("css selector", "#sessions tbody td:nth-child(2)")
    assert [cell.text for cell in cells] == ["2", "10"]
    heading.send_keys(Keys.ENTER)
    assert browser.find_element("css selector", "#sessions tbody td:nth-child(2)").text == "10"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_in_dark(browser, pages, scheme):
    """A contrast of 4.5 between text and paper (WCAG 2, level AA)."""
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get(pages["index"].as_uri())
    colours = browser.execute_script(
        "const of = (q) => getComputedStyle(document.querySelector(q));"
        "return [of('body').color, of('.lead').color, of('a').color, of('body').backgroundColor]"
    )
    *texts, paper = (luminance(colour) for colour in colours)
    for text in texts:
        assert (max(text, paper) + 0.05) / (min(text, paper) + 0.05) >= 4.5


def luminance(colour):
    """Relative luminance of "rgb(r, g, b)"."""
    channels = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def long_index(folder):
    rows = tuple(SessionRow(id=f"s{n:02d}", subject=str(n), verdict="" if n else "reject") for n in range(40))
    return write_index(index_view(sessions=rows), folder)


def shown_sessions(browser):
    rows = browser.find_elements("css selector", "#sessions tbody tr")
    return [row.find_element("tag name", "th").text for row in rows if row.is_displayed()]


def test_a_long_table_is_folded_sorted_as_a_whole_and_unfolded_with_the_keyboard(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    browser.get(long_index(tmp_path).as_uri())
    assert shown_sessions(browser) == [f"s{n:02d}" for n in range(FOLDED)]
    heading = browser.find_element("css selector", "#sessions th button")
    heading.send_keys(Keys.ENTER, Keys.ENTER)
    assert shown_sessions(browser)[0] == "s39"
    browser.find_element("css selector", "#sessions .all").send_keys(Keys.SPACE)
    assert len(shown_sessions(browser)) == 40


def test_a_long_table_is_searched_also_where_it_is_folded(browser, tmp_path):
    browser.get(long_index(tmp_path).as_uri())
    search = browser.find_element("css selector", "#sessions input[type=search]")
    search.send_keys("s3")
    assert shown_sessions(browser) == [f"s{n}" for n in range(30, 40)]
    assert browser.find_element("css selector", "#sessions [role=status]").text == "10 of 40"
    search.clear()
    search.send_keys("rejected")
    assert shown_sessions(browser) == ["s00"]


def test_a_long_table_unfolds_without_scripts(browser, tmp_path):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(long_index(tmp_path).as_uri())
        browser.find_element("css selector", "#sessions .all").click()
        last = browser.find_element("css selector", "#sessions tbody tr:last-child")
        assert last.value_of_css_property("display") == "table-row"
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
