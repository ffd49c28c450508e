"""Which model is measured: what the word MODEL on the command line stands for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson

from evollab.data.rows import excerpt
from evollab.llm.openai import check_url
from evollab.plugs import find
from evollab.records import EvolError

_PROVIDERS = ("local", "openai", "scripted")
_EMBEDDED = "smollm2"


@dataclass(frozen=True, slots=True)
class Contestant:
    """The model that is measured. spec: PROVIDER:NAME. label: what results call it. at: its address, "" where the
    options say how it is reached. checkpoint: its folder, where it is one on this machine."""

    spec: str
    label: str
    at: str = ""
    checkpoint: Path | None = None


async def contestant(model: str, name: str, key: str) -> Contestant:
    """What `model` stands for: PROVIDER:NAME, a checkpoint's folder, a .gguf file, smollm2, or an address.

    name: what it is called there and in results, "" for its own. key: for the address. Raises EvolError.
    """
    if model.startswith(("http://", "https://")):
        url = check_url(model)
        there = name or await _first(url, key)
        return Contestant(f"openai:{there}", there, url)
    provider, colon, rest = model.partition(":")
    if colon and rest and not Path(model).exists():
        find("evollab.llm.providers", provider, "connect", "provider")
        folder = Path(rest) if provider == "local" and Path(rest).is_dir() else None
        return Contestant(model, name or rest.rstrip("/").rpartition("/")[2], checkpoint=folder)
    path = Path(model)
    if path.is_dir() and not (path / "config.json").is_file() and (path / "model" / "config.json").is_file():
        path = path / "model"  # the folder of a training
    if model == _EMBEDDED or path.is_dir() or path.suffix == ".gguf":
        own = path.parent.name if path.name == "model" else path.name
        return Contestant(f"local:{path}", name or own, checkpoint=path if path.is_dir() else None)
    raise EvolError(
        f"{excerpt(model, 80)}: no such model here; expected PROVIDER:NAME, a checkpoint's folder, a .gguf file, "
        f"{_EMBEDDED} or an address (http://.../v1)",
        "for example openai:gpt-4o-mini, runs/sft, or http://127.0.0.1:8000/v1",
    )


async def _first(url: str, key: str) -> str:
    """The model that the server at `url` lists first."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30), cookie_jar=aiohttp.DummyCookieJar()) as http,
            http.get(f"{url}/models", headers=headers, allow_redirects=False) as response,
        ):
            raw = await response.content.read(1 << 22)
            if response.status != 200:
                raise EvolError(
                    f"{url}/models: HTTP {response.status}",
                    "--model-key-env NAME says where the key is; --name the model",
                )
            return str(orjson.loads(raw)["data"][0]["id"])
    except (aiohttp.ClientError, TimeoutError) as error:
        raise EvolError(f"{url} can't be reached: {error or 'no answer'}", "is the server running?") from None
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        raise EvolError(f"{url}/models lists no model", "name it: --name NAME") from None
