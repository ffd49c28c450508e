"""Wire, limits, budget, endpoints: the parts between a request and a reply."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.server import Options, serving
from evollab.evolve.options import EvolveOptions
from evollab.evolve.step import evolve
from evollab.llm import CallFailed, Request, Sampling, call_id
from evollab.llm.budget import Budget, Caps, Price, listed_price, parse_price
from evollab.llm.journal import Totals
from evollab.llm.limits import Limiter, Limits
from evollab.llm.openai import Endpoints, check_url
from evollab.llm.session import ModelOptions, session
from evollab.llm.stop import Stop, Stopped
from evollab.llm.wire import Answer, error_message, parse, retry_after, verdict
from evollab.plugs import find
from evollab.records import EvolError, Message
from tests.models import raw, whole


def ask(prompt: str = "hello", **more: Any) -> Request:
    return Request((Message("user", prompt),), **more)


# ------------------------------------------------------------------------------------ the wire


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"choices": [{"mess', "garbled"),
        (b"[]", "garbled"),
        (b"null", "garbled"),
        (b'{"choices": []}', "empty"),
        (b"{}", "empty"),
        (b'{"choices": [7]}', "garbled"),
        (b'{"choices": [{"message": {"content": 7}}]}', "garbled"),
        (b'{"choices": [{"message": {"content": ["a"]}}]}', "garbled"),
        (b'{"error": {"message": "boom"}}', "server"),
        (raw(whole(None)), "empty"),
        (raw(whole("half", "length")), "truncated"),
        (raw(whole("x", "content_filter")), "content_filter"),
        (b'{"choices": [{"message": {"content": null, "refusal": "no"}, "finish_reason": "stop"}]}', "content_filter"),
    ],
)
def test_what_is_no_reply(body: bytes, kind: str) -> None:
    with pytest.raises(CallFailed) as caught:
        parse(body)
    assert caught.value.kind == kind


def test_replies_of_both_protocols() -> None:
    assert parse(raw(whole("text"))).text == "text"
    assert parse(raw(whole(""))).text == ""
    assert parse(b'{"choices": [{"text": " on", "finish_reason": "stop"}], "usage": null}').text == " on"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_reply_or_a_class(body: bytes) -> None:
    with contextlib.suppress(CallFailed):
        parse(body)
    error_message(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["choices", "message", "content", "text", "finish_reason", "usage", "prompt_tokens"]),
                inner,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_reply_or_a_class(value: object) -> None:
    try:
        body = orjson.dumps(value)
    except TypeError:
        return
    with contextlib.suppress(CallFailed):
        parse(body)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"", "ok"), (429, b"slow down", "refused"), (429, b'{"code":"insufficient_quota"}', "stop"),
        (500, b"", "retry"), (503, b"", "retry"), (408, b"", "retry"), (409, b"", "retry"), (400, b"", "row"),
        (413, b"", "row"), (422, b"", "row"), (401, b"", "stop"), (403, b"", "stop"), (404, b"", "stop"),
        (301, b"", "stop"), (307, b"", "stop"),
    ],
)  # fmt: skip
def test_statuses(status: int, body: bytes, expected: str) -> None:
    assert verdict(Answer(status, None, body)) == expected


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None), ({"Retry-After": "7"}, 7), ({"Retry-After": "1.5"}, 1.5), ({"retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "soon"}, None), ({"Retry-After": "-3"}, None), ({"Retry-After": "1e9"}, 600),
        ({"Retry-After": "nan"}, None), ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
    ],
)  # fmt: skip
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


# ------------------------------------------------------------------------------------ identity


def test_a_calls_identity_is_the_whole_request() -> None:
    base = ask()
    others = [
        ask("hello "), ask(sampling=Sampling(temperature=0.9)), ask(sampling=Sampling(top_p=0.9)), ask(seed=1),
        ask(sampling=Sampling(max_tokens=7)), ask(sampling=Sampling(stop=("x",))), ask(sample=1),
        Request((Message("system", "hello"),)), Request(prompt="hello"),
        Request((Message("system", "s"), Message("user", "hello"))),
    ]  # fmt: skip
    keys = {call_id("m", one.body("m"), one.sample) for one in [base, *others]}
    keys |= {
        call_id("m2", base.body("m"), 0),
        call_id("m", base.body("m2"), 0),
        call_id("m", base.body("m", {"k": 1}), 0),
    }
    assert len(keys) == len(others) + 4
    assert call_id("m", ask(purpose="x").body("m"), 0) == call_id("m", base.body("m"), 0)


# ------------------------------------------------------------------------------------ limits


def test_places_are_never_exceeded_and_always_given_back() -> None:
    async def work() -> int:
        limiter, most = Limiter(Limits(concurrency=3), Stop()), 0

        async def one(n: int) -> None:
            nonlocal most
            await limiter.enter(1)
            most = max(most, limiter.in_flight)
            await asyncio.sleep(0)
            limiter.leave()

        tasks = [asyncio.create_task(one(n)) for n in range(50)]
        await asyncio.sleep(0)
        for task in tasks[5:15]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limiter.in_flight == 0
        return most

    assert asyncio.run(work()) == 3


def test_everybody_waits_only_when_a_quarter_was_refused() -> None:
    limiter = Limiter(Limits(concurrency=32), Stop())
    for _ in range(7):
        limiter.refused(60)
    assert limiter._gate == 0
    assert 28 < limiter.allowed < 32  # each refusal gives way a little
    for _ in range(400):
        limiter.succeeded()
    assert limiter.allowed == 32
    for _ in range(8):
        limiter.refused(60)
    assert limiter._gate > time.monotonic() + 50
    assert limiter.allowed < 32


def test_the_number_in_flight_shrinks_to_a_floor_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = Limiter(Limits(concurrency=64), Stop())
    now = 1000.0
    monkeypatch.setattr("evollab.llm.limits.time.monotonic", lambda: now)
    for _ in range(200):
        now += 1.1
        limiter.strained()
    assert limiter.allowed == 8
    for _ in range(4000):
        limiter.succeeded()
    assert limiter.allowed == 64


def test_a_wait_ends_when_the_run_does() -> None:
    async def work() -> None:
        stop = Stop()
        limiter = Limiter(Limits(concurrency=1, rpm=1), stop)
        await limiter.enter(1)
        limiter.leave()
        task = asyncio.create_task(limiter.enter(1))
        await asyncio.sleep(0)
        stop.because("test")
        with pytest.raises(Stopped):
            await task
        assert limiter.in_flight == 0

    asyncio.run(work())


# ------------------------------------------------------------------------------------ money


def test_budget_counts_what_is_in_flight() -> None:
    totals = Totals()
    budget = Budget(Caps(calls=3), totals)
    first, second = budget.reserve(10, None), budget.reserve(10, None)
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    totals.add(10, 10, None)
    budget.release(first)
    assert isinstance(budget.reserve(10, None), tuple)
    assert budget.reserve(10, None) == "--max-calls 3"


def test_prices() -> None:
    assert parse_price("0.15,0.60") == Price(0.15, 0.60)
    assert Price(1, 2).cost(1_000_000, 500_000) == 2
    listed = listed_price("gpt-4o-mini", "https://api.openai.com/v1")
    assert listed
    assert listed[0] == Price(0.15, 0.6)
    assert listed_price("gpt-4o-mini", "http://127.0.0.1:8000/v1") is None
    assert listed_price("no-such-model", "https://api.openai.com/v1") is None
    for text in ("", "1", "a,b", "1,-2", "nan,1", "1,inf"):
        with pytest.raises(EvolError, match="IN,OUT"):
            parse_price(text)


@pytest.mark.parametrize("url", ["", "localhost:1", "ftp://x/v1", "http://", "http://user:pw@host/v1"])
def test_bad_addresses(url: str) -> None:
    with pytest.raises(EvolError):
        check_url(url)


def test_address_as_people_paste_it() -> None:
    assert check_url("http://h:1/v1/chat/completions") == check_url("http://h:1/v1/") == "http://h:1/v1"


# ------------------------------------------------------------------------------------ endpoints


def run_asks(folder: Path, options: ModelOptions, requests: list[Request]) -> list[object]:
    async def work() -> list[object]:
        async with session(folder, options) as opened:
            model = await opened.model("openai:mock")
            return await asyncio.gather(*(model.ask(one) for one in requests), return_exceptions=True)

    return asyncio.run(work())


def test_several_addresses_share_the_work(tmp_path: Path) -> None:
    with serving(Options(latency_ms=20)) as one, serving(Options(latency_ms=20)) as two:
        options = ModelOptions(base_url=(one.base_url, two.base_url), concurrency=8)
        replies = run_asks(tmp_path, options, [ask(f"Question {n}?") for n in range(60)])
        shares = [server.stats()["requests"] for server in (one, two)]
    assert not any(isinstance(reply, Exception) for reply in replies)
    assert min(shares) >= 20


def test_a_dead_address_is_left_alone(tmp_path: Path) -> None:
    with serving(Options()) as one:
        two = serving(Options())
        dead = two.__enter__()
        url = dead.base_url
        dead.stop()
        options = ModelOptions(base_url=(url, one.base_url), concurrency=4)
        replies = run_asks(tmp_path, options, [ask(f"Question {n}?") for n in range(30)])
    assert not any(isinstance(reply, Exception) for reply in replies)


def test_nobody_there(tmp_path: Path) -> None:
    with serving(Options()) as server:
        url = server.base_url
    seeds = tmp_path / "s.jsonl"
    seeds.write_text('{"instruction": "Explain tides to a sailor."}\n')
    options = EvolveOptions(model="openai:m", base_url=(url,))
    with pytest.raises(EvolError, match="no answer from"):
        asyncio.run(evolve(str(seeds), tmp_path / "run", options))


def test_faults_in_a_mix(tmp_path: Path) -> None:
    """Refusals, errors, cut bodies, empty and null replies: all of it asked again, none of it kept."""
    with serving(Options(p429=5, p500=5, ptrunc=3, pcut=3, pempty=2, pnull=2, retry_after=0.05)) as server:
        options = ModelOptions(base_url=(server.base_url,), concurrency=16)
        replies = run_asks(tmp_path, options, [ask(f"Question {n}?") for n in range(300)])
        stats = server.stats()
    assert not any(isinstance(reply, Exception) for reply in replies)
    assert stats["fault"]
    assert stats["ra_early"] == 0
    import sqlite3

    with sqlite3.connect(tmp_path / "calls.db") as db:
        rows = db.execute("select reply, status from calls").fetchall()
        failures = dict(db.execute("select kind, count(*) from failures group by kind").fetchall())
    db.close()
    assert len(rows) == 300
    assert {status for _, status in rows} == {"ok"}
    assert all(parse(reply.encode()).text for reply, _ in rows)
    assert set(failures) == {"rate_limit", "server", "garbled", "empty"}


def test_time_out_is_asked_again(tmp_path: Path) -> None:
    with serving(Options(ptimeout=20, timeout_hold_s=30)) as server:
        options = ModelOptions(base_url=(server.base_url,), concurrency=16, timeout=0.3)
        replies = run_asks(tmp_path, options, [ask(f"Question {n}?") for n in range(40)])
    assert not any(isinstance(reply, Exception) for reply in replies)


def test_the_key_goes_nowhere_but_to_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123")
    with serving(Options(key="sk-very-secret-0123")) as server:
        replies = run_asks(tmp_path / "a", ModelOptions(base_url=(server.base_url,)), [ask()])
    assert not isinstance(replies[0], Exception)
    sender = Endpoints([server.base_url], key_variable="OPENAI_API_KEY", timeout=1)
    assert sender.redact("Incorrect key sk-very-secret-0123 given") == "Incorrect key [key] given"
    assert not any(b"very-secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_max_cost_needs_a_price(tmp_path: Path) -> None:
    with pytest.raises(EvolError, match="--max-cost needs a price"):
        run_asks(tmp_path, ModelOptions(base_url=("http://127.0.0.1:9/v1",), max_cost=1.0), [])


@pytest.mark.parametrize("name", ["gpt-4o", "openai:", "", "opnai:gpt"])
def test_model_names(tmp_path: Path, name: str) -> None:
    async def work() -> None:
        async with session(tmp_path, ModelOptions()) as opened:
            await opened.model(name)

    with pytest.raises(EvolError) as caught:
        asyncio.run(work())
    if name.startswith("opnai"):
        assert "did you mean openai?" in caught.value.hint
        assert "local, openai, scripted" in caught.value.message


def test_plug_points(tmp_path: Path) -> None:
    file = tmp_path / "law.py"
    file.write_text("from evollab.evolve.domains.general import DOMAIN\n")
    assert find("evollab.evolve.domains", str(file), "DOMAIN", "domain").name == "general"
    with pytest.raises(EvolError, match="there is no such file"):
        find("evollab.evolve.domains", "nowhere.py", "DOMAIN", "domain")
    file.write_text("x = 1\n")
    with pytest.raises(EvolError, match="has no DOMAIN"):
        find("evollab.evolve.domains", str(file), "DOMAIN", "domain")
    with pytest.raises(EvolError, match="there are: general") as caught:
        find("evollab.evolve.domains", "generel", "DOMAIN", "domain")
    assert caught.value.hint == "did you mean general?"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"preset": "papr"}, "paper, release, efficient"), ({"rounds": 0}, "1 or more"), ({"model": ""}, "no model"),
        ({"temperature": 3.0}, "0 to 2"), ({"concurrency": -1}, "0 or more"), ({"timeout": 0.0}, "more than 0"),
        ({"max_calls": 0}, "more than 0"), ({"added_words": -1}, "0 or more"),
    ],
)  # fmt: skip
def test_bad_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(EvolError, match=says):
        EvolveOptions(**{"model": "openai:m", **options})


def test_fields_can_be_taken_out_and_the_limit_renamed() -> None:
    body = orjson.loads(ask(seed=1).body("m", {"temperature": None, "top_k": 0}, "max_completion_tokens"))
    assert "temperature" not in body
    assert "max_tokens" not in body
    assert (body["max_completion_tokens"], body["top_k"]) == (2048, 0)


@pytest.mark.parametrize(
    ("url", "limit"), [("https://api.openai.com/v1", "max_completion_tokens"), ("http://127.0.0.1:1/v1", "max_tokens")]
)
def test_openais_own_models_take_the_newer_name_of_the_limit(url: str, limit: str) -> None:
    from evollab.llm.providers.openai import connect

    async def work() -> str:
        async with connect("m", ModelOptions(base_url=(url,))) as connection:
            return connection.limit

    assert asyncio.run(work()) == limit


def test_a_price_is_not_for_what_runs_here(tmp_path: Path) -> None:
    async def work() -> tuple[object, object]:
        async with session(tmp_path, ModelOptions(price="1,2", base_url=("http://127.0.0.1:9/v1",))) as opened:
            free, paid = await opened.model("scripted:tests.models:good"), await opened.model("openai:m")
            return free.ask.price, paid.ask.price

    assert asyncio.run(work()) == (Price(0, 0), Price(1, 2))
