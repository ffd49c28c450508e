"""evaluation.html in a real browser: no errors, no requests, nothing foreign runs; answers can be filtered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evollab.report.evaluation import write_evaluation
from tests import browser
from tests import fake_evaluation as fake
from tests.test_report_browser import complaints, requests

pytestmark = pytest.mark.skipif(browser.PATH is None, reason="no chromium on this machine")
SHOWN = "[...document.querySelectorAll('#items-1 > li')].filter((one) => one.offsetParent !== null).length"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    with browser.Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    beside = fake.write_evaluation(folder / "b", "plain-7b", 52)
    return write_evaluation(fake.write_evaluation(folder / "a", "wizard-7b", 70), beside=[beside])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_evaluation(fake.write_evaluation(tmp_path_factory.mktemp("hostile") / "a", "m", 40, text=fake.HOSTILE))


@pytest.mark.parametrize("which", ["plain", "hostile"])
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
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


def test_answers_can_be_filtered(plain: Path, chrome: browser.Browser) -> None:
    chrome.open(plain)
    every = chrome.evaluate(SHOWN)
    chrome.evaluate("document.querySelector('.filter[data-for=items-1] [data-show=wrong]').click()")
    wrong = chrome.evaluate(SHOWN)
    chrome.evaluate("document.querySelector('.filter[data-for=items-1] [data-show=right]').click()")
    right = chrome.evaluate(SHOWN)
    assert 0 < wrong < every
    assert wrong + right == every
    assert (
        chrome.evaluate("document.querySelector('.filter[data-for=items-1] [data-show=right]').ariaPressed") == "true"
    )


def test_names_around_the_radar_lie_apart(plain: Path, chrome: browser.Browser) -> None:
    chrome.open(plain)
    overlaps = chrome.evaluate(
        "(() => { const boxes = [...document.querySelectorAll('.radar text')].map((t) => t.getBoundingClientRect());"
        "let n = 0; boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => { if (a.left < b.right - 1 && b.left < a.right - 1"
        " && a.top < b.bottom - 2 && b.top < a.bottom - 2) n += 1; })); return n; })()"
    )
    assert overlaps == 0
