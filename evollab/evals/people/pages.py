"""What annotators' browsers talk to: one page, and the comparisons one by one as JSON.

    GET  /j/TOKEN      an annotator's link: the page, and a cookie
    GET  /             the page
    GET  /api/next     the first comparison that is not judged; ?after=N: behind the place N, then from the start
    GET  /api/at/N     the comparison at the place N, 0-based
    POST /api/at/N     {"form", "verdict", "comment", "seconds"}: judge it; answers when that is on disk

A comparison is known to the browser by its place in the annotator's own order. No response holds a model's name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from evollab.evals.people.comparisons import Comparison, Shown, assignment
from evollab.evals.people.guard import Address, Annotators, Refused, guard
from evollab.evals.people.judgements import Judgement, Judgements, NotKept
from evollab.evals.people.study import Study
from evollab.inert import inert

MAX_BODY = 64 << 10
MOST_COMMENT = 4000
_MOST_SECONDS = 24 * 3600.0
VERDICTS = ("a", "b", "tie", "bad")
_PAGE = Path(__file__).parent / "page"
_FILES = {"/people.css": "text/css", "/people.js": "text/javascript"}


class Pages:
    """The pages of one study."""

    def __init__(self, study: Study, judgements: Judgements, each: int, seed: int) -> None:
        self._study = study
        self._kept = judgements
        self._comparisons = {one.id: one for one in study.comparisons}
        self._shown = assignment(study.comparisons, study.annotators, each, seed)
        self._who = Annotators(study.links, study.secret)
        self._html = (_PAGE / "index.html").read_text("utf-8")

    def application(self, address: Address) -> web.Application:
        self._secure = address.secure
        app = web.Application(middlewares=[guard(address)], client_max_size=MAX_BODY)
        app.router.add_get("/", self.page)
        app.router.add_get("/j/{token}", self.page)
        app.router.add_get("/api/next", self.following)
        app.router.add_get(r"/api/at/{place:\d{1,9}}", self.at)
        app.router.add_post(r"/api/at/{place:\d{1,9}}", self.judge)
        for path, kind in _FILES.items():
            app.router.add_get(path, _file(path, kind))
        return app

    async def page(self, request: web.Request) -> web.Response:
        response = web.Response(text=self._html, content_type="text/html")
        token = request.match_info.get("token")
        if token is not None:
            self._who.by_token(token)
            response.set_cookie(
                self._who.cookie, token, httponly=True, samesite="Strict", secure=self._secure, max_age=90 * 86400,
                path="/",
            )  # fmt: skip
        return response

    async def following(self, request: web.Request) -> web.Response:
        annotator = self._who.of(request)
        after = request.query.get("after", "-1")
        place = int(after) if after.isascii() and after.isdigit() and len(after) < 10 else -1
        return self._answer(annotator, self._next(annotator, place))

    async def at(self, request: web.Request) -> web.Response:
        annotator, place, _ = self._asked(request)
        return self._answer(annotator, place)

    async def judge(self, request: web.Request) -> web.Response:
        annotator, place, shown = self._asked(request)
        if request.content_type != "application/json":
            raise Refused(415, "Expected JSON.")
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            raise Refused(400, "Expected JSON.") from None
        if not isinstance(body, dict):
            raise Refused(400, "Expected an object.")
        self._who.check_form(annotator, place, body.get("form"))
        judgement = _judgement(annotator, self._comparisons[shown.comparison], shown, body)
        try:
            await asyncio.to_thread(self._kept.add, judgement)
        except NotKept as error:
            raise Refused(507, f"Your judgement could not be kept ({error}). Tell whoever sent you the link.") from None
        return self._answer(annotator, self._next(annotator, place))

    def _asked(self, request: web.Request) -> tuple[str, int, Shown]:
        """Who asks for which comparison. Raises Refused."""
        annotator, place = self._who.of(request), int(request.match_info["place"])
        mine = self._shown[annotator]
        if place >= len(mine):
            raise Refused(404, f"There are {len(mine)} comparisons.")
        return annotator, place, mine[place]

    def _next(self, annotator: str, after: int) -> int | None:
        """The place of the next comparison that is not judged, None when all are."""
        mine = self._shown[annotator]
        order = [*range(after + 1, len(mine)), *range(min(after + 1, len(mine)))]
        return next((at for at in order if (annotator, mine[at].comparison) not in self._kept.now), None)

    def _answer(self, annotator: str, place: int | None) -> web.Response:
        mine = self._shown[annotator]
        done = sum((annotator, one.comparison) in self._kept.now for one in mine)
        told: dict[str, Any] = {"done": done, "total": len(mine), "place": place}
        if place is not None:
            told |= self._comparison(annotator, mine[place]) | {"form": self._who.form(annotator, place)}
        return web.Response(body=orjson.dumps(told), content_type="application/json")

    def _comparison(self, annotator: str, shown: Shown) -> dict[str, Any]:
        one = self._comparisons[shown.comparison]
        item = self._study.item(one.item)
        left, right = (one.model_1, one.model_2) if shown.left == 1 else (one.model_2, one.model_1)
        kept = self._kept.now.get((annotator, one.id))
        verdict = None if kept is None else _verdict(kept)
        return {
            "turns": _inert(item.turns),
            "a": _inert(item.answers[left]),
            "b": _inert(item.answers[right]),
            "verdict": verdict,
            "comment": "" if kept is None else kept.comment,
        }


def _inert(texts: Sequence[str]) -> list[str]:
    return [inert(text) for text in texts]


def _verdict(kept: Judgement) -> str:
    if not kept.preference:
        return "bad" if kept.bad else "tie"
    return "a" if kept.preference == kept.left else "b"


def _judgement(annotator: str, one: Comparison, shown: Shown, body: dict[str, Any]) -> Judgement:
    """What a form says. Raises Refused."""
    verdict, comment, seconds = body.get("verdict"), body.get("comment", ""), body.get("seconds")
    if verdict not in VERDICTS:
        raise Refused(400, f"Expected a verdict of {', '.join(VERDICTS)}.")
    if not isinstance(comment, str) or len(comment) > MOST_COMMENT:
        raise Refused(400, f"Expected a comment of at most {MOST_COMMENT:,} characters.")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= _MOST_SECONDS:
        seconds = None
    preference = {"a": shown.left, "b": 3 - shown.left}.get(verdict, 0)
    return Judgement(
        annotator, one.id, one.item, one.model_1, one.model_2, preference, verdict == "bad", shown.left,
        inert(comment).strip(), None if seconds is None else round(float(seconds), 1), round(time.time(), 3),
    )  # fmt: skip


def _file(path: str, kind: str) -> Any:
    text = (_PAGE / path[1:]).read_text("utf-8")

    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(text=text, content_type=kind)

    return answer
