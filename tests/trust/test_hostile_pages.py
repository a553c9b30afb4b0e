"""Names of channels, annotations and files are text: on pages, in Markdown, in a terminal. A browser runs nothing."""

import json

import numpy as np
import pytest

from neuroloom.flows import artifacts
from neuroloom.pipeline.catalog.tables import DONE, QUARANTINED
from neuroloom.pipeline.review import write_run
from neuroloom.pipeline.reviewing import review_index, review_session

from ..browser import console_errors, requested_urls
from ..pipeline.review.example import run_folder
from .harness import inbox_of
from .hostile_paths import VHDR

RAN = "document.title='RAN'"
NAMES = (
    f'<img src=x onerror="{RAN}">',
    f"<script>{RAN}</script>",
    f'"><svg onload="{RAN}">',
    f"</style></script><script>{RAN}</script>",
    f"<a href=javascript:{RAN}>x</a>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;",
)
TOLD = ("[x](javascript:alert(1))", "![x](http://there/y.png)", "`a` | b", "\x1b[2Jwiped", "\u202etxt", "www.there.org")


def hostile_drop(folder):
    """Channels and events with such names."""
    listed = json.dumps(list(NAMES), ensure_ascii=False)
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(400, len(NAMES))))
    np.save(folder / "t.npy", np.arange(len(NAMES), dtype="<f8"))
    (folder / "labels.csv").write_text("what\n" + "".join('"' + n.replace('"', '""') + '"\n' for n in NAMES))
    (folder / "recording.toml").write_text(
        'format = "neuroloom arrays"\n'
        '[[signals]]\nname = "eeg"\nmodality = "eeg"\nunit = "uV"\nsamples = "x.npy"\nrate_hz = 100.0\n'
        f"channels = {listed}\n"
        '[[events]]\nname = "notes"\ntimes = "t.npy"\ntime_unit = "s"\nlabels = "labels.csv:what"\n'
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of a store that took such a drop, and of such that were refused: by their own name, by one in them."""
    root = tmp_path_factory.mktemp("pages")
    with inbox_of(root) as inbox:
        inbox.put("hostile", hostile_drop)
        (inbox.store.inbox / NAMES[0].replace("/", "")).write_text("no recording")
        inbox.put("odd", lambda folder: (folder / "x.vhdr").write_text(VHDR.format(data=NAMES[0], marker="")))
        drops = inbox.look()
        assert drops["hostile"].state == DONE, drops["hostile"].reason
        assert drops[NAMES[0]].state == QUARANTINED
        assert '<img src=x onerror="' in drops["odd"].reason
        (session,) = inbox.store.session_ids()
        run = write_run(run_folder(root / "run", port=NAMES[1]), root)
        yield {"session": review_session(inbox.store, session), "index": review_index(inbox.store), "run": run}


@pytest.mark.parametrize("kind", ["session", "run", "index"])
def test_no_name_is_markup(pages, kind):
    html = pages[kind].read_text(encoding="utf-8")
    assert not any(name in html for name in NAMES if "<" in name)
    assert "onerror=&#34;" in html or "onerror=&quot;" in html or "&lt;script&gt;" in html


@pytest.mark.parametrize("kind", ["session", "run", "index"])
def test_a_browser_runs_nothing_and_asks_for_nothing(browser, pages, kind):
    browser.get("about:blank")  # away from the browser's own first page, which loads its parts
    requested_urls(browser)
    browser.get(pages[kind].as_uri())
    assert "RAN" not in browser.title
    assert "neuroloom" in browser.title
    assert console_errors(browser) == []
    asked = [url for url in requested_urls(browser) if not url.startswith("chrome:")]
    assert asked == [pages[kind].as_uri()]
    assert (
        browser.execute_script("return document.querySelectorAll('[onerror],[onload],a[href^=javascript]').length") == 0
    )


def test_a_browser_would_run_it_where_it_is_markup(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(f"<title>neuroloom</title>{NAMES[0]}")
    browser.get(path.as_uri())
    assert browser.title == "RAN"


@pytest.mark.parametrize("name", [*NAMES, *TOLD])
def test_markdown_holds_no_link_picture_or_table_of_a_name(name):
    shown = artifacts.plain(name)
    assert shown.isprintable()
    assert not set(shown) & set("<>`[]()!|*#")
    assert "://" not in shown
    assert "www." not in shown


def test_the_page_of_a_refused_drop_holds_its_reason_as_text(monkeypatch):
    made = []
    monkeypatch.setattr(artifacts, "create_markdown_artifact", lambda text, **_: made.append(text))
    for name in (*NAMES, *TOLD):
        artifacts.refusal_page(1, f"{name}: refused")
    assert not any("<" in text or "](" in text or "\x1b" in text for text in made)


def test_the_page_of_a_session_holds_the_names_of_streams_as_text(monkeypatch):
    tables, texts = [], []
    monkeypatch.setattr(artifacts, "create_markdown_artifact", lambda text, **_: texts.append(text))
    monkeypatch.setattr(artifacts, "create_table_artifact", lambda rows, **_: tables.append(rows))
    stream = {"name": NAMES[0], "modality": "eeg", "start_s": 0.0, "duration_s": 1.0}
    sync = {"from": NAMES[1], "to": TOLD[0], "residual_ms": 1.0, "drift_ppm": 0.0, "n_matched": 1, "n_lost": 0}
    result = {"session": "sub-01_ses-01", "state": "ingested", "format": NAMES[2], "streams": [stream]}
    artifacts.session_page(result | {"sync": [sync | {"method": TOLD[2]}]})
    assert not any("<" in text for text in [*texts, str(tables)])
    assert "javascript:alert(1)" not in texts[0].replace(" ", "") or "](javascript" not in texts[0]


def test_a_terminal_is_told_names_without_codes(capsys):
    from neuroloom.flows import printing

    printing.lines(*TOLD)
    printing.table(("name",), [(name,) for name in TOLD])
    printing.say("\n".join(TOLD))
    said = "".join(capsys.readouterr())
    assert "\x1b" not in said
    assert "\u202e" not in said
