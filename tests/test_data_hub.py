"""The hub, without the hub: stand-ins for its two packages note what they are asked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evollab.data import hub
from evollab.data.export import ExportOptions, export_run
from evollab.data.files import input_digest, read_seeds
from evollab.records import EvolError
from tests.test_data_export import a_run, lineages

SECRET = "hf_not-a-real-token"


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("datasets", "huggingface_hub", "huggingface_hub.errors"):
        monkeypatch.setitem(sys.modules, name, None)


class Datasets(ModuleType):
    """Stands in for `datasets`."""

    def __init__(self) -> None:
        super().__init__("datasets")
        self.asked: list[tuple[Any, ...]] = []
        self.found: Any = []
        self.fault: Exception | None = None

    def load_dataset(self, path: str, **options: Any) -> Iterator[dict[str, Any]]:
        self.asked.append((path, options))
        if self.fault:
            raise self.fault
        return iter(self.found)

    def load_from_disk(self, folder: str) -> Any:
        self.asked.append((folder,))
        if self.fault:
            raise self.fault
        return self.found


@pytest.fixture
def datasets(monkeypatch: pytest.MonkeyPatch) -> Datasets:
    fake = Datasets()
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return fake


def texts(name: str, **options: Any) -> list[str]:
    return [seed.text for seed in read_seeds(name, reject=lambda bad: pytest.fail(bad.reason), **options)]


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("org/name", True),
        ("org/name-1.0_x:validation", True),
        ("seeds", False),
        ("org/seeds.jsonl", False),
        ("org/seeds.parquet.gz", False),
        ("/etc/passwd", False),
        ("../org/name", False),
        ("a/b/c", False),
        ("org/name:", True),
        ("org/na me", False),
        ("-", False),
        ("~/seeds", False),
    ],
)
def test_what_is_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_one: bool) -> None:
    monkeypatch.chdir(tmp_path)
    assert hub.is_id(name) is is_one


def test_a_folder_here_comes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    assert not hub.is_id("org/name")
    with pytest.raises(EvolError, match="org/name: no such file"):
        texts("org/name")


def test_rows_of_a_data_set(datasets: Datasets) -> None:
    datasets.found = [{"instruction": "a", "output": "b"}, {"instruction": "c", "output": ""}]
    assert texts("org/name:test") == ["a", "c"]
    assert datasets.asked == [("org/name", {"split": "test", "streaming": True})]
    first, second = read_seeds("org/name", reject=print)
    assert datasets.asked[-1] == ("org/name", {"split": "train", "streaming": True})
    assert first.source is not None
    assert second.source is not None
    assert (first.source.file, first.source.line, second.source.line) == ("org/name", 1, 2)
    assert texts("org/name/main:test") == ["a", "c"]
    assert datasets.asked[-1] == ("org/name", {"name": "main", "split": "test", "streaming": True})
    assert input_digest("org/name:test") == {"file": "org/name:test", "bytes": None, "digest": None}


def test_three_parts_without_a_split_are_a_path() -> None:
    with pytest.raises(EvolError, match="no such file"):
        texts("org/name/main")


def test_a_data_set_that_cannot_be_read(datasets: Datasets) -> None:
    datasets.fault = FileNotFoundError("Dataset 'org/name' doesn't exist\nmore lines")
    with pytest.raises(EvolError, match=r"org/name: the data set can't be read \(Dataset 'org/name' doesn't exist\)"):
        texts("org/name")
    datasets.fault = ValueError("Unknown split")
    with pytest.raises(EvolError, match="Unknown split") as error:
        texts("org/name:x")
    assert "ORG/NAME:SPLIT" in error.value.hint


def test_a_saved_folder(tmp_path: Path, datasets: Datasets) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "dataset_info.json").write_text("{}")
    (folder / "data-0.arrow").write_bytes(b"x")
    datasets.found = [{"instruction": "a"}]
    assert texts(str(folder)) == ["a"]
    assert datasets.asked == [(str(folder),)]
    first = input_digest(str(folder))
    (folder / "data-0.arrow").write_bytes(b"y")
    assert input_digest(str(folder))["digest"] != first["digest"]


def test_a_saved_folder_with_splits(tmp_path: Path, datasets: Datasets) -> None:
    (tmp_path / "dataset_dict.json").write_text("{}")
    datasets.found = {"test": [{"instruction": "t"}], "train": [{"instruction": "a"}]}
    assert texts(str(tmp_path)) == ["a"]
    datasets.found = {"only": [{"instruction": "o"}]}
    assert texts(str(tmp_path)) == ["o"]
    datasets.found = {"x": [], "y": []}
    with pytest.raises(EvolError, match="the splits are x, y; expected train, or only one"):
        texts(str(tmp_path))


def test_without_the_extra(tmp_path: Path, no_packages: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvolError, match="org/name: no such file, and to read it as a data set's id") as error:
        texts("org/name")
    assert error.value.hint == "pip install 'evollab[hub]'"
    (tmp_path / "state.json").write_text("{}")
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(EvolError) as error:
        texts(str(tmp_path))
    assert error.value.hint == "pip install 'evollab[hub]'"
    monkeypatch.setenv("HF_TOKEN", SECRET)
    with pytest.raises(EvolError, match="huggingface_hub is needed") as error:
        hub.push(tmp_path, "org/name", files=["README.md"])
    assert error.value.hint == "pip install 'evollab[hub]'"


# Out


class NoConnection(Exception):
    """What the hub's HTTP library raises: no OSError."""


class Hub(ModuleType):
    """Stands in for `huggingface_hub`."""

    def __init__(self) -> None:
        super().__init__("huggingface_hub")
        self.calls: list[tuple[str, Any]] = []
        self.fault: Exception | None = None
        self.errors = ModuleType("huggingface_hub.errors")
        vars(self.errors)["HTTPError"] = NoConnection
        calls, module = self.calls, self

        class HfApi:
            def __init__(self, token: str) -> None:
                calls.append(("token", token))

            def create_repo(self, repo_id: str, **options: Any) -> None:
                calls.append(("create", (repo_id, options)))
                if module.fault:
                    raise module.fault

            def upload_folder(self, **options: Any) -> None:
                calls.append(("upload", options))

        self.HfApi = HfApi


@pytest.fixture
def hugging(monkeypatch: pytest.MonkeyPatch) -> Hub:
    fake = Hub()
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", fake.errors)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    return fake


@pytest.mark.parametrize("public", [False, True])
def test_push(tmp_path: Path, hugging: Hub, public: bool) -> None:
    run = a_run(tmp_path / "run", lineages(2))
    result = export_run(run, None, ExportOptions(public=public), push="org/name")
    assert result.url == "https://huggingface.co/datasets/org/name"
    assert str(result).endswith(result.url)
    assert hugging.calls == [
        ("token", SECRET),
        ("create", ("org/name", {"repo_type": "dataset", "private": not public, "exist_ok": True})),
        (
            "upload",
            {
                "repo_id": "org/name",
                "repo_type": "dataset",
                "folder_path": str(run / "export"),
                "allow_patterns": ["README.md", "train.jsonl"],
                "commit_message": "evol export",
            },
        ),
    ]


def test_push_without_a_token(tmp_path: Path, hugging: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(EvolError, match="no token in the environment variable HF_TOKEN") as error:
        hub.push(tmp_path, "org/name", files=["README.md"])
    assert "huggingface.co/settings/tokens" in error.value.hint
    assert hugging.calls == []


@pytest.mark.parametrize("name", ["name", "a/b/c", "org/na me", "../x", "org/", "org/name:train", "org/x" + "y" * 99])
def test_push_to_no_name(tmp_path: Path, hugging: Hub, name: str) -> None:
    with pytest.raises(EvolError, match="expected ORG/NAME"):
        hub.push(tmp_path, name, files=["README.md"])
    assert hugging.calls == []


@pytest.mark.parametrize("fault", [OSError, ValueError, NoConnection])
def test_push_that_is_refused_never_tells_the_token(tmp_path: Path, hugging: Hub, fault: type[Exception]) -> None:
    hugging.fault = fault(f"403 Forbidden for Bearer {SECRET} \x1b[31m{'x' * 230}{SECRET}\nmore")
    run = a_run(tmp_path / "run", lineages(2))
    with pytest.raises(EvolError, match=r"--push org/name: the hub refused \(403 Forbidden for Bearer \*\*\*") as error:
        export_run(run, None, ExportOptions(), push="org/name")
    assert SECRET[:6] not in error.value.message + error.value.hint
    assert "\x1b" not in error.value.message
    assert (run / "export" / "train.jsonl").exists(), "what was exported is kept"
