"""analysis.html in a real browser: no errors, no requests, nothing foreign runs; the map answers to mouse, finger and
keys; readable on all screens and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evollab.report.analysis import write_analysis
from tests import browser
from tests.fake_analysis import ROUNDS, facts, write_folder
from tests.test_analysis_page import hostile_folder
from tests.test_report_browser import CONTRAST, complaints, requests

pytestmark = pytest.mark.skipif(browser.PATH is None, reason="no chromium on this machine")
VISIBLE = "[...document.querySelectorAll('#map .dots')].filter(d => getComputedStyle(d).display !== 'none')"
CARD = "document.getElementById('card').hidden ? '' : document.getElementById('card-text').textContent"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    with browser.Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = write_folder(tmp_path_factory.mktemp("analysis") / "one", facts(1500))
    return write_analysis(at, samples=[at / "sample"])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = write_folder(tmp_path_factory.mktemp("analysis") / "plain", facts(400, groups=1, judged=False))
    return write_analysis(at)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = hostile_folder(tmp_path_factory.mktemp("hostile") / "one")
    return write_analysis(at, samples=[at / "sample"])


def point(chrome: browser.Browser, number: int) -> tuple[float, float, str]:
    """Where on the screen a row's dot lies, and its text; the map is scrolled into sight."""
    chrome.evaluate("document.getElementById('map').scrollIntoView({behavior: 'instant', block: 'center'})")
    x, y, text = chrome.evaluate(
        f"""(() => {{ const d = JSON.parse(document.getElementById('points').textContent), i = {number};
        const m = document.getElementById('map').getBoundingClientRect();
        return [m.left + d.x[i] * m.width / 1000, m.top + d.y[i] * m.width / 1000, d.t[i]]; }})()"""
    )
    return x, y, text


def lonely(chrome: browser.Browser) -> int:
    """A row whose dot has no other near it."""
    found: int = chrome.evaluate(
        """(() => { const d = JSON.parse(document.getElementById('points').textContent);
        return d.x.findIndex((x, i) => d.x.every((u, j) => i === j || Math.hypot(u - x, d.y[j] - d.y[i]) > 60)); })()"""
    )
    assert found >= 0
    return found


def press(chrome: browser.Browser, key: str, code: int) -> None:
    for kind in ("keyDown", "keyUp"):
        chrome.do("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


@pytest.mark.parametrize("which", ["page", "plain", "hostile"])
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (820, False), (390, False), (390, True)])
def test_clean_and_within_the_screen(
    which: str, width: int, dark: bool, chrome: browser.Browser, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(which)
    chrome.open(path, width=width, dark=dark)
    chrome.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    chrome.evaluate("for (const button of document.querySelectorAll('button')) { button.click(); button.click(); }")
    assert complaints(chrome) == []
    assert requests(chrome) == [path.as_uri()]
    assert chrome.evaluate("document.documentElement.scrollWidth") == width
    assert chrome.evaluate("typeof window.hacked") == "undefined"
    assert chrome.evaluate("document.scripts.length") == 2
    background = chrome.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) == dark


def test_a_dot_tells_its_text_to_the_mouse(page: Path, chrome: browser.Browser) -> None:
    chrome.open(page)
    assert chrome.evaluate(CARD) == ""
    x, y, text = point(chrome, lonely(chrome))
    chrome.do("Input.dispatchMouseEvent", type="mouseMoved", x=x + 2, y=y)
    assert chrome.evaluate(CARD) == text
    box = chrome.evaluate(
        "(() => { const c = document.getElementById('card').getBoundingClientRect(), "
        "b = document.getElementById('mapbox').getBoundingClientRect(); "
        "return c.left >= b.left && c.right <= b.right && c.top >= b.top && c.bottom <= b.bottom; })()"
    )
    assert box
    chrome.do("Input.dispatchMouseEvent", type="mouseMoved", x=x + 40, y=y)
    assert chrome.evaluate(CARD) == ""


def test_a_click_holds_the_text_and_escape_lets_go(page: Path, chrome: browser.Browser) -> None:
    chrome.open(page)
    x, y, text = point(chrome, lonely(chrome))
    for kind in ("mousePressed", "mouseReleased"):
        chrome.do("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    chrome.do("Input.dispatchMouseEvent", type="mouseMoved", x=x + 40, y=y)
    assert chrome.evaluate(CARD) == text
    chrome.evaluate("document.getElementById('mapbox').focus()")
    press(chrome, "Escape", 27)
    assert chrome.evaluate(CARD) == ""


def test_a_finger_reads_it_too(page: Path, chrome: browser.Browser) -> None:
    chrome.open(page, width=390)
    chrome.do("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        x, y, text = point(chrome, lonely(chrome))
        chrome.do("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        chrome.do("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        assert chrome.evaluate(CARD) == text
        assert chrome.evaluate("document.documentElement.scrollWidth") == 390
    finally:
        chrome.do("Emulation.setTouchEmulationEnabled", enabled=False)


def test_the_arrow_keys_walk_over_the_map(page: Path, chrome: browser.Browser) -> None:
    chrome.open(page)
    chrome.evaluate("document.getElementById('mapbox').focus()")
    seen, places = [], []
    for key, code in (("ArrowRight", 39), ("ArrowRight", 39), ("ArrowRight", 39), ("ArrowDown", 40), ("ArrowLeft", 37)):
        press(chrome, key, code)
        seen.append(chrome.evaluate(CARD))
        ring = "document.querySelector('#map .ring').getAttribute"
        places.append((int(chrome.evaluate(f"{ring}('cx')")), int(chrome.evaluate(f"{ring}('cy')"))))
    assert all(seen)
    assert places[0][0] < places[1][0] < places[2][0]
    assert places[3][1] > places[2][1]
    assert places[4][0] < places[3][0]
    assert chrome.evaluate("document.getElementById('card').getAttribute('role')") == "status"


def test_the_legend_takes_groups_away(page: Path, chrome: browser.Browser) -> None:
    chrome.open(page)
    groups = f"[...new Set({VISIBLE}.map(d => d.dataset.g))].sort().join()"
    assert chrome.evaluate(groups) == "0,1,2,3,4"
    chrome.evaluate("document.querySelector('button.group[data-g=\"0\"]').click()")
    assert chrome.evaluate(groups) == "1,2,3,4"
    assert chrome.evaluate("document.querySelector('button.group').getAttribute('aria-pressed')") == "false"
    number = chrome.evaluate("JSON.parse(document.getElementById('points').textContent).g.indexOf(0)")
    x, y, _ = point(chrome, number)
    chrome.do("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert chrome.evaluate(f"({CARD}) === '' || document.getElementById('card-group').textContent !== {ROUNDS[0]!r}")
    chrome.evaluate("document.querySelector('button.group').click()")
    assert chrome.evaluate(groups) == "0,1,2,3,4"


def test_a_cluster_can_stand_alone_and_lend_its_colour(page: Path, chrome: browser.Browser) -> None:
    chrome.open(page)
    stroke = "getComputedStyle(document.querySelector('#map .dots[data-k=\"2\"]')).stroke"
    before = chrome.evaluate(stroke)
    chrome.evaluate("document.querySelector('[data-tint=cluster]').click()")
    assert chrome.evaluate(stroke) != before
    chrome.evaluate("document.querySelectorAll('.number')[2].click()")
    strong = "[...new Set([...document.querySelectorAll('#map .dots')].filter(d => getComputedStyle(d).opacity > .5).map(d => d.dataset.k))].join()"
    assert chrome.evaluate(strong) == "2"
    chrome.evaluate("document.querySelectorAll('.number')[2].click()")
    assert chrome.evaluate(f"({strong}).split(',').length") > 10


def test_it_can_be_read_without_script(page: Path, chrome: browser.Browser) -> None:
    chrome.do("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chrome.open(page)
        assert complaints(chrome) == []
    finally:
        chrome.do("Emulation.setScriptExecutionDisabled", value=False)
    assert chrome.evaluate(f"{VISIBLE}.length") > 100
    assert chrome.evaluate("document.querySelectorAll('.group').length") == 5
    assert not chrome.evaluate(
        "[...document.querySelectorAll('#card, #map-hint, .tint')].some(e => e.checkVisibility())"
    )


def test_it_can_be_used_from_the_keyboard(page: Path, chrome: browser.Browser) -> None:
    chrome.open(page)
    names = []
    for _ in range(20):
        press(chrome, "Tab", 9)
        names.append(
            chrome.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.textContent")
        )
    assert names[0] == "Skip to the content"
    assert names[1:10] == [
        "Difficulty", "Map", "Content", "Distributions", "Duplicates", "Contamination", "Judge", "Sample", "How",
    ]  # fmt: skip
    assert names[10:17] == [*ROUNDS, "by round", "by cluster"]
    assert names[17] == "Map of the rows"
    nameless = "[...document.querySelectorAll('svg[role=img], [role=region], [role=application], button')].filter(e => !e.getAttribute('aria-label') && !e.textContent.trim()).length"
    assert chrome.evaluate(nameless) == 0


@pytest.mark.parametrize("dark", [False, True])
def test_letters_stand_out(page: Path, chrome: browser.Browser, dark: bool) -> None:
    chrome.open(page, dark=dark)
    chrome.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    assert chrome.evaluate(CONTRAST) == []


OVERLAPS = """
[...document.querySelectorAll('svg.chart:not(.map)')].filter(s => s.checkVisibility()).flatMap(svg => {
  const boxes = [...svg.querySelectorAll('text')].filter(t => t.checkVisibility()).map(t => [t.textContent, t.getBoundingClientRect()]);
  return boxes.flatMap(([t, a], i) => boxes.slice(i + 1).filter(([, b]) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3).map(([u]) => t + ' / ' + u));
})
"""


def test_labels_in_pictures_do_not_run_into_each_other(page: Path, plain: Path, chrome: browser.Browser) -> None:
    for path in (page, plain):
        for width in (1280, 900, 390, 360):
            chrome.open(path, width=width)
            assert chrome.evaluate(OVERLAPS) == [], width


def test_it_prints(page: Path, chrome: browser.Browser) -> None:
    """On white paper, with the colours of dots and bars, also for those who look at dark screens."""
    chrome.open(page, dark=True, width=760)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    chrome.do("Emulation.setEmulatedMedia", media="print", features=dark)
    try:
        assert not chrome.evaluate("document.querySelector('nav').checkVisibility()")
        assert chrome.evaluate("document.getElementById('map').checkVisibility()")
        assert chrome.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert chrome.evaluate("getComputedStyle(document.querySelector('.bar rect.kept')).printColorAdjust") == "exact"
        assert chrome.evaluate("document.documentElement.scrollWidth") <= 760
        assert chrome.evaluate(CONTRAST) == []
        assert len(chrome.do("Page.printToPDF", printBackground=False)["data"]) > 100_000
    finally:
        chrome.do("Emulation.setEmulatedMedia", media="", features=[])
