"""report.html in a real browser: no errors, no requests, nothing foreign runs, readable on all screens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evollab.report.page import write_report
from tests import browser
from tests.fake_run import write_run
from tests.test_report_page import hostile_run

pytestmark = pytest.mark.skipif(browser.PATH is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    with browser.Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(write_run(tmp_path_factory.mktemp("runs") / "first", seeds=60, rounds=4, number=2))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(hostile_run(tmp_path_factory.mktemp("hostile")))


def complaints(chrome: browser.Browser) -> list[object]:
    noisy = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening")
    return [event["params"] for event in chrome.events if event["method"] in noisy]


def requests(chrome: browser.Browser) -> list[str]:
    sent = (e["params"]["request"]["url"] for e in chrome.events if e["method"] == "Network.requestWillBeSent")
    return [url for url in sent if url != "data:,"]


@pytest.mark.parametrize("which", ["page", "hostile"])
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_clean_and_within_the_screen(
    which: str, width: int, dark: bool, chrome: browser.Browser, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(which)
    chrome.open(path, width=width, dark=dark)
    chrome.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    assert complaints(chrome) == []
    assert requests(chrome) == [path.as_uri()]
    assert chrome.evaluate("document.documentElement.scrollWidth") == width
    assert chrome.evaluate("typeof window.hacked") == "undefined"
    assert chrome.evaluate("document.scripts.length") == 2
    background = chrome.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) == dark


def test_the_policy_stops_what_escaping_might_let_through(page: Path, chrome: browser.Browser, tmp_path: Path) -> None:
    """Were there a hole, the policy would hold: a script, a handler, a style and a picture put in by hand do nothing."""
    holed = page.read_text("utf-8").replace(
        "<main",
        "<script>window.hacked=1</script><img src='data:image/gif;base64,R0lGODlhAQABAAAAACw=' onload='window.hacked=2'>"
        "<img src='http://127.0.0.1:9/x.png'><b style='color:red'>b</b><main",
        1,
    )
    path = tmp_path / "holed.html"
    path.write_text(holed, "utf-8")
    chrome.open(path)
    assert chrome.evaluate("typeof window.hacked") == "undefined"
    assert chrome.evaluate("getComputedStyle(document.querySelector('b')).color") != "rgb(255, 0, 0)"
    blocked = [str(complaint) for complaint in complaints(chrome)]
    assert sum("Content Security Policy" in one for one in blocked) >= 4


def test_lineages_can_be_narrowed_down(page: Path, chrome: browser.Browser) -> None:
    chrome.open(page)
    shown = "[...document.querySelectorAll('.thread')].filter(t => t.checkVisibility()).length"
    assert chrome.evaluate(shown) == 20
    chrome.evaluate("document.querySelector('button[data-tag=d]').click()")
    dropped = chrome.evaluate(shown)
    assert 0 < dropped < 20
    assert chrome.evaluate("document.getElementById('thread-count').textContent") == f"{dropped} shown"
    assert chrome.evaluate(
        "[...document.querySelectorAll('.thread')].every(t => t.checkVisibility() === !!t.querySelector('.is-dropped'))"
    )
    chrome.evaluate("document.querySelector('button[data-tag=\"\"]').click()")
    assert chrome.evaluate(shown) == 20
    chrome.evaluate("document.getElementById('open-all').click()")
    assert chrome.evaluate("[...document.querySelectorAll('.thread details')].every(d => d.open)")


def test_it_can_be_read_without_script(page: Path, chrome: browser.Browser) -> None:
    chrome.do("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chrome.open(page)
        assert complaints(chrome) == []
    finally:
        chrome.do("Emulation.setScriptExecutionDisabled", value=False)
    assert chrome.evaluate("document.querySelectorAll('.thread').length") == 20
    assert not chrome.evaluate("document.getElementById('thread-controls').checkVisibility()")


def test_it_can_be_used_from_the_keyboard(page: Path, chrome: browser.Browser) -> None:
    """Tab reaches the skip link first, then everything that can be opened or scrolled; all have names."""
    chrome.open(page)
    names = []
    for _ in range(9):
        for kind in ("keyDown", "keyUp"):
            chrome.do("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        names.append(
            chrome.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.textContent")
        )
    assert names[0] == "Skip to the content"
    assert names[1:7] == ["Survival", "Words", "Calls", "Lineages", "Dropped", "Options"]
    assert names[7] == "Survival by round, operation and rule"
    nameless = "[...document.querySelectorAll('svg[role=img], [role=region], article')].filter(e => !e.getAttribute('aria-label')).length"
    assert chrome.evaluate(nameless) == 0


CONTRAST = """
(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = element => { for (let e = element; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor); if (colour[3] === 255) return colour; } return [255, 255, 255]; };
  const bad = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !e.checkVisibility() || walker.currentNode.textContent === '·') continue;
    const style = getComputedStyle(e);
    const a = light(rgba(e.closest('svg') ? style.fill : style.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) bad.set(`${e.tagName}.${e.getAttribute('class')}`, ratio.toFixed(2));
  }
  return [...bad].map(pair => pair.join(' '));
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_letters_stand_out(page: Path, chrome: browser.Browser, dark: bool) -> None:
    """Contrast of at least 4.5 to 1 (WCAG AA) for every text but the dots that stand for zero."""
    chrome.open(page, dark=dark)
    assert chrome.evaluate(CONTRAST) == []


def test_labels_in_pictures_do_not_run_into_each_other(page: Path, chrome: browser.Browser) -> None:
    overlaps = """
    [...document.querySelectorAll('svg.chart')].filter(s => s.checkVisibility()).flatMap(svg => {
      const boxes = [...svg.querySelectorAll('text')].filter(t => t.checkVisibility()).map(t => [t.textContent, t.getBoundingClientRect()]);
      const wide = svg.getBoundingClientRect();
      const out = boxes.filter(([, b]) => b.right > wide.right + 2 || b.left < wide.left - 2).map(([t]) => 'outside: ' + t);
      return out.concat(boxes.flatMap(([t, a], i) => boxes.slice(i + 1).filter(([, b]) =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3).map(([u]) => t + ' / ' + u)));
    })
    """
    for width in (1280, 900, 390, 360):
        chrome.open(page, width=width)
        assert chrome.evaluate(overlaps) == []


def test_it_prints(page: Path, chrome: browser.Browser) -> None:
    """On white paper, also for those who look at dark screens."""
    chrome.open(page, dark=True)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    chrome.do("Emulation.setEmulatedMedia", media="print", features=dark)
    try:
        assert not chrome.evaluate("document.querySelector('nav').checkVisibility()")
        assert chrome.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert chrome.evaluate(CONTRAST) == []
        assert len(chrome.do("Page.printToPDF", printBackground=True)["data"]) > 50_000
    finally:
        chrome.do("Emulation.setEmulatedMedia", media="", features=[])
