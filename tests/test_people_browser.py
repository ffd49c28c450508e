"""The annotators' page in a real browser: by keys, by mouse and by touch, on a large screen and a small one; nothing
foreign runs, nothing is asked elsewhere, no name shows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evollab.evals.people.judgements import JUDGEMENTS, read_judgements
from tests import browser
from tests.people_study import NAMES, Server, started, write_outputs, write_rows
from tests.test_report_browser import CONTRAST, complaints, requests

pytestmark = pytest.mark.skipif(browser.PATH is None, reason="no chromium on this machine")
SCRIPT = "<script>window.hacked=1</script><img src=x onerror='window.hacked=2'><b>bold</b>"
FENCED = (
    "Before.\n```python\nif a < b:\n    print('x' * 300)" + " # " + "long " * 60 + "\n```\nAfter.\n\u202eevil\x1b[31m"
)
SHOWN = "[...document.querySelectorAll('main')].find(e => e.checkVisibility()).id"
WHERE = "document.getElementById('where').textContent"
REQUEST = "document.getElementById('request').textContent"
CODES = {"ArrowLeft": 37, "ArrowRight": 39, " ": 32, "Escape": 27}


@pytest.fixture
def chrome(tmp_path: Path) -> Iterator[browser.Browser]:
    with browser.Browser(tmp_path / "profile") as one:
        yield one


def go(chrome: browser.Browser, link: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
    size(chrome, width, height, dark)
    chrome.events.clear()
    chrome.do("Page.navigate", url=link)
    until(chrome, f"!!document.querySelector('main') && !!({SHOWN.replace('.id', '')})")


def size(chrome: browser.Browser, width: int, height: int, dark: bool = False) -> None:
    phone = width < 600
    chrome.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
    chrome.do("Emulation.setTouchEmulationEnabled", enabled=phone)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    chrome.do("Emulation.setEmulatedMedia", features=scheme)


def until(chrome: browser.Browser, expression: str) -> None:
    """Wait until the expression is true."""
    end = time.monotonic() + 20
    while not chrome.evaluate(expression):
        assert time.monotonic() < end, expression
        time.sleep(0.02)


def press(chrome: browser.Browser, key: str) -> None:
    code = CODES.get(key, ord(key.upper()) if len(key) == 1 else 0)
    text = {"text": key} if len(key) == 1 else {}
    chrome.do("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
    chrome.do("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)


def ready(chrome: browser.Browser, done: int, total: int) -> None:
    """Wait until so many are judged and the page takes a verdict again."""
    until(chrome, f"{WHERE} === '{done} of {total} judged' && {SHOWN} === 'task'")
    time.sleep(0.3)  # the page takes no verdict on what has only just come up


def touch(chrome: browser.Browser, selector: str) -> None:
    box = chrome.evaluate(
        f"(() => {{ const b = document.querySelector({selector!r}).getBoundingClientRect();"
        "return [b.left + b.width / 2, b.top + b.height / 2]; })()"
    )
    chrome.do("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": box[0], "y": box[1]}])
    chrome.do("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with started(write_outputs(tmp_path / "in", 3, i0=SCRIPT, i1=FENCED), tmp_path / "study", annotators=2) as one:
        yield one


def kept(tmp_path: Path) -> list[Any]:
    return list(read_judgements(tmp_path / "study" / JUDGEMENTS).values())


def test_three_items_by_keys(server: Server, chrome: browser.Browser, tmp_path: Path) -> None:
    go(chrome, server.links["annotator-1"])
    assert chrome.evaluate("location.href") == f"{server.url}/"
    assert chrome.evaluate(SHOWN) == "welcome"
    assert chrome.evaluate("document.getElementById('key-list').checkVisibility()")
    assert chrome.evaluate("document.cookie") == ""
    chrome.evaluate("document.getElementById('begin').click()")
    ready(chrome, 0, 3)
    first = chrome.evaluate(REQUEST)
    press(chrome, "ArrowLeft")
    ready(chrome, 1, 3)
    assert chrome.evaluate(REQUEST) != first
    press(chrome, "c")
    until(chrome, "document.activeElement.id === 'comment'")
    press(chrome, "2")  # in the comment a key is a letter
    chrome.do("Input.insertText", text=" it is wrong")
    press(chrome, "Escape")
    press(chrome, "2")
    ready(chrome, 2, 3)
    press(chrome, "s")  # the only one left comes again
    ready(chrome, 2, 3)
    press(chrome, "u")
    time.sleep(0.2)
    press(chrome, "u")
    until(chrome, "document.querySelector('[data-verdict=b]').getAttribute('aria-pressed') === 'true'")
    assert chrome.evaluate("document.getElementById('comment').value") == "2 it is wrong"
    time.sleep(0.3)
    press(chrome, "x")
    ready(chrome, 2, 3)
    press(chrome, " ")
    until(chrome, f"{SHOWN} === 'finished'")
    by_verdict = sorted(
        (one.preference and (2 - (one.preference == one.left)), one.bad, one.comment) for one in kept(tmp_path)
    )
    assert by_verdict == [(0, False, ""), (0, True, "2 it is wrong"), (1, False, "")]
    assert complaints(chrome) == []
    assert all(url.startswith(server.url) for url in requests(chrome))


def test_a_reload_and_another_link_in_the_same_browser(server: Server, chrome: browser.Browser, tmp_path: Path) -> None:
    go(chrome, server.links["annotator-1"])
    chrome.evaluate("document.getElementById('begin').click()")
    ready(chrome, 0, 3)
    press(chrome, "1")
    ready(chrome, 1, 3)
    there = chrome.evaluate(REQUEST)
    go(chrome, f"{server.url}/")
    ready(chrome, 1, 3)
    assert chrome.evaluate(REQUEST) == there
    # A second tab takes the cookie; the first one's form is now somebody else's, and is not taken.
    chrome.evaluate(f"fetch({server.links['annotator-2']!r}).then(() => window.switched = true)")
    until(chrome, "window.switched === true")
    press(chrome, "1")
    until(chrome, "!document.getElementById('problem').hidden")
    assert "Open your link again" in chrome.evaluate("document.getElementById('problem').textContent")
    assert len(kept(tmp_path)) == 1


def test_three_items_by_touch_on_a_phone(server: Server, chrome: browser.Browser, tmp_path: Path) -> None:
    go(chrome, server.links["annotator-2"], width=390, height=780)
    assert not chrome.evaluate("document.getElementById('key-list').checkVisibility()")
    touch(chrome, "#begin")
    for done, verdict in enumerate(("a", "tie", "b")):
        ready(chrome, done, 3)
        assert chrome.evaluate("document.documentElement.scrollWidth") == 390
        a, b = chrome.evaluate("['a', 'b'].map(x => document.getElementById('side-' + x).getBoundingClientRect().top)")
        assert a < b
        small = "[...document.querySelectorAll('.choices [data-verdict]')].filter(e => e.getBoundingClientRect().height < 44).length"
        assert chrome.evaluate(small) == 0
        inside = "[...document.querySelectorAll('[data-verdict]')].every(e => e.getBoundingClientRect().bottom <= innerHeight)"
        assert chrome.evaluate(inside)
        touch(chrome, f"[data-verdict={verdict}]")
    until(chrome, f"{SHOWN} === 'finished'")
    assert sorted(one.preference == one.left for one in kept(tmp_path)) == [False, False, True]
    assert complaints(chrome) == []


def test_a_double_tap_is_one_verdict(server: Server, chrome: browser.Browser, tmp_path: Path) -> None:
    go(chrome, server.links["annotator-1"], width=390, height=780)
    touch(chrome, "#begin")
    ready(chrome, 0, 3)
    chrome.evaluate("const a = document.querySelector('[data-verdict=a]'); a.click(); a.click()")
    until(chrome, f"{WHERE} === '1 of 3 judged'")
    chrome.evaluate("document.querySelector('[data-verdict=a]').click()")
    ready(chrome, 1, 3)
    assert len(kept(tmp_path)) == 1


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_foreign_text_stays_text(server: Server, chrome: browser.Browser, width: int, dark: bool) -> None:
    go(chrome, server.links["annotator-1"], width=width, dark=dark)
    names, seen = [*NAMES], ""
    assert chrome.evaluate(CONTRAST) == []
    chrome.evaluate("document.getElementById('begin').click()")
    ready(chrome, 0, 3)
    for _ in range(3):
        text = chrome.evaluate("document.querySelector('.answers').textContent")
        seen += text
        assert chrome.evaluate("typeof window.hacked") == "undefined"
        assert chrome.evaluate("document.querySelectorAll('.text script, .text img, .text b').length") == 0
        assert chrome.evaluate("document.documentElement.scrollWidth") == width
        assert chrome.evaluate(CONTRAST) == []
        source = chrome.evaluate("document.documentElement.outerHTML")
        assert not [name for name in names if name in source]
        if "if a < b" in text:
            assert chrome.evaluate("document.querySelector('.answers pre').textContent").startswith(
                "if a < b:\n    print"
            )
        before = chrome.evaluate(REQUEST)
        press(chrome, "s")
        until(chrome, f"{REQUEST} !== {before!r}")
    assert SCRIPT in seen
    assert "<U+202E>evil␛[31m" in seen
    assert complaints(chrome) == []


def test_the_policy_stops_what_the_script_might_let_through(server: Server, chrome: browser.Browser) -> None:
    """Were there a hole in the page's script, the browser would still refuse: no markup out of text, no inline code."""
    go(chrome, server.links["annotator-1"])
    chrome.evaluate("document.body.setAttribute('onclick', 'window.hacked = 3'); document.body.click()")
    chrome.evaluate("try { document.body.innerHTML = '<i>x</i>'; window.hole = 1 } catch (error) { window.shut = 1 }")
    assert chrome.evaluate("window.shut") == 1
    assert chrome.evaluate("typeof window.hacked + typeof window.hole") == "undefinedundefined"


def test_the_next_turn_of_a_conversation(chrome: browser.Browser, tmp_path: Path) -> None:
    files = [
        write_rows(tmp_path / f"{name}.jsonl", [{"id": "1", "turns": ["First?", "And then?"], "texts": [f"one {at}", f"two {at}"]}])
        for at, name in enumerate(NAMES)
    ]  # fmt: skip
    with started(files, tmp_path / "study") as server:
        go(chrome, server.links["annotator-1"])
        chrome.evaluate("document.getElementById('begin').click()")
        ready(chrome, 0, 1)
        shown = chrome.evaluate("['request', 'answer-a'].map(x => document.getElementById(x).innerText)")
        assert shown[0] == "First?"
        assert [line for line in shown[1].split("\n") if line][1:3] == ["The next request", "And then?"]


def test_a_server_that_has_gone_is_told(server: Server, chrome: browser.Browser, tmp_path: Path) -> None:
    go(chrome, server.links["annotator-1"])
    chrome.evaluate("document.getElementById('begin').click()")
    ready(chrome, 0, 3)
    server.process.kill()
    server.process.wait()
    press(chrome, "1")
    until(chrome, "!document.getElementById('problem').hidden")
    assert "Not kept" in chrome.evaluate("document.getElementById('problem').textContent")
    assert chrome.evaluate("document.querySelectorAll('[aria-pressed=true]').length") == 0
    assert kept(tmp_path) == []
