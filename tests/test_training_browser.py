"""training.html in a real browser: no errors, no requests, nothing foreign runs; one step is read in all pictures at
once, by mouse and by keys; readable on all screens and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evollab.report.training import write_training
from tests import browser
from tests.fake_training import write_dpo, write_rleif, write_sft
from tests.test_analysis_browser import OVERLAPS, press
from tests.test_report_browser import CONTRAST, complaints, requests
from tests.test_training_page import hostile_training

pytestmark = pytest.mark.skipif(browser.PATH is None, reason="no chromium on this machine")
LOSS = "document.querySelector('.read[data-for=loss]').textContent"
RATE = "document.querySelector('.read[data-for=lr]').textContent"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    with browser.Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def sft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_training(write_sft(tmp_path_factory.mktemp("training") / "sft", 3000, looks=12, rising=True))


@pytest.fixture(scope="module")
def dpo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_training(write_dpo(tmp_path_factory.mktemp("training") / "dpo"))


@pytest.fixture(scope="module")
def rleif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_training(write_rleif(tmp_path_factory.mktemp("training") / "rleif"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_training(hostile_training(tmp_path_factory.mktemp("hostile") / "one"))


@pytest.mark.parametrize("which", ["sft", "dpo", "rleif", "hostile"])
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (820, False), (390, True)])
def test_clean_and_within_the_screen(
    which: str, width: int, dark: bool, chrome: browser.Browser, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(which)
    chrome.open(path, width=width, dark=dark)
    chrome.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    chrome.evaluate("const s = document.getElementById('step'); s.value = '5'; s.dispatchEvent(new Event('input'))")
    assert complaints(chrome) == []
    assert requests(chrome) == [path.as_uri()]
    assert chrome.evaluate("document.documentElement.scrollWidth") == width
    assert chrome.evaluate("typeof window.hacked") == "undefined"
    background = chrome.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) == dark


def test_the_pointer_reads_one_step_in_all_pictures(sft: Path, chrome: browser.Browser) -> None:
    chrome.open(sft)
    before = chrome.evaluate(LOSS), chrome.evaluate(RATE)
    x, y = chrome.evaluate(
        "(() => { const p = document.querySelector('.plot[data-for=loss]'); p.scrollIntoView({behavior: 'instant', block: 'center'});"
        "const b = p.getBoundingClientRect(); return [b.left + b.width / 2, b.top + 60]; })()"
    )
    chrome.do("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    step = int(chrome.evaluate("document.getElementById('at-step').textContent").replace(",", ""))
    assert abs(step - 1500) < 10
    after = chrome.evaluate(LOSS), chrome.evaluate(RATE)
    assert after[0] != before[0]
    assert after[1] != before[1]
    assert chrome.evaluate("document.querySelectorAll('.cursor:not([hidden])').length") >= 5
    chrome.do("Input.dispatchMouseEvent", type="mouseMoved", x=5, y=5)
    assert (chrome.evaluate(LOSS), chrome.evaluate(RATE)) == before
    assert chrome.evaluate("document.querySelectorAll('.cursor:not([hidden])').length") == 0


def test_the_keys_do_so_too(dpo: Path, chrome: browser.Browser) -> None:
    chrome.open(dpo)
    chrome.evaluate("document.getElementById('step').focus()")
    press(chrome, "Home", 36)
    assert chrome.evaluate("document.getElementById('at-step').textContent") == "1"
    assert "held out –" in chrome.evaluate(LOSS)
    for _ in range(19):
        press(chrome, "ArrowRight", 39)
    assert chrome.evaluate("document.getElementById('at-step').textContent") == "20"
    assert "held out 0.6400" in chrome.evaluate(LOSS)
    assert chrome.evaluate("document.getElementById('step').getAttribute('aria-valuetext')") == "step 20"
    nameless = "[...document.querySelectorAll('svg[role=img], [role=region], button')].filter(e => !e.getAttribute('aria-label') && !e.textContent.trim()).length"
    assert chrome.evaluate(nameless) == 0


def test_it_can_be_read_without_script(dpo: Path, chrome: browser.Browser) -> None:
    chrome.do("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chrome.open(dpo)
        assert complaints(chrome) == []
    finally:
        chrome.do("Emulation.setScriptExecutionDisabled", value=False)
    assert not chrome.evaluate("document.getElementById('at').checkVisibility()")
    assert chrome.evaluate("document.querySelectorAll('.curves .line').length") > 20


@pytest.mark.parametrize("dark", [False, True])
def test_letters_stand_out(dpo: Path, chrome: browser.Browser, dark: bool) -> None:
    chrome.open(dpo, dark=dark)
    chrome.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    assert chrome.evaluate(CONTRAST) == []


def test_labels_in_pictures_do_not_run_into_each_other(
    sft: Path, dpo: Path, rleif: Path, chrome: browser.Browser
) -> None:
    for path in (sft, dpo, rleif):
        for width in (1280, 900, 390, 360):
            chrome.open(path, width=width)
            assert chrome.evaluate(OVERLAPS) == [], (path.parent.name, width)


def test_it_prints(dpo: Path, chrome: browser.Browser) -> None:
    chrome.open(dpo, dark=True, width=760)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    chrome.do("Emulation.setEmulatedMedia", media="print", features=dark)
    try:
        assert not chrome.evaluate("document.querySelector('nav').checkVisibility()")
        assert not chrome.evaluate("document.getElementById('at').checkVisibility()")
        assert chrome.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert chrome.evaluate("document.documentElement.scrollWidth") <= 760
        assert chrome.evaluate(CONTRAST) == []
        assert len(chrome.do("Page.printToPDF", printBackground=False)["data"]) > 50_000
    finally:
        chrome.do("Emulation.setEmulatedMedia", media="", features=[])
