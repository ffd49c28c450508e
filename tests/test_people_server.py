"""The annotators' server over the wire: what it gives, what it refuses, what a kill leaves."""

from __future__ import annotations

import asyncio
import errno
import http.client
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from evollab.evals.people.guard import address_of
from evollab.evals.people.judgements import JUDGEMENTS, Judgements, read_judgements
from evollab.evals.people.options import PeopleOptions
from evollab.evals.people.server import listening
from evollab.evals.people.study import Study, open_study
from evollab.records import EvolError
from tests.people_study import NAMES, started, write_outputs

SCRIPT = "<script>window.hacked=1</script><img src=x onerror=alert(1)>"


class Annotator:
    """One person's browser: cookies, and the origin of the page."""

    def __init__(self, url: str, link: str) -> None:
        self.url, self._link = url, link
        self.heard: list[bytes] = []
        """Everything that ever came: bodies and headers."""

    async def __aenter__(self) -> Annotator:
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        assert (await self.ask("GET", self._link))[0] == 200
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.http.close()

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        headers = {"Origin": self.url, **more.pop("headers", {})} if method == "POST" else more.pop("headers", {})
        async with self.http.request(method, self.url + path, headers=headers, **more) as response:
            body = await response.read()
            self.heard += [body, str(response.headers).encode()]
            return response.status, json.loads(body) if response.content_type == "application/json" else body

    async def next(self) -> dict[str, Any]:
        status, told = await self.ask("GET", "/api/next")
        assert status == 200
        return dict(told)

    async def judge(self, told: dict[str, Any], verdict: str, **more: Any) -> tuple[int, Any]:
        body = {"form": told["form"], "verdict": verdict, "comment": "", "seconds": 2.5, **more}
        return await self.ask("POST", f"/api/at/{told['place']}", json=body)


def link_of(study: Study, number: int = 1) -> str:
    return f"/j/{study.links[f'annotator-{number}']}"


def serving(
    tmp_path: Path,
    visit: Callable[[Study, Judgements, str], Awaitable[None]],
    files: list[str] | None = None,
    **more: Any,
) -> Study:
    """Run `visit` while a study of two models is served."""
    options = PeopleOptions(port=0, **more)
    study, _ = open_study(files or write_outputs(tmp_path / "in", 4, i0=SCRIPT), tmp_path / "study", options)

    async def go() -> None:
        with Judgements(study.folder / JUDGEMENTS) as judgements:
            async with listening(study, judgements, options) as url:
                await visit(study, judgements, url)

    asyncio.run(go())
    return study


def test_two_annotators_judge_everything(tmp_path: Path) -> None:
    orders: list[list[str]] = []

    async def visit(study: Study, judgements: Judgements, url: str) -> None:
        async with Annotator(url, link_of(study, 1)) as one, Annotator(url, link_of(study, 2)) as two:
            for person, verdict in ((one, "a"), (two, "bad")):
                seen = []
                told = await person.next()
                for number in range(4):
                    assert (told["done"], told["total"], told["place"]) == (number, 4, number)
                    assert told["verdict"] is None
                    seen.append(told["turns"][0])
                    status, told = await person.judge(told, verdict, comment=f"so {number}")
                    assert status == 200
                assert told == {"done": 4, "total": 4, "place": None}
                orders.append(seen)
                heard = b"".join(person.heard).lower()
                assert not [name for name in NAMES if name.encode() in heard]
                assert not [one.id for one in study.comparisons if one.id.encode() in heard]

    study = serving(tmp_path, visit, annotators=2)
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    kept = read_judgements(study.folder / JUDGEMENTS)
    assert len(kept) == 8
    for (annotator, _), one in kept.items():
        assert one.preference == (one.left if annotator == "annotator-1" else 0)
        assert one.bad == (annotator == "annotator-2")
        assert one.seconds == 2.5
        assert one.comment.startswith("so ")


def test_the_answer_on_the_left_is_the_one_that_wins(tmp_path: Path) -> None:
    async def visit(study: Study, judgements: Judgements, url: str) -> None:
        async with Annotator(url, link_of(study)) as one:
            told = await one.next()
            while told["place"] is not None:
                first_model_left = not told["a"][0].startswith("Second")
                _, told = await one.judge(told, "a" if first_model_left else "b")

    study = serving(tmp_path, visit)
    kept = read_judgements(study.folder / JUDGEMENTS).values()
    assert [one.preference for one in kept] == [1] * 4
    assert {one.left for one in kept} == {1, 2}


def test_changing_ones_mind_and_skipping(tmp_path: Path) -> None:
    async def visit(study: Study, judgements: Judgements, url: str) -> None:
        async with Annotator(url, link_of(study)) as one:
            told = await one.next()
            _, second = await one.judge(told, "a", comment=" first\u202e ")
            status, back = await one.ask("GET", "/api/at/0")
            assert (status, back["verdict"], back["comment"], back["form"]) == (200, "a", "first<U+202E>", told["form"])
            assert (await one.judge(back, "tie"))[0] == 200
            _, after = await one.ask("GET", "/api/next?after=1")
            assert after["place"] == 2
            _, after = await one.ask("GET", "/api/next?after=3")
            assert after["place"] == second["place"] == 1
            _, after = await one.ask("GET", "/api/next?after=x")
            assert after["place"] == 1
            assert (await one.ask("GET", "/api/at/4"))[0] == 404

    study = serving(tmp_path, visit)
    (kept,) = read_judgements(study.folder / JUDGEMENTS).values()
    assert (kept.preference, kept.bad) == (0, False)


def test_text_comes_as_text(tmp_path: Path) -> None:
    """A model's script is a string in JSON, which no browser takes for a page."""

    async def visit(study: Study, judgements: Judgements, url: str) -> None:
        async with Annotator(url, link_of(study)) as one:
            for place in range(4):
                async with one.http.get(f"{url}/api/at/{place}") as response:
                    assert response.content_type == "application/json"
                    assert response.headers["X-Content-Type-Options"] == "nosniff"
                    told = await response.json()
                    if SCRIPT in (*told["a"], *told["b"]):
                        return
        raise AssertionError("the script was never shown")

    serving(tmp_path, visit)


def test_only_links_open_it(tmp_path: Path) -> None:
    async def visit(study: Study, judgements: Judgements, url: str) -> None:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            for path in ("/api/next", "/api/at/0", "/j/wrong", "/j/%ff"):
                async with http.get(url + path) as response:
                    assert response.status == 403, path
                    assert "link is not valid" in await response.text()
                    assert (response.content_type == "application/json") == path.startswith("/api/")
            async with http.get(url + link_of(study)) as response:
                assert response.status == 200
                cookie = response.headers["Set-Cookie"]
                policy = response.headers["Content-Security-Policy"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            (name,) = (one.key for one in http.cookie_jar)
            http.cookie_jar.clear()
            http.cookie_jar.update_cookies({name: "x" * 32}, URL(url))
            async with http.get(url + "/api/next") as response:
                assert response.status == 403
            async with http.get(url + "/nothing") as response:
                assert response.status == 404
                assert response.headers["Content-Security-Policy"] == policy

    serving(tmp_path, visit)


def test_other_pages_are_refused(tmp_path: Path) -> None:
    async def visit(study: Study, judgements: Judgements, url: str) -> None:
        async with Annotator(url, link_of(study, 1)) as one, Annotator(url, link_of(study, 2)) as two:
            told, theirs = await one.next(), await two.next()
            body = {"form": told["form"], "verdict": "a"}
            there = "/api/at/0"
            for headers in (
                {"Origin": "http://evil.example"},
                {"Origin": "null"},
                {"Origin": url.replace("http", "https")},
            ):
                assert (await one.ask("POST", there, json=body, headers=headers))[0] == 403, headers
                assert (await one.ask("GET", "/api/next", headers=headers))[0] == 403
            async with one.http.post(url + there, json=body) as response:  # no Origin at all
                assert response.status == 403
            for form in (None, "", "x" * 32, theirs["form"], (await one.ask("GET", "/api/at/1"))[1]["form"]):
                status, refused = await one.ask("POST", there, json={"form": form, "verdict": "a"})
                assert status == 403, form
                assert "out of date" in refused["error"]
            assert (await one.ask("POST", there, data=json.dumps(body), headers={"Content-Type": "text/plain"}))[
                0
            ] == 415
            for host in ("evil.example", "127.0.0.1.evil.example", "", "[", "localhost@evil.example"):
                assert (await one.ask("GET", "/", headers={"Host": host}))[0] in (400, 421), host
            assert (await one.ask("GET", "/", headers={"Host": f"localhost:{URL(url).port}"}))[0] == 200
            assert judgements.now == {}
            assert (await one.ask("POST", there, json=body))[0] == 200

    serving(tmp_path, visit, annotators=2)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"verdict": "c"}, 400), ({"verdict": None}, 400), ({"verdict": ["a"]}, 400), ({"verdict": "a", "comment": 3}, 400),
        ({"verdict": "a", "comment": "x" * 4001}, 400), ({"verdict": "a", "comment": "x" * 70_000}, 413),
        ({"verdict": "a", "seconds": "soon"}, 200), ({"verdict": "a", "seconds": -1}, 200), ({"verdict": "a", "seconds": True}, 200),
    ],
)  # fmt: skip
def test_what_a_form_may_say(tmp_path: Path, body: dict[str, Any], status: int) -> None:
    async def visit(study: Study, judgements: Judgements, url: str) -> None:
        async with Annotator(url, link_of(study)) as one:
            told = await one.next()
            got, _ = await one.ask("POST", "/api/at/0", json={"form": told["form"], **body})
            assert got == status
            assert len(judgements.now) == (status == 200)
            assert [kept.seconds for kept in judgements.now.values()] == [None] * (status == 200)

    serving(tmp_path, visit)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"a"', b"\xff"])
def test_bodies_that_are_none(tmp_path: Path, body: bytes) -> None:
    async def visit(study: Study, judgements: Judgements, url: str) -> None:
        async with Annotator(url, link_of(study)) as one:
            got, _ = await one.ask("POST", "/api/at/0", data=body, headers={"Content-Type": "application/json"})
            assert got == 400

    serving(tmp_path, visit)


def test_a_full_disk_is_told_and_keeps_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def visit(study: Study, judgements: Judgements, url: str) -> None:
        async with Annotator(url, link_of(study)) as one:
            _, told = await one.judge(await one.next(), "a")
            before = (study.folder / JUDGEMENTS).read_bytes()

            def half(fd: int, data: bytes) -> int:
                return write(fd, data[:40])

            def none(fd: int, data: bytes) -> int:
                raise OSError(errno.ENOSPC, "No space left on device")

            write = os.write
            for failing in (half, none):
                with monkeypatch.context() as patch:
                    patch.setattr("evollab.evals.people.judgements.os.write", failing)
                    status, refused = await one.judge(told, "b")
                assert (status, "could not be kept" in refused["error"]) == (507, True)
                assert (study.folder / JUDGEMENTS).read_bytes() == before
            assert (await one.judge(told, "b"))[0] == 200

    study = serving(tmp_path, visit)
    assert len(read_judgements(study.folder / JUDGEMENTS)) == 2


def test_an_address_behind_a_proxy() -> None:
    address = address_of("127.0.0.1", 8100, "https://people.example.org")
    assert address.secure
    assert {"127.0.0.1", "localhost", "people.example.org"} <= address.hosts
    assert {"https://people.example.org", "http://127.0.0.1:8100"} <= address.origins
    assert "http://people.example.org" not in address.origins
    assert "http://[::1]:8100" in address_of("::1", 8100, "").origins


def test_a_port_in_use_and_a_folder_in_use(tmp_path: Path) -> None:
    files = write_outputs(tmp_path / "in", 2)
    with started(files, tmp_path / "one") as first:
        port = URL(first.url).port
        with (
            pytest.raises(AssertionError, match=f"port {port} of 127.0.0.1 is in use"),
            started(files, tmp_path / "two", port=port),
        ):
            pass
        with pytest.raises(AssertionError, match="is in use by process"), started(files, tmp_path / "one"):
            pass


def test_it_goes_on_after_a_kill(tmp_path: Path) -> None:
    """What was acknowledged is there after SIGKILL; the links and the order are the same; Ctrl-C ends with results."""
    files = write_outputs(tmp_path / "in", 4)

    def visit(url: str, link: str) -> tuple[http.client.HTTPConnection, dict[str, str]]:
        wire = http.client.HTTPConnection(str(URL(url).host), URL(url).port, timeout=20)
        wire.request("GET", URL(link).path)
        response = wire.getresponse()
        response.read()
        cookie = str(response.headers["Set-Cookie"]).partition(";")[0]
        return wire, {"Cookie": cookie, "Origin": url, "Content-Type": "application/json"}

    def ask(wire: http.client.HTTPConnection, headers: dict[str, str], path: str, body: Any = None) -> dict[str, Any]:
        wire.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
        response = wire.getresponse()
        assert response.status == 200
        return dict(json.loads(response.read()))

    with started(files, tmp_path / "study") as server:
        links = server.links
        wire, headers = visit(server.url, links["annotator-1"])
        told = ask(wire, headers, "/api/next")
        for _ in range(2):
            told = ask(wire, headers, f"/api/at/{told['place']}", {"form": told["form"], "verdict": "a"})
        wire.close()
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with open(tmp_path / "study" / JUDGEMENTS, "ab") as file:
        file.write(b'{"annotator":"annotator-1","compari')  # as if it had died while writing the third
    with started(files, tmp_path / "study") as server:
        assert {name: URL(link).path for name, link in server.links.items()} == {
            name: URL(link).path for name, link in links.items()
        }
        wire, headers = visit(server.url, server.links["annotator-1"])
        again = ask(wire, headers, "/api/next")
        assert again == told
        assert again["done"] == 2
        assert ask(wire, headers, "/api/at/2", {"form": again["form"], "verdict": "tie"})["done"] == 3
        wire.close()
        server.process.send_signal(signal.SIGINT)
        assert server.process.stdout is not None
        printed = server.process.stdout.read()
        assert server.process.wait(30) == 0
    assert "3 judgements of 4 comparisons" in printed
    assert len(read_judgements(tmp_path / "study" / JUDGEMENTS)) == 3
    assert json.loads((tmp_path / "study" / "results.json").read_text())["judgements"] == 3


def test_a_host_that_is_not_ours(tmp_path: Path) -> None:
    async def visit(study: Study, judgements: Judgements, url: str) -> None:
        raise AssertionError("nothing should listen")

    with pytest.raises(EvolError, match=r"can't listen at 192\.0\.2\.1"):
        serving(tmp_path, visit, host="192.0.2.1")
