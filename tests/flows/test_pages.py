"""The served review pages: who may read, who may write, what is refused, and that nothing in a note runs."""

import json
import shutil
import time
from datetime import UTC, datetime

import httpx
import numpy as np
import pytest

from neuroloom.flows.pages import LARGEST_BODY, TOKEN_HEADER, pages_served, token_of
from neuroloom.pipeline import verdicts
from neuroloom.pipeline.review import write_index
from neuroloom.pipeline.review.recording import MOST_CHANNELS
from neuroloom.pipeline.review.timeline import extent
from neuroloom.pipeline.review.views import IndexView, SessionRow
from neuroloom.pipeline.reviewing import review_compared, review_index, review_run, review_session
from neuroloom.pipeline.store import Store

from ..browser import console_errors, requested_urls
from ..pipeline.review.example import run_folder, session, signal

HOSTILE = (
    "<img src=x onerror=\"document.title='RAN'\"><script>document.title='RAN'</script>"
    "</script><!--/part--><script>document.title='RAN'</script>"
)


OURS = f"sessions/{session().id}"


def probe():
    """Sixty channels, channel n at n mV."""
    values = np.random.default_rng(0).normal(0, 10, (4000, 60)) + 1000 * np.arange(60)
    return signal("probe", "wideband", [(0.0, values)], 1000.0, [f"AP{n}" for n in range(60)], "uV")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Store(tmp_path_factory.mktemp("served") / "store").create()
    shown = session()
    shown.save(made.sessions / shown.id / "v001")
    wide = session(subject="60", streams=(probe(),), clock_maps=(), quality={})
    wide.save(made.sessions / wide.id / "v001")
    review_session(made, wide.id)
    run_folder(made.runs / "reach")
    review_session(made, shown.id)
    review_run(made, "reach")
    review_index(made)
    return made


@pytest.fixture(scope="module")
def address(store):
    with pages_served(store, 0) as found:
        yield found


@pytest.fixture
def said(store, address):
    """Posts a verdict, with changes to what is asked: an answer."""

    def post(path=OURS, *, headers=None, content=None, **body):
        wanted = {TOKEN_HEADER: token_of(store), "content-type": "application/json", **(headers or {})}
        content = json.dumps({"verdict": "accept", "by": "anna", **body}) if content is None else content
        return httpx.post(f"{address}/api/{path}/verdicts", headers=wanted, content=content)

    return post


def test_a_verdict_is_kept_and_the_page_and_the_front_page_show_it(store, address, said):
    assert said(note="fine", bad_channels={"eeg": ["Fp1"]}).status_code == 201
    assert verdicts.of_session(store, session().id)[-1].bad_channels == {"eeg": ("Fp1",)}
    page = httpx.get(f"{address}/{session().id}.html").text
    assert "fine" in page
    assert page.index("accepted") < page.index("Streams on one clock")
    assert "accepted" in httpx.get(f"{address}/index.html").text


def test_a_run_is_judged_too(store, said):
    assert said("runs/reach", verdict="reject").status_code == 201
    assert verdicts.standing(verdicts.of_run(store, "reach")).verdict == "reject"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"headers": {TOKEN_HEADER: "guess"}}, 401),
        ({"headers": {TOKEN_HEADER: ""}}, 401),
        ({"headers": {"origin": "http://127.0.0.1:1"}}, 403),
        ({"headers": {"origin": "null"}}, 403),
        ({"headers": {"content-type": "text/plain"}}, 415),
        ({"headers": {"host": "rebound.example.org"}}, 421),
        ({"content": "x" * (LARGEST_BODY + 1)}, 413),
        ({"content": "["}, 400),
        ({"content": "[]"}, 400),
        ({"verdict": "maybe"}, 400),
        ({"by": 7}, 400),
        ({"note": "x" * 5000}, 400),
        ({"bad_channels": {"eeg": ["nobody"]}}, 400),
        ({"bad_channels": ["Fp1"]}, 400),
        ({"good_channels": ["Fp1"]}, 400),
        ({"path": "sessions/sub-99_ses-01"}, 404),
        ({"path": "sessions/.."}, 404),
        ({"path": "stores/x"}, 404),
    ],
)
def test_everything_else_is_refused_in_one_line_and_nothing_is_written(store, said, change, status):
    before = verdicts.of_session(store, session().id)
    answer = said(**change)
    assert answer.status_code == status
    if "path" not in change or answer.headers["content-type"] == "application/json":
        assert "\n" not in answer.json()["error"]
    assert verdicts.of_session(store, session().id) == before


@pytest.mark.parametrize("path", ["catalog.sqlite", "..%2fcatalog.sqlite", ".review-token", "sub/x.html", "%2e%2e"])
def test_only_pages_are_served(address, path):
    assert httpx.get(f"{address}/{path}").status_code == 404


def policy_of(address, name):
    return httpx.get(f"{address}/{name}", timeout=60).headers["content-security-policy"]


@pytest.mark.parametrize("name", ["index.html", f"{session().id}.html", "run-reach.html"])
def test_scripts_and_style_are_let_run_by_their_digests_alone(address, name):
    assert "unsafe" not in policy_of(address, name)
    assert "script-src 'sha256-" in policy_of(address, name)


def test_a_page_of_another_version_is_drawn_anew_and_one_that_cannot_be_runs_nothing(store, address):
    older, foreign = store.review / "run-reach.html", store.review / "foreign.html"
    written = older.read_text(encoding="utf-8")
    for path in (older, foreign):
        path.write_text(written.replace("'sha256-", "'sha256-x").replace("&#39;sha256-", "&#39;sha256-x"))
    assert "script-src 'sha256-" in policy_of(address, "run-reach.html")
    assert "sha256-x" not in older.read_text(encoding="utf-8")
    assert "script-src" not in policy_of(address, "foreign.html")
    foreign.unlink()


def test_a_page_of_several_runs_is_drawn_anew_too_while_all_of_them_are_there(store, address):
    run_folder(store.runs / "again")
    page = review_compared(store, ["reach", "again"])
    older = page.read_text(encoding="utf-8").replace("&#39;sha256-", "&#39;sha256-x")
    page.write_text(older)
    assert "script-src 'sha256-" in policy_of(address, page.name)
    shutil.rmtree(store.runs / "again")
    page.write_text(older)
    assert "script-src" not in policy_of(address, page.name)
    page.unlink()


def test_another_host_name_reads_nothing(address):
    assert httpx.get(f"{address}/index.html", headers={"host": "rebound.example.org"}).status_code == 421


def test_the_token_is_the_owners_alone_and_stays(store):
    assert (store.root / ".review-token").stat().st_mode & 0o777 == 0o600
    assert token_of(store) == token_of(store)
    assert len(token_of(store)) > 40


def test_the_token_may_be_given(store, monkeypatch):
    monkeypatch.setenv("NEUROLOOM_REVIEW_TOKEN", "given")
    assert token_of(store) == "given"


VERSION = f"sessions/{session().id}/v001"
TILE = {"stream": "eeg", "zoom": 1, "index": 1, "rows": "0,2"}


def test_a_tile_holds_real_samples_of_its_stretch(address):
    answer = httpx.get(f"{address}/api/{VERSION}/tile", params=TILE)
    found = np.frombuffer(answer.content, "<f4").reshape(512, 2, 2)
    (_, second), of_s = session()["eeg"].values(), extent(session())
    middle_s = sum(of_s) / 2
    inside = second[int(np.ceil((middle_s - 10) * 250)) :][:, [0, 2]]  # its second segment begins at 10 s
    assert np.nanmin(found) == pytest.approx(inside.min(), rel=1e-5)
    assert np.nanmax(found) == pytest.approx(inside.max(), rel=1e-5)


def test_spikes_of_a_stretch_are_given_as_they_are(address):
    units = next(s for s in session().streams if s.modality == "units")
    asked = {"stream": units.name, "start": 2, "stop": 3}
    found = httpx.get(f"{address}/api/{VERSION}/spikes", params=asked).json()["times"]
    assert [len(times) for times in found] == [len(t) for t in units.between(2, 3).spike_times_s]


@pytest.mark.parametrize(
    ("path", "change", "status"),
    [
        (VERSION, {"index": 2}, 400),
        (VERSION, {"zoom": 99}, 400),
        (VERSION, {"zoom": "x"}, 400),
        (VERSION, {"stream": "nobody"}, 400),
        (VERSION, {"rows": "0,99"}, 400),
        (VERSION, {"rows": ""}, 400),
        (VERSION, {"rows": ",".join("0" * (MOST_CHANNELS + 1))}, 400),
        (f"sessions/{session().id}/v009", {}, 404),
        (f"sessions/{session().id}/..", {}, 404),
        ("sessions/sub-99_ses-01/v001", {}, 404),
    ],
)
def test_a_tile_that_is_not_there_is_refused_in_one_line(address, path, change, status):
    answer = httpx.get(f"{address}/api/{path}/tile", params=TILE | change)
    assert answer.status_code == status


def test_a_run_tells_its_losses_since_a_step(address):
    first = httpx.get(f"{address}/api/runs/reach/live").json()
    assert first["training"][0][0] == 1
    later = httpx.get(f"{address}/api/runs/reach/live", params={"after": first["step"] - 1}).json()
    assert [row[0] for row in later["training"]] == [first["step"]]
    assert httpx.get(f"{address}/api/runs/nobody/live").status_code == 404


def form(browser):
    return browser.find_element("css selector", "form#verdict")


def wait_for(browser, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 10).until(condition)


def test_a_file_has_no_form(browser, store):
    browser.get((store.review / f"{session().id}.html").as_uri())
    assert not form(browser).is_displayed()


DARK = """
const canvas = document.querySelector("#viewer canvas"), seen = canvas.getContext("2d");
const { data } = seen.getImageData(0, 0, canvas.width, canvas.height);
let n = 0;
for (let i = 3; i < data.length; i += 4) n += data[i] > 0;
return n / (data.length / 4);
"""


def test_the_recording_is_drawn_from_the_page_alone(browser, store):
    page = (store.review / f"{session().id}.html").as_uri()
    requested_urls(browser)
    browser.get(page)
    wait_for(browser, lambda b: b.execute_script(DARK) > 0.02)
    before = where(browser)
    canvas = browser.find_element("css selector", "#viewer canvas")
    canvas.send_keys("+++")
    wait_for(browser, lambda b: where(b) != before)
    assert "as the page holds it" in where(browser)
    assert browser.execute_script(DARK) > 0.02
    assert requested_urls(browser) == [page]


def test_zoomed_in_it_asks_for_real_samples_and_goes_where_the_keys_say(browser, address):
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{address}/{session().id}.html")
    view = "return document.querySelector('#viewer').viewer.view"
    wait_for(browser, lambda b: b.execute_script("return document.querySelector('#viewer').viewer.served"))
    requested_urls(browser)
    start, stop = browser.execute_script(view)
    canvas = browser.find_element("css selector", "#viewer canvas")
    canvas.send_keys("+" * 6)
    inner = browser.execute_script(view)
    assert inner[1] - inner[0] == pytest.approx((stop - start) / 64)
    wait_for(browser, lambda b: any("/tile?" in url for url in requested_urls(b)))
    canvas.send_keys(Keys.ARROW_RIGHT)
    assert browser.execute_script(view)[0] == pytest.approx(inner[0] + (inner[1] - inner[0]) / 2)
    canvas.send_keys("0")
    assert browser.execute_script(view) == [start, stop]
    assert console_errors(browser) == []


ROWS = "return document.querySelector('#viewer').viewer.data.tracks[0].rows.map((row) => row.name)"
MIDDLES = "return document.querySelector('#viewer').viewer.data.tracks[0].middles"


def test_other_channels_are_chosen_with_the_keyboard_and_by_name(browser, address):
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{address}/{session(subject='60').id}.html")
    wait_for(browser, lambda b: b.execute_script("return document.querySelector('#viewer').viewer.served"))
    assert len(browser.execute_script(ROWS)) == MOST_CHANNELS
    canvas = browser.find_element("css selector", "#viewer canvas")
    canvas.send_keys("ccc")
    assert browser.execute_script(ROWS) == [f"AP{n}" for n in range(48, 60)]
    wait_for(browser, lambda b: None not in b.execute_script(MIDDLES))
    assert browser.execute_script(MIDDLES) == pytest.approx([1000 * n for n in range(48, 60)], abs=50)
    assert browser.execute_script(DARK) > 0.02
    canvas.send_keys("C")
    assert browser.execute_script(ROWS)[0] == "AP24"
    browser.execute_script("document.querySelector('#viewer details').open = true")
    find = browser.find_element("css selector", ".choosers input")
    find.send_keys("ap7, *19", Keys.ENTER)
    assert browser.execute_script(ROWS) == ["AP7", "AP19"]
    find.send_keys("x", Keys.ENTER)  # "*19x" is nobody
    assert browser.find_element("css selector", ".choosers [role=status]").text == "1 channel of that name"
    assert console_errors(browser) == []


def where(browser):
    return browser.find_element("css selector", "#viewer .where").text


def test_without_the_token_the_form_says_so(browser, store, address):
    before = verdicts.of_session(store, session().id)
    browser.get(f"{address}/{session().id}.html")
    wait_for(browser, lambda b: form(b).is_displayed())
    fill(browser, "no token")
    wait_for(browser, lambda b: "token is missing" in b.find_element("css selector", ".told").text)
    assert browser.find_element("css selector", "[name=token]").is_displayed()
    assert verdicts.of_session(store, session().id) == before


def test_a_hostile_note_is_saved_with_the_keyboard_and_runs_nothing(browser, store, address):
    """Token from the address, form by keys alone, a channel ticked; then the page with the note in it."""
    requested_urls(browser)
    console_errors(browser)
    browser.get(f"{address}/{session().id}.html?x#token={token_of(store)}")
    wait_for(browser, lambda b: form(b).is_displayed())
    assert "token" not in browser.current_url
    browser.execute_script("document.querySelector('details.channels').open = true")
    box = browser.find_element("css selector", "[data-stream=eeg][data-channel=O1]")
    if not box.is_selected():
        box.send_keys(" ")
    fill(browser, HOSTILE)
    wait_for(browser, lambda b: b.execute_script("return document.querySelector('p.said').textContent") == HOSTILE)
    assert "RAN" not in browser.title
    assert "O1" in browser.find_element("css selector", "#review").text
    assert verdicts.of_session(store, session().id)[-1].note == HOSTILE
    assert console_errors(browser) == []
    assert all(url.startswith(address) for url in requested_urls(browser))
    browser.get((store.review / f"{session().id}.html").as_uri())
    assert "RAN" not in browser.title


def fill(browser, note):
    from selenium.webdriver.common.keys import Keys

    form(browser).find_element("css selector", "[value=reject]").send_keys(" ")
    for name, words in (("by", "anna"), ("note", note)):
        field = form(browser).find_element("css selector", f"[name={name}]")
        field.clear()
        field.send_keys(words)
    form(browser).find_element("css selector", "button[type=submit]").send_keys(Keys.ENTER)


def test_the_front_page_takes_over_what_is_new_and_keeps_what_was_searched_and_sorted(browser, store, address):
    def shown(*more):
        rows = [SessionRow(id=f"s{n:02d}", subject="1") for n in range(20)]
        write_index(IndexView(store="lab", made=datetime.now(UTC), sessions=(*rows, *more)), store.review)

    def ids():
        return browser.execute_script(
            "return [...document.querySelectorAll('#sessions tbody tr')].filter((row) => row.checkVisibility())"
            ".map((row) => row.cells[0].textContent)"
        )

    shown()
    browser.get(f"{address}/index.html")
    browser.find_element("css selector", "#sessions input[type=search]").send_keys("s1")
    heading = browser.find_element("css selector", "#sessions th button")
    for _ in "up", "down":
        heading.click()
    browser.execute_script("document.activeElement.blur()")
    wait_for(browser, lambda b: ids()[0] == "s19")
    time.sleep(2.5)  # until the page has seen what is there
    shown(SessionRow(id="s1x", subject="1"))
    wait_for(browser, lambda b: len(ids()) == 11)
    assert ids()[:2] == ["s19", "s18"]
    assert console_errors(browser) == []
