"""The scripted server that tests and measurements lean on: its answers, its faults, its accounts."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import texts  # noqa: E402
from bench.server import Options, Running, Server, serving  # noqa: E402
from evollab.evolve.domains.general import DOMAIN  # noqa: E402
from evollab.evolve.eliminate import ALL_CHECKS, Attempt, first_objection  # noqa: E402
from evollab.evolve.formats import parses  # noqa: E402
from evollab.evolve.gain import judge_prompt, read_verdict  # noqa: E402
from evollab.evolve.operation import Operation  # noqa: E402
from evollab.llm.fill import fill  # noqa: E402
from evollab.records import seed_instruction  # noqa: E402

EVOLVE = "Rewrite it.\n#The Given Prompt#:\nList three uses of copper.\n\n#Rewritten Prompt#:\n"
JUDGE = "Same or not? Reply Equal or Not Equal."


class Answered:
    """One HTTP answer: status, headers (names in lower case), body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        text: str = self.json["choices"][0]["message"]["content"]
        return text


def send(server: Running, method: str, path: str, body: bytes = b"", **headers: str) -> Answered:
    host = server.base_url.removeprefix("http://").removesuffix("/v1")
    connection = http.client.HTTPConnection(host, timeout=20)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answered(response.status, names, response.read())
    finally:
        connection.close()


def ask(server: Running, prompt: str, **fields: Any) -> Answered:
    body = {"model": "mock", "messages": [{"role": "user", "content": prompt}], **fields}
    return send(server, "POST", "/v1/chat/completions", json.dumps(body).encode())


def _options(name: str) -> Options:
    """Everything as it should be, but this happens every time."""
    options = Options()
    setattr(options, name, 100.0)
    return options


def rendered(operation: Operation, instruction: str, form: int = 0) -> str:
    chosen = operation.formats[form] if operation.formats else None
    parts = {"format": chosen.name, "before": chosen.before, "after": chosen.after} if chosen else {}
    return fill(operation.prompt, instruction=instruction, context="", budget="10 to 20 words", **parts)


# ------------------------------------------------------------------ texts


@given(st.integers(0, 2**192 - 1))
def test_a_rewriting_adds_ten_to_twenty_words(number: int) -> None:
    assert 10 <= len(texts.added_words(number).split()) <= 20
    assert texts.rewriting(EVOLVE, number).startswith("List three uses of copper. ")


@given(st.integers(0, 2**192 - 1), st.integers(1, 80), st.integers(0, 80))
def test_prose_has_the_words_that_were_asked_for(number: int, low: int, more: int) -> None:
    text, words = texts.prose(number, low, low + more)
    assert words == len(text.split())
    assert low <= words <= low + more + 30  # whole sentences: up to one more


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=200))
def test_the_given_prompt_is_found_whatever_it_holds(text: str) -> None:
    for operation in DOMAIN.operations:
        assert texts.given_prompt(rendered(operation, text)) == text.strip()


def test_a_prompt_without_markers_is_its_own_given_prompt() -> None:
    assert texts.given_prompt(" What is rust? \n") == "What is rust?"


@pytest.mark.parametrize("form", range(6))
def test_data_are_of_the_format_that_the_prompt_asks_for(form: int) -> None:
    operation = DOMAIN.operation("complicate-input")
    text = texts.rewriting(rendered(operation, "Plan a week of meals.", form), 12345)
    head, fence, rest = text.partition(f"```{operation.formats[form].fence}\n")
    assert fence, text
    assert head.startswith("Plan a week of meals. ")
    assert parses(operation.formats[form].fence, rest.removesuffix("```")) is None


def test_no_check_objects_to_a_rewriting() -> None:
    parent = seed_instruction("Describe a garden in winter")
    for operation in DOMAIN.operations:
        for number in range(200):
            form = number % len(operation.formats) if operation.formats else 0
            text = texts.rewriting(rendered(operation, parent.text, form), number * 7919)
            chosen = operation.formats[form] if operation.formats else None
            attempt = Attempt(parent, (parent.text,), operation, DOMAIN, text, chosen)
            assert first_objection(attempt, ALL_CHECKS) is None, text


@pytest.mark.parametrize("end", ["```", "[[BLOCK 1]]"])
def test_a_block_at_the_end_stays_on_its_own_line(end: str) -> None:
    prompt = f"#The Given Prompt#:\nRun this.\n```\nx\n{end}\n\n#Rewritten Prompt#:\n"
    assert f"{end}\n\n" in texts.rewriting(prompt, 5)


def test_a_completion_stays_on_its_line() -> None:
    for number in range(50):
        assert "\n" not in texts.completion("Task: x\nRequirement: Your answer must", number)
        assert texts.completion("Task: x\nThings:", number).count(";") == 3


# ------------------------------------------------------------------ answers


def test_kinds_are_told_apart_and_counted() -> None:
    with serving() as server:
        assert ask(server, EVOLVE).text.startswith("List three uses of copper. ")
        assert read_verdict(ask(server, judge_prompt("a", "b")).text) == "not equal"
        assert 60 <= len(ask(server, "What is rust?").text.split()) <= 150
        plain = send(server, "POST", "/v1/completions", b'{"model": "m", "prompt": "Task: x\\nRarer task:"}')
        assert plain.json["choices"][0]["text"].startswith(" ")
        assert server.stats()["kind"] == {"evolve": 2, "judge": 1, "answer": 1}


def test_an_answer_depends_on_the_request_alone() -> None:
    prompts = [f"Question {n}" for n in range(20)]
    with serving() as one, serving(Options(latency_ms=2)) as other:
        forwards = [ask(one, prompt).body for prompt in prompts]
        backwards = [ask(other, prompt).body for prompt in reversed(prompts)]
        assert forwards == backwards[::-1]
        assert len(set(forwards)) == len(prompts)
        assert ask(one, prompts[0], temperature=0.5).text != ask(one, prompts[0]).text


def test_usage_is_counted_alike_in_replies_and_stats() -> None:
    with serving() as server:
        usage = [ask(server, f"Question {n}").json["usage"] for n in range(3)]
        stats = server.stats()
        assert stats["prompt_tokens"] == sum(one["prompt_tokens"] for one in usage) > 0
        assert stats["completion_tokens"] == sum(one["completion_tokens"] for one in usage) > 0


@pytest.mark.parametrize(
    ("option", "prompt", "expected"),
    [
        ("equal_pct", JUDGE, "Equal"),
        ("sorry_pct", "What is rust?", "I'm sorry, but I can't help with that."),
        ("copy_pct", EVOLVE, "List three uses of copper."),
        ("blank_pct", EVOLVE, "\n"),
    ],
)
def test_misbehaviour_at_a_hundred_percent(option: str, prompt: str, expected: str) -> None:
    with serving(_options(option)) as server:
        assert ask(server, prompt).text == expected


def test_leaks_and_overlong_rewritings() -> None:
    with serving(Options(leak_pct=100)) as server:
        assert ask(server, EVOLVE).text.startswith("#Rewritten Prompt#:\nList three")
        server.configure(leak_pct=0, long_pct=100)
        assert len(ask(server, EVOLVE).text.split()) > 150


def test_shares_are_about_what_was_asked_for() -> None:
    server = Server(Options(equal_pct=30))
    job = _job(server, "judge")
    said = [server.say(job(n))[0] for n in range(2000)]
    assert 0.26 < said.count("Equal") / len(said) < 0.34


def test_latencies_have_the_mean_that_was_asked_for() -> None:
    server = Server(Options(latency_ms=50, latency_sigma=0.5))
    job = _job(server, "answer")
    delays = [server.delay(job(n).digest) for n in range(3000)]
    assert 0.047 < sum(delays) / len(delays) < 0.053
    assert min(delays) < 0.02
    assert max(delays) > 0.12
    assert Server(Options(latency_ms=50)).delay(job(1).digest) == 0.05


def _job(server: Server, kind: str) -> Any:
    from hashlib import blake2b

    from bench.server import _Job

    def make(number: int) -> _Job:
        body = b"%d" % number
        return _Job(body, blake2b(body, digest_size=32, key=server.salt).digest(), "", "m", kind, plain=False)

    return make


# ------------------------------------------------------------------ faults


@pytest.mark.parametrize(("fault", "status"), [("p500", 500), ("p503", 503), ("p429", 429), ("p400", 400)])
def test_faults_with_a_status(fault: str, status: int) -> None:
    with serving(_options(fault)) as server:
        answer = ask(server, "x")
        assert answer.status == status
        assert answer.json["error"]["message"]
        stats = server.stats()
        assert stats["fault"] == {fault: 1}
        assert stats["answered"] == 0
        assert stats["inflight"] == 0


def test_faults_inside_a_good_status() -> None:
    with serving(Options(ptrunc=100)) as server:
        with pytest.raises(ValueError, match=r"Unterminated|Expecting|delimiter"):
            _ = ask(server, "x").json
        server.configure(ptrunc=0, pempty=100)
        assert ask(server, "x").json["choices"] == []
        server.configure(pempty=0, pnull=100)
        assert ask(server, "x").json["choices"][0]["message"]["content"] is None
        server.configure(pnull=0, plength=100)
        cut = ask(server, "x")
        assert cut.json["choices"][0]["finish_reason"] == "length"
        server.configure(plength=0, pcut=100)
        with pytest.raises(http.client.IncompleteRead):
            ask(server, "x")
        stats = server.stats()
        assert stats["answered"] == 5
        assert stats["answered_ok"] == 1, "only the shortened reply is one that a provider would be paid for"
        server.configure(pcut=0)
        assert ask(server, "x").text.startswith(cut.text)


def test_a_request_that_is_never_answered() -> None:
    with serving(Options(ptimeout=100, timeout_hold_s=0.01)) as server:
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            ask(server, "x")
        assert server.stats()["fault"] == {"ptimeout": 1}


def test_faults_do_not_depend_on_order_and_retries_draw_anew() -> None:
    prompts = [f"Question {n}" for n in range(120)]

    def failing(order: list[str]) -> set[str]:
        with serving(Options(p500=30)) as server:
            return {prompt for prompt in order if ask(server, prompt).status == 500}

    first = failing(prompts)
    assert 15 <= len(first) <= 60
    assert failing(prompts[::-1]) == first
    with serving(Options(p500=30)) as server:
        again = [{ask(server, prompt).status for _ in range(12)} for prompt in sorted(first)]
        assert all(200 in statuses for statuses in again)
        assert server.stats()["repeats"] == 11 * len(first)


def test_a_filtered_request_is_filtered_every_time() -> None:
    with serving(Options(p400=50)) as server:
        statuses = [[ask(server, f"Question {n}").status for _ in range(3)] for n in range(30)]
        assert all(len(set(one)) == 1 for one in statuses)
        assert {one[0] for one in statuses} == {200, 400}


def test_no_faults_before_the_time_that_was_set() -> None:
    with serving(Options(p500=100, fault_after=2)) as server:
        assert [ask(server, f"Question {n}").status for n in range(3)] == [200, 200, 500]


# ------------------------------------------------------------------ limits


def test_a_limit_on_requests_and_its_retry_after() -> None:
    with serving(Options(rpm=60, burst=3)) as server:
        answers = [ask(server, f"Question {n}") for n in range(5)]
        assert [one.status for one in answers] == [200, 200, 200, 429, 429]
        assert answers[3].headers["retry-after"] == "1"
        assert server.stats()["fault"] == {"429_limit": 2}
        server.configure(rpm=0)
        assert ask(server, "Question 3").status == 200
        assert server.stats()["ra_early"] == 1, "it came back before the second was over"


def test_a_limit_on_tokens_counts_what_may_be_used() -> None:
    with serving(Options(tpm=6000, burst=5)) as server:  # 500 tokens at the start, 100 more a second
        assert ask(server, "a", max_tokens=300).status == 200
        assert ask(server, "b", max_tokens=300).status == 429


@pytest.mark.parametrize("style", ["seconds", "ms", "date", "none"])
def test_styles_of_retry_after(style: str) -> None:
    with serving(Options(p429=100, retry_after=7, retry_after_header=style)) as server:
        headers = ask(server, "x").headers
        if style == "seconds":
            assert headers["retry-after"] == "7"
        elif style == "ms":
            assert headers["retry-after-ms"] == "7000"
        elif style == "date":
            due = email.utils.parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time()
            assert 3 < due <= 7
        else:
            assert not {"retry-after", "retry-after-ms"} & set(headers)


def test_requests_above_the_limit_in_flight_are_refused() -> None:
    with serving(Options(latency_ms=60_000, max_inflight=1)) as server, _connected(server) as held:
        held.sendall(_raw("first"))
        while server.stats()["inflight"] < 1:
            time.sleep(0.001)
        assert ask(server, "second").status == 429
        assert server.stats()["fault"] == {"429_inflight": 1}


# ------------------------------------------------------------------ accounts


def test_what_was_paid_twice_is_told() -> None:
    with serving() as server:
        for prompt in ("a", "b", "a", "a"):
            ask(server, prompt)
        stats = server.stats()
        assert (stats["requests"], stats["answered_ok"], stats["paid_twice"]) == (4, 4, 2)
        assert (stats["distinct_requests"], stats["distinct_answered"], stats["repeats"]) == (2, 2, 2)
        repeats = send(server, "GET", "/repeats").json
        assert [one["messages"][0]["content"] for one in repeats] == ["a", "a"]
        server.reset()
        ask(server, "a")
        assert server.stats()["paid_twice"] == 0


def test_an_answer_that_was_lost_or_garbled_is_not_paid_twice() -> None:
    with serving(Options(ptrunc=100)) as server:
        ask(server, "a")
        server.configure(ptrunc=0)
        ask(server, "a")
        assert server.stats()["paid_twice"] == 0


def test_a_client_that_hangs_up_is_noticed() -> None:
    with serving(Options(latency_ms=60_000)) as server:
        with _connected(server) as client:
            client.sendall(_raw("x"))
            while server.stats()["inflight"] < 1:
                time.sleep(0.001)
        while server.stats()["inflight"]:
            time.sleep(0.001)
        stats = server.stats()
        assert (stats["lost_answers"], stats["connections"], stats["answered"]) == (1, 0, 0)


def test_bodies_are_kept_on_request() -> None:
    with serving(Options(keep=2)) as server:
        for prompt in ("a", "b", "c"):
            ask(server, prompt)
        assert [one["messages"][0]["content"] for one in server.requests()] == ["b", "c"]


# ------------------------------------------------------------------ protocol


def _raw(prompt: str) -> bytes:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}]}).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@contextlib.contextmanager
def _connected(server: Running) -> Any:
    host, _, port = server.base_url.removeprefix("http://").removesuffix("/v1").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        yield connection


def _read(connection: socket.socket) -> dict[str, Any]:
    with connection.makefile("rb") as stream:
        head = b"".join(iter(stream.readline, b"\r\n"))
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        value: dict[str, Any] = json.loads(stream.read(length))
        return value


def test_requests_may_come_in_pieces() -> None:
    with serving() as server, _connected(server) as client:
        for byte in _raw("What is rust?"):
            client.sendall(bytes([byte]))
        assert _read(client)["choices"]


@pytest.mark.parametrize("latency", [0, 5])
def test_requests_in_one_packet_are_answered_in_order(latency: int) -> None:
    with serving(Options(latency_ms=latency)) as server, _connected(server) as client:
        client.sendall(_raw("first") + _raw("second"))
        with client.makefile("rb") as stream:
            ids: list[str] = []
            for _ in range(2):
                head = b"".join(iter(stream.readline, b"\r\n"))
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                ids.append(json.loads(stream.read(length))["id"])
        client.sendall(_raw("first"))
        assert _read(client)["id"] == ids[0] != ids[1]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"messages": []}', b'{"messages": [{}]}', b'{"messages": "x"}', b"\xff"]
)
def test_what_is_no_request_gets_a_400(body: bytes) -> None:
    with serving() as server:
        assert send(server, "POST", "/v1/chat/completions", body).status == 400
        assert server.stats()["requests"] == 0


def test_system_messages_and_parts_are_read() -> None:
    messages = [
        {"role": "system", "content": "#Rewritten Prompt#"},
        {"role": "user", "content": [{"type": "text", "text": "x"}]},
    ]
    with serving() as server:
        send(server, "POST", "/v1/chat/completions", json.dumps({"model": "m", "messages": messages}).encode())
        assert server.stats()["kind"]["evolve"] == 1


def test_a_key_can_be_demanded() -> None:
    with serving(Options(key="sk-Right")) as server:
        body = b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}'
        assert send(server, "POST", "/v1/chat/completions", body).status == 401
        assert send(server, "POST", "/v1/chat/completions", body, Authorization="Bearer sk-Wrong").status == 401
        assert send(server, "POST", "/v1/chat/completions", body, Authorization="Bearer sk-Right").status == 200


def test_every_request_can_get_one_status() -> None:
    with serving(Options(status=402)) as server:
        assert ask(server, "x").status == 402


def test_other_addresses() -> None:
    with serving() as server:
        assert send(server, "GET", "/v1/models").json["data"][0]["id"] == "mock"
        assert send(server, "GET", "/nothing").status == 404
        assert send(server, "POST", "/config", b'{"latency_ms": 3}').json["latency_ms"] == 3.0
        assert send(server, "POST", "/config", b'{"speed": 3}').status == 400
        assert send(server, "POST", "/config", b'{"p500": "much"}').status == 400
        assert send(server, "GET", "/stats").json["options"]["latency_ms"] == 3.0
        assert send(server, "POST", "/reset").status == 200
        with pytest.raises(KeyError):
            server.configure(speed=3)


def test_stopping_twice_does_no_harm() -> None:
    with serving() as server:
        server.stop()


def test_as_a_program() -> None:
    command = [sys.executable, str(ROOT / "bench" / "server.py"), "--port", "0", "--equal-pct", "100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        running = Running(address, process.terminate, dict, lambda: None, lambda: None, list)
        try:
            assert ask(running, JUDGE).text == "Equal"
        finally:
            process.terminate()
            assert process.wait(20) == 0
